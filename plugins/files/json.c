/* Looks into records, which are JSON by the host's word; whatever they hold, nothing is read outside of them. */
#include "files.h"

static size_t skip_space(struct cdpd_str json, size_t at)
{
	while (at < json.len &&
	       (json.ptr[at] == ' ' || json.ptr[at] == '\t' || json.ptr[at] == '\n' || json.ptr[at] == '\r'))
		at++;
	return at;
}

static size_t at_most(struct cdpd_str json, size_t at)
{
	return at < json.len ? at : json.len;
}

static size_t skip_string(struct cdpd_str json, size_t at) /* from its quote to behind the other one */
{
	for (at++; at < json.len && json.ptr[at] != '"'; at++) at += json.ptr[at] == '\\';
	return at_most(json, at + 1);
}

static size_t skip_value(struct cdpd_str json, size_t at)
{
	int depth = 0;
	while (at < json.len) {
		char c = json.ptr[at];
		if (c == '"') {
			at = skip_string(json, at);
			if (depth == 0) return at;
			continue;
		}
		if ((c == ',' || c == '}' || c == ']') && depth == 0) return at;
		depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		at++;
		if (depth == 0 && (c == '}' || c == ']')) return at;
	}
	return at;
}

static struct cdpd_str slice(struct cdpd_str json, size_t from, size_t to)
{
	while (to > from && strchr(" \t\r\n", json.ptr[to - 1]) && json.ptr[to - 1]) to--;
	return (struct cdpd_str){json.ptr + from, to - from};
}

static bool find_member(struct cdpd_str json, const char *name, size_t len, struct cdpd_str *out)
{
	size_t at = skip_space(json, 0);
	if (at >= json.len || json.ptr[at] != '{') return false;
	for (at = skip_space(json, at + 1); at < json.len && json.ptr[at] == '"'; at = skip_space(json, at)) {
		size_t key = at + 1, key_end = skip_string(json, at);
		at = skip_space(json, key_end);
		if (at >= json.len || json.ptr[at] != ':') return false;
		at = skip_space(json, at + 1);
		size_t end = skip_value(json, at);
		*out = slice(json, at, end);
		if (key_end - 1 - key == len && memcmp(json.ptr + key, name, len) == 0) return true;
		at = skip_space(json, end);
		if (at >= json.len || json.ptr[at] != ',') return false;
		at++;
	}
	return false;
}

bool json_find(struct cdpd_str json, const char *path, struct cdpd_str *out)
{
	*out = json;
	for (;;) {
		size_t len = strcspn(path, ".");
		if (!find_member(*out, path, len, out)) return false;
		if (!path[len]) return out->len > 0;
		path += len + 1;
	}
}

/* ── strings ─────────────────────────────────────────────────────────────── */

static uint32_t hex4(const char *at)
{
	uint32_t value = 0;
	for (int i = 0; i < 4; i++) {
		char c = at[i];
		uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : ((uint32_t)c | 32u) - 'a' + 10;
		value = value << 4 | (digit & 15);
	}
	return value;
}

static void add_utf8(uint32_t c, struct bytes *out)
{
	char text[4];
	size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = len; i-- > 1; c >>= 6) text[i] = (char)(0x80 | (c & 0x3f));
	static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
	text[0] = (char)(lead[len] | c);
	bytes_add(out, text, len);
}

/* \uXXXX, or two of them that are one. How many characters they took. */
static size_t add_escaped(const char *at, size_t left, struct bytes *out)
{
	if (left < 6) return left;
	uint32_t c = hex4(at + 2);
	if (c >= 0xd800 && c < 0xdc00 && left >= 12 && at[6] == '\\' && at[7] == 'u') {
		uint32_t low = hex4(at + 8);
		if (low >= 0xdc00 && low < 0xe000) {
			add_utf8(0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00), out);
			return 12;
		}
	}
	add_utf8(c >= 0xd800 && c < 0xe000 ? 0xfffd : c, out);
	return 6;
}

void json_decode(struct cdpd_str quoted, struct bytes *out)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	if (quoted.len < 2) return;
	const char *at = quoted.ptr + 1, *end = quoted.ptr + quoted.len - 1;
	while (at < end) {
		const char *slash = memchr(at, '\\', (size_t)(end - at));
		bytes_add(out, at, (size_t)((slash ? slash : end) - at));
		if (!slash || end - slash < 2) return;
		at = slash;
		if (at[1] == 'u') {
			at += add_escaped(at, (size_t)(end - at), out);
			continue;
		}
		const char *known = at[1] ? strchr(from, at[1]) : NULL;
		bytes_add(out, known ? &to[known - from] : at + 1, 1);
		at += 2;
	}
}

/* ── columns ─────────────────────────────────────────────────────────────── */

bool column_value(const struct column *column, const struct cdpd_record *record, struct bytes *out)
{
	struct cdpd_str value = {NULL, 0};
	if (strcmp(column->path, "profileId") == 0) value = record->profile_id;
	if (strcmp(column->path, "deliveryId") == 0) value = record->delivery_id;
	if (strcmp(column->path, "position") == 0) value = record->position;
	if (value.ptr) {
		bytes_add(out, value.ptr, value.len);
		return true;
	}
	if (!json_find(record->json, column->path, &value)) return false;
	if (value.len == 4 && memcmp(value.ptr, "null", 4) == 0) return false;
	if (value.ptr[0] == '"')
		json_decode(value, out);
	else
		bytes_add(out, value.ptr, value.len);
	return true;
}
