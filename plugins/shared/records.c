#include "records.h"

#include <string.h>

static bool begins(struct cdpd_str text, const char *begin)
{
	size_t len = strlen(begin);
	return text.len >= len && memcmp(text.ptr, begin, len) == 0;
}

bool record_is(struct cdpd_str text, const char *other)
{
	return text.len == strlen(other) && begins(text, other);
}

const char *record_stream(const struct cdpd_record *record)
{
	switch (record->kind) {
	case CDPD_RECORD_EVENT: return "events";
	case CDPD_RECORD_PROFILE: return "profiles";
	case CDPD_RECORD_CHANGE: return "changes";
	default: return NULL;
	}
}

enum record_notice record_notice(const struct cdpd_record *record)
{
	if (begins(record->json, "{\"type\":\"erased\",")) return NOTICE_ERASED;
	if (begins(record->json, "{\"type\":\"withdrawn\",")) return NOTICE_WITHDRAWN;
	return NOTICE_NONE;
}

struct cdpd_str record_why_gone(const struct cdpd_record *record)
{
	return record_member(record->json, "gone");
}

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

struct cdpd_str record_member(struct cdpd_str json, const char *name)
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

/* ── the tail ────────────────────────────────────────────────────────────── */

struct tail {
	char *out;
	size_t len;
	bool is_too_long;
};

static void add(struct tail *tail, const char *ptr, size_t len)
{
	if (len > RECORD_TAIL_MAX - tail->len) tail->is_too_long = true;
	if (tail->is_too_long) return;
	memcpy(tail->out + tail->len, ptr, len);
	tail->len += len;
}

static void add_member(struct tail *tail, const char *name, struct cdpd_str value)
{
	add(tail, name, strlen(name));
	add(tail, value.ptr, value.len);
	add(tail, "\"", 1);
}

/* The values are plain ASCII by the host's word. */
size_t record_tail(const struct cdpd_record *record, char out[RECORD_TAIL_MAX])
{
	struct tail tail = {.out = out};
	struct cdpd_str json = record->json;
	if (json.len < 2 || json.ptr[0] != '{' || json.ptr[json.len - 1] != '}') return 0;
	if (json.len > 2) add(&tail, ",", 1);
	if (record->kind == CDPD_RECORD_EVENT) {
		add_member(&tail, "\"position\":\"", record->position);
		add(&tail, ",", 1);
	}
	add_member(&tail, "\"profileId\":\"", record->profile_id);
	add_member(&tail, ",\"deliveryId\":\"", record->delivery_id);
	add(&tail, "}", 1);
	return tail.is_too_long ? 0 : tail.len;
}
