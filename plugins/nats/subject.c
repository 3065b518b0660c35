#include "subject.h"

#include <string.h>

/* ── members ─────────────────────────────────────────────────────────────── */

/* `at` is behind the opening quotation mark; the closing one's place, or `end`. */
static const char *string_end(const char *at, const char *end)
{
	while (at < end && *at != '"') at += *at == '\\' && end - at > 1 ? 2 : 1;
	return at < end ? at : end;
}

/* Behind a value of any kind. */
static const char *skip_value(const char *at, const char *end)
{
	for (unsigned depth = 0; at < end; at++) {
		if (*at == '"') {
			at = string_end(at + 1, end);
			if (at == end) return end;
		} else if (*at == '{' || *at == '[') {
			depth++;
		} else if (*at == '}' || *at == ']') {
			if (depth == 0) return at;
			depth--;
		} else if (*at == ',' && depth == 0) {
			return at;
		}
	}
	return at;
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
	return at;
}

struct cdpd_str subject_member(struct cdpd_str json, const char *name)
{
	const struct cdpd_str none = {"", 0};
	const char *end = json.ptr + json.len, *at = skip_space(json.ptr, end);
	size_t name_len = strlen(name);
	if (at == end || *at != '{') return none;
	while (++at < end) {
		at = skip_space(at, end);
		if (at == end || *at != '"') return none;
		const char *key = at + 1, *key_end = string_end(key, end);
		if (key_end == end) return none;
		at = skip_space(key_end + 1, end);
		if (at == end || *at != ':') return none;
		at = skip_space(at + 1, end);
		bool is_it = (size_t)(key_end - key) == name_len && memcmp(key, name, name_len) == 0;
		if (is_it && at < end && *at == '"') {
			const char *text = at + 1, *text_end = string_end(text, end);
			return text_end == end ? none : (struct cdpd_str){text, (size_t)(text_end - text)};
		}
		if (is_it) return none;
		at = skip_value(at, end);
		if (at == end || *at != ',') return none;
	}
	return none;
}

/* ── templates ───────────────────────────────────────────────────────────── */

static const char *const placeholders[] = {"{type}", "{event}", "{source}", "{profile}"};
enum placeholder { OF_TYPE, OF_EVENT, OF_SOURCE, OF_PROFILE, OF_NOTHING };

static enum placeholder placeholder_at(const char *at)
{
	for (enum placeholder p = OF_TYPE; p < OF_NOTHING; p++) {
		if (strncmp(at, placeholders[p], strlen(placeholders[p])) == 0) return p;
	}
	return OF_NOTHING;
}

const char *subject_check(const char *template)
{
	size_t token_len = 0, count = 0;
	for (const char *at = template; *at;) {
		if (*at == '{') {
			enum placeholder p = placeholder_at(at);
			if (p == OF_NOTHING) return "there are {type}, {event}, {source} and {profile} only";
			if (++count > 8) return "too many placeholders";
			at += strlen(placeholders[p]);
			token_len++;
			continue;
		}
		if (*at == '.') {
			if (token_len == 0) return "a token is empty";
			token_len = 0;
		} else if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *at)) {
			token_len++;
		} else {
			return "tokens hold letters, digits, '_', '-' and placeholders";
		}
		at++;
	}
	if (token_len == 0) return "a token is empty";
	return strlen(template) > SUBJECT_TEMPLATE_MAX ? "it is too long" : NULL;
}

bool subject_pattern(const char *template, char out[SUBJECT_SIZE])
{
	size_t len = strcspn(template, "{");
	if (!template[len]) {
		memcpy(out, template, len + 1);
		return true;
	}
	while (len > 0 && template[len - 1] != '.') len--; /* back to whole tokens */
	if (len == 0) return false;
	memcpy(out, template, len);
	memcpy(out + len, ">", 2);
	return true;
}

/* At most SUBJECT_TOKEN_MAX bytes, whole characters. UTF-8 stays as it is: subjects may hold it. */
static size_t put_token(char *out, struct cdpd_str text)
{
	size_t len = 0;
	for (size_t i = 0; i < text.len && len < SUBJECT_TOKEN_MAX; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		bool is_plain = c >= 0x80 || (c > ' ' && c < 0x7f && !strchr(".*>$\\", c));
		if (c == '\\' && i + 1 < text.len) i += text.ptr[i + 1] == 'u' ? 5 : 1; /* an escape is one character */
		out[len++] = is_plain ? (char)c : '_';
	}
	if (len == SUBJECT_TOKEN_MAX) {
		while (len > 0 && ((unsigned char)out[len - 1] & 0xc0) == 0x80) len--;
		if (len > 0 && (unsigned char)out[len - 1] >= 0xc0) len--;
	}
	if (len == 0) out[len++] = '_';
	return len;
}

static struct cdpd_str value_of(enum placeholder p, const struct cdpd_record *record)
{
	if (p == OF_PROFILE) return record->profile_id;
	if (p == OF_TYPE) return subject_member(record->json, "type");
	if (p == OF_SOURCE) return subject_member(record->json, "sourceId");
	struct cdpd_str event = subject_member(record->json, "event");
	return event.len ? event : subject_member(record->json, "name");
}

void subject_make(const char *template, const struct cdpd_record *record, char out[SUBJECT_SIZE])
{
	size_t len = 0;
	for (const char *at = template; *at;) {
		enum placeholder p = *at == '{' ? placeholder_at(at) : OF_NOTHING;
		if (p == OF_NOTHING) {
			out[len++] = *at++;
			continue;
		}
		len += put_token(out + len, value_of(p, record)); /* 8 of them and the rest fit */
		at += strlen(placeholders[p]);
	}
	out[len] = '\0';
}
