#include <stdio.h>
#include <string.h>

#include "kafka.h"

#define LEGAL "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

const char *topic_check(const char *text)
{
	if (!text[0] || strcmp(text, ".") == 0 || strcmp(text, "..") == 0) return "it needs a name";
	if (strlen(text) > TOPIC_MAX) return "it is longer than 249 characters";
	while (*text) {
		if (starts_with(text, "{type}") || starts_with(text, "{kind}"))
			text += 6;
		else if (*text == '{' || *text == '}')
			return "only {type} and {kind} can be filled in";
		else if (!strchr(LEGAL, *text++))
			return "a topic holds letters, digits, '.', '_' and '-' only";
	}
	return NULL;
}

/* ── the member "type" of a flat look at the object ──────────────────────── */

static size_t skip_string(struct cdpd_str json, size_t at) /* from its quote to behind the other one */
{
	for (at++; at < json.len && json.ptr[at] != '"'; at++) at += json.ptr[at] == '\\';
	return at + 1;
}

static size_t skip_space(struct cdpd_str json, size_t at)
{
	while (at < json.len && strchr(" \t\r\n", json.ptr[at]) && json.ptr[at]) at++;
	return at;
}

/* The string behind a key that ends at `at`; empty when there is another value. */
static struct cdpd_str string_after(struct cdpd_str json, size_t at)
{
	at = skip_space(json, at);
	if (at >= json.len || json.ptr[at] != ':') return (struct cdpd_str){"", 0};
	at = skip_space(json, at + 1);
	if (at >= json.len || json.ptr[at] != '"') return (struct cdpd_str){"", 0};
	size_t end = skip_string(json, at);
	return end > json.len ? (struct cdpd_str){"", 0} : (struct cdpd_str){json.ptr + at + 1, end - at - 2};
}

static struct cdpd_str type_of(struct cdpd_str json)
{
	int depth = 0;
	for (size_t at = 0; at < json.len;) {
		char c = json.ptr[at];
		depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		if (c != '"') {
			at++;
			continue;
		}
		size_t end = skip_string(json, at);
		if (depth == 1 && end - at == 6 && end < json.len && memcmp(json.ptr + at, "\"type\"", 6) == 0) {
			struct cdpd_str value = string_after(json, end);
			if (value.len) return value;
		}
		at = end;
	}
	return (struct cdpd_str){"other", 5};
}

bool topic_make(const char *text, struct cdpd_str json, char out[TOPIC_MAX + 1])
{
	size_t len = 0;
	struct cdpd_str type = {"", 0};
	if (strchr(text, '{')) type = type_of(json);
	bool is_erased = type.len == 6 && memcmp(type.ptr, "erased", 6) == 0;
	while (*text) {
		struct cdpd_str part = {text, 1};
		if (*text == '{') {
			part = type;
			if (starts_with(text, "{kind}"))
				part = is_erased ? (struct cdpd_str){"erased", 6} : (struct cdpd_str){"event", 5};
			text += 5;
		}
		text++;
		if (part.len > TOPIC_MAX - len) return false;
		for (size_t i = 0; i < part.len; i++)
			out[len++] = (char)(part.ptr[i] && strchr(LEGAL, part.ptr[i]) ? part.ptr[i] : '_');
	}
	out[len] = '\0';
	return true;
}
