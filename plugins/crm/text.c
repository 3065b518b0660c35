#include <stdio.h>
#include <string.h>

#include "../shared/writer.h"
#include "crm.h"

#define PHONE_CORE 10 /* digits that tell numbers apart, whatever the country's prefix */

void text_lower(char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z') *text = (char)(*text + ('a' - 'A'));
}

void text_phone_core(const char *phone, char out[PHONE_MAX + 1])
{
	size_t len = 0;
	for (; *phone && len < PHONE_MAX; phone++)
		if (*phone >= '0' && *phone <= '9') out[len++] = *phone;
	out[len] = '\0';
	if (len > PHONE_CORE) memmove(out, out + len - PHONE_CORE, PHONE_CORE + 1);
}

bool text_is_same_phone(const char *a, const char *b)
{
	char core_a[PHONE_MAX + 1], core_b[PHONE_MAX + 1];
	text_phone_core(a, core_a);
	text_phone_core(b, core_b);
	return core_a[0] && strcmp(core_a, core_b) == 0;
}

bool text_is_same_email(const char *a, const char *b)
{
	for (; *a && *b; a++, b++) {
		char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a,
		     y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
		if (x != y) return false;
	}
	return !*a && !*b;
}

bool text_encode(char *to, size_t size, const char *from)
{
	struct writer writer = {0};
	writer_form(&writer, writer_of(from));
	struct cdpd_str text = writer_get(&writer);
	bool fits = !writer.is_short && text.len < size;
	if (fits) memcpy(to, text.ptr, text.len);
	to[fits ? text.len : 0] = '\0';
	writer_free(&writer);
	return fits;
}

/* Bitrix24's secret is the last part of its URL. */
static const char *secret_of(const char *url)
{
	const char *host = url ? strstr(url, "://") : NULL;
	const char *slash = host ? strrchr(host + 3, '/') : NULL;
	return slash ? slash + 1 : NULL;
}

static size_t cut_at_character(const char *text, size_t len, size_t most)
{
	if (len <= most) return len;
	while (most > 0 && ((unsigned char)text[most] & 0xC0) == 0x80) most--;
	return most;
}

void text_hide(const struct crm *self, char *text)
{
	writer_hide(text, self->bearer);
	writer_hide(text, secret_of(self->url));
	writer_hide(text, self->client_secret);
	writer_hide(text, self->refresh_token);
	if (self->oauth2) oauth2_hide(self->oauth2, text);
}

void text_clean(const struct crm *self, char *text, size_t size, const char *from)
{
	char copy[4 * REASON_MAX];
	snprintf(copy, sizeof copy, "%s", from);
	for (char *at = copy; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 127) *at = ' ';
	text_hide(self, copy);
	size_t len = cut_at_character(copy, strlen(copy), size - 1);
	memcpy(text, copy, len);
	text[len] = '\0';
}

const char *text_of(const json_t *value, char buffer[32])
{
	if (json_is_string(value)) return json_string_value(value);
	if (!json_is_integer(value)) return "";
	snprintf(buffer, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return buffer;
}

const char *text_member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text ? text : "";
}
