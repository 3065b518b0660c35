#include "subject.h"

#include <string.h>

#include "../shared/records.h"

/* ── templates ───────────────────────────────────────────────────────────── */

static const char *const placeholders[] = {"{type}", "{event}", "{source}", "{profile}", "{kind}", "{change}"};
enum placeholder { OF_TYPE, OF_EVENT, OF_SOURCE, OF_PROFILE, OF_KIND, OF_CHANGE, OF_NOTHING };

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
			if (p == OF_NOTHING)
				return "there are {type}, {event}, {source}, {profile}, {kind} and {change} only";
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
	const char *stream = record_stream(record);
	struct cdpd_str event;
	switch (p) {
	case OF_PROFILE: return record->profile_id;
	case OF_KIND: return stream ? (struct cdpd_str){stream, strlen(stream)} : (struct cdpd_str){"", 0};
	case OF_TYPE: return record_member(record->json, "type");
	case OF_SOURCE: return record_member(record->json, "sourceId");
	case OF_CHANGE: return record_member(record->json, "kind");
	default:
		event = record_member(record->json, "event");
		return event.len ? event : record_member(record->json, "name");
	}
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

/* ── wildcards ───────────────────────────────────────────────────────────── */

static size_t token_len(const char *subject)
{
	return strcspn(subject, ".");
}

bool subject_covers(const char *subject, const char *other)
{
	for (;;) {
		size_t len = token_len(subject), other_len = token_len(other);
		if (len == 1 && *subject == '>') return true;
		bool is_any = len == 1 && *subject == '*' && !(other_len == 1 && *other == '>');
		if (!is_any && (len != other_len || memcmp(subject, other, len) != 0)) return false;
		subject += len;
		other += other_len;
		if (!*subject || !*other) return *subject == *other;
		subject++;
		other++;
	}
}
