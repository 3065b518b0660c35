#include "profile/segment_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

/* ── making ──────────────────────────────────────────────────────────────── */

bool value_text_is_number(struct str text, double *out)
{
	static const char allowed[] = "0123456789+-.eE";
	char copy[48], *end;
	if (text.len == 0 || text.len >= sizeof copy) return false;
	for (size_t i = 0; i < text.len; i++)
		if (!memchr(allowed, text.ptr[i], sizeof allowed - 1)) return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	*out = strtod(copy, &end);
	return *end == '\0' && isfinite(*out);
}

struct segment_value value_from_text(struct str text)
{
	struct segment_value value = {.kind = VALUE_TEXT, .text = text};
	value.is_number = value_text_is_number(text, &value.number);
	return value;
}

struct segment_value value_from_number(double number, char memory[32])
{
	int len = snprintf(memory, 32, "%.0f", number);
	struct str text = {memory, len > 0 && len < 32 ? (size_t)len : 0};
	return (struct segment_value){.kind = VALUE_NUMBER, .text = text, .number = number, .is_number = true};
}

struct segment_value value_from_time(int64_t us)
{
	return (struct segment_value){.kind = VALUE_TIME, .text = STR_NONE, .time = us};
}

static int parse(struct str json, struct value_scratch *scratch, struct json *root)
{
	const char *why;
	buf_clear(&scratch->text);
	int rc = buf_append_str(&scratch->text, json);
	return rc ? rc : json_parse(scratch->reader, buf_str(&scratch->text), root, &why);
}

static int from_string(struct str json, struct value_scratch *scratch, struct segment_value *out)
{
	struct json root;
	struct str text = {json.ptr + 1, json.len - 2};
	if (memchr(text.ptr, '\\', text.len)) {
		int rc = parse(json, scratch, &root);
		if (rc == ERR_NOMEM || rc == ERR_TOO_LARGE) return ERR_NOMEM;
		if (rc || !json_str(root, &text)) return OK;
	}
	*out = value_from_text(text);
	return OK;
}

int value_from_json(struct str json, struct value_scratch *scratch, struct segment_value *out)
{
	*out = (struct segment_value){.text = json};
	if (json.len == 0) return OK;
	switch (json.ptr[0]) {
	case '"': return json.len >= 2 ? from_string(json, scratch, out) : OK;
	case 'n': return OK;
	case 't':
	case 'f': out->kind = VALUE_TRUTH; return OK;
	case '[':
	case '{': out->kind = VALUE_JSON; return OK;
	default:
		out->is_number = value_text_is_number(json, &out->number);
		if (out->is_number) out->kind = VALUE_NUMBER;
		return OK;
	}
}

/* ── times ───────────────────────────────────────────────────────────────── */

static bool time_of_number(double number, int64_t *us)
{
	double scaled = fabs(number) < 1e11 ? number * 1e6 : number * 1e3;
	if (!(fabs(scaled) < 2.6e17)) return false; /* the year 9999 and some */
	*us = (int64_t)scaled;
	return true;
}

bool value_time(const struct segment_value *value, int64_t *us)
{
	static const char midnight[] = "T00:00:00Z";
	char copy[40];
	int16_t offset;
	struct str text = value->text;
	if (value->kind == VALUE_TIME) {
		*us = value->time;
		return true;
	}
	if (value->kind == VALUE_NUMBER || value->is_number) return time_of_number(value->number, us);
	if (value->kind != VALUE_TEXT || text.len < 10 || text.len >= sizeof copy) return false;
	memcpy(copy, text.ptr, text.len);
	if (text.len == 10) {
		memcpy(copy + 10, midnight, sizeof midnight - 1);
		text.len += sizeof midnight - 1;
	}
	text.ptr = copy;
	return clock_parse(text, us, &offset) == OK;
}

/* ── comparing ───────────────────────────────────────────────────────────── */

static bool is_whole(struct str text)
{
	size_t at = text.len > 0 && text.ptr[0] == '-';
	if (at == text.len) return false;
	for (; at < text.len; at++)
		if (text.ptr[at] < '0' || text.ptr[at] > '9') return false;
	return true;
}

/* Whole numbers compare by their digits: a double would take neighbours beyond 2⁵³ for the same. */
bool value_is(const struct segment_value *value, const struct segment_operand *operand)
{
	if (value->kind == VALUE_NONE || value->kind == VALUE_JSON || value->kind == VALUE_TIME) return false;
	if (str_eq(value->text, operand->text)) return true;
	if (!value->is_number || !operand->is_number) return false;
	if (is_whole(value->text) && is_whole(operand->text)) return false;
	return value->number == operand->number;
}

static size_t char_len(struct str text, size_t at)
{
	size_t len = 1;
	while (at + len < text.len && ((unsigned char)text.ptr[at + len] & 0xc0) == 0x80) len++;
	return len;
}

bool value_matches(struct str text, struct str pattern)
{
	size_t t = 0, p = 0, star = SIZE_MAX, kept = 0;
	if (text.len > VALUE_GLOB_SUBJECT || pattern.len > VALUE_GLOB_BYTES) return false;
	while (t < text.len) {
		if (p < pattern.len && pattern.ptr[p] == '*') {
			star = p++;
			kept = t;
		} else if (p < pattern.len && pattern.ptr[p] == '?') {
			t += char_len(text, t);
			p++;
		} else if (p < pattern.len && pattern.ptr[p] == text.ptr[t]) {
			t++;
			p++;
		} else if (star != SIZE_MAX) {
			p = star + 1; /* the newest star takes one more; older ones need not change */
			t = ++kept;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.ptr[p] == '*') p++;
	return p == pattern.len;
}

static struct segment_value element(struct json item, char memory[32])
{
	struct segment_value value = {.text = STR_NONE};
	struct str text;
	bool truth;
	int64_t whole;
	if (json_str(item, &text)) return value_from_text(text);
	if (json_bool(item, &truth)) {
		value.kind = VALUE_TRUTH;
		value.text = truth ? STR("true") : STR("false");
	} else if (json_double(item, &value.number)) {
		value.kind = VALUE_NUMBER;
		value.is_number = true;
		if (json_int(item, &whole))
			value.text = (struct str){memory, (size_t)snprintf(memory, 32, "%lld", (long long)whole)};
	}
	return value;
}

static int list_contains(struct str json, const struct segment_operand *operand, struct value_scratch *scratch,
			 bool *out)
{
	struct json root, item;
	struct json_iter it;
	int rc = parse(json, scratch, &root);
	if (rc == ERR_NOMEM || rc == ERR_TOO_LARGE) return ERR_NOMEM;
	if (rc || json_type(root) != JSON_ARRAY) return OK;
	for (json_iter_start(root, &it); json_next_element(&it, &item) && !*out;) {
		char memory[32];
		struct segment_value value = element(item, memory);
		*out = value_is(&value, operand);
	}
	return OK;
}

int value_contains(const struct segment_value *value, const struct segment_operand *operand,
		   struct value_scratch *scratch, bool *out)
{
	*out = false;
	if (value->kind == VALUE_JSON) return list_contains(value->text, operand, scratch, out);
	if (value->kind != VALUE_TEXT) return OK;
	struct str text = value->text, part = operand->text;
	*out = part.len == 0 || (text.len >= part.len && memmem(text.ptr, text.len, part.ptr, part.len));
	return OK;
}
