/* Looks into records, which are JSON by the host's word; whatever they hold, nothing is read outside of them. */
#include <stdlib.h>

#include "files.h"

/* ── walking ─────────────────────────────────────────────────────────────── */

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
	return at;
}

/* From behind a string's quote to its other one, or `end`. */
static const char *string_end(const char *from, const char *end)
{
	for (const char *at = from; at < end;) {
		const char *quote = memchr(at, '"', (size_t)(end - at));
		if (!quote) return end;
		const char *slash = quote;
		while (slash > from && slash[-1] == '\\') slash--;
		if ((quote - slash) % 2 == 0) return quote;
		at = quote + 1;
	}
	return end;
}

/* From a string's quote to behind the other one. */
static const char *skip_string(const char *at, const char *end)
{
	at = string_end(at + 1, end);
	return at < end ? at + 1 : end;
}

static const char *skip_nested(const char *at, const char *end)
{
	for (unsigned depth = 0; at < end;) {
		char c = *at;
		if (c == '"') {
			at = skip_string(at, end);
			continue;
		}
		at++;
		if (c == '{' || c == '[') depth++;
		if ((c == '}' || c == ']') && --depth == 0) break;
	}
	return at;
}

static const char *skip_value(const char *at, const char *end)
{
	if (at < end && *at == '"') return skip_string(at, end);
	if (at < end && (*at == '{' || *at == '[')) return skip_nested(at, end);
	while (at < end && *at != ',' && *at != '}' && *at != ']') at++;
	return at;
}

static struct cdpd_str slice(const char *from, const char *to)
{
	while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\n' || to[-1] == '\r')) to--;
	return (struct cdpd_str){from, (size_t)(to - from)};
}

/* `at`: where a key may begin. *key without its quotes; *value: where it begins. NULL: there is none. */
static const char *read_key(const char *at, const char *end, struct cdpd_str *key)
{
	at = skip_space(at, end);
	if (at >= end || *at != '"') return NULL;
	const char *close = string_end(at + 1, end);
	if (close == end) return NULL;
	*key = (struct cdpd_str){at + 1, (size_t)(close - at - 1)};
	at = skip_space(close + 1, end);
	return at < end && *at == ':' ? skip_space(at + 1, end) : NULL;
}

bool json_next(struct cdpd_str object, size_t *at, struct cdpd_str *key, struct cdpd_str *value)
{
	const char *end = object.ptr + object.len, *from = object.ptr + *at;
	if (*at == 0) {
		from = skip_space(from, end);
		if (from >= end || *from++ != '{') return false;
	}
	const char *start = read_key(from, end, key);
	if (!start) return false;
	const char *behind = skip_value(start, end);
	*value = slice(start, behind);
	behind = skip_space(behind, end);
	*at = behind < end && *behind == ',' ? (size_t)(behind + 1 - object.ptr) : object.len;
	return value->len > 0;
}

/* ── picking ─────────────────────────────────────────────────────────────── */

struct pick_node {
	char *name;
	size_t len;
	size_t child, sibling; /* 0: none */
};

static size_t find_child(const struct picker *picker, size_t parent, const char *name, size_t len)
{
	size_t at = picker->nodes[parent].child;
	for (; at; at = picker->nodes[at].sibling) {
		const struct pick_node *node = &picker->nodes[at];
		if (node->len == len && memcmp(node->name, name, len) == 0) break;
	}
	return at;
}

static size_t new_node(struct picker *picker, const char *name, size_t len)
{
	if (picker->count == picker->size) {
		size_t size = picker->size ? 2 * picker->size : 16;
		struct pick_node *bigger = realloc(picker->nodes, size * sizeof *bigger);
		if (!bigger) return 0;
		picker->nodes = bigger;
		picker->size = size;
	}
	struct pick_node *node = &picker->nodes[picker->count];
	*node = (struct pick_node){.name = strndup(name, len), .len = len};
	if (!node->name) return 0;
	return picker->count++;
}

size_t picker_add(struct picker *picker, const char *path)
{
	size_t at = 0;
	if (picker->count == 0 && (new_node(picker, "", 0), picker->count == 0)) return 0;
	for (;; path++) {
		size_t len = strcspn(path, "."), child = find_child(picker, at, path, len);
		if (!child) {
			child = new_node(picker, path, len);
			if (!child) return 0;
			picker->nodes[child].sibling = picker->nodes[at].child;
			picker->nodes[at].child = child;
		}
		at = child;
		path += len;
		if (!*path) return at;
	}
}

void picker_free(struct picker *picker)
{
	for (size_t i = 0; i < picker->count; i++) free(picker->nodes[i].name);
	free(picker->nodes);
	*picker = (struct picker){0};
}

/* Picks the members of the object that begins at `at`; behind it. No deeper than paths are. */
static const char *pick(const struct picker *picker, size_t parent, const char *at, const char *end,
			struct cdpd_str *values)
{
	struct cdpd_str key;
	for (at++;;) {
		const char *value = read_key(at, end, &key);
		if (!value) {
			at = skip_space(at, end);
			return at < end && *at == '}' ? at + 1 : end;
		}
		size_t node = find_child(picker, parent, key.ptr, key.len);
		bool is_new = node && !values[node].ptr;
		if (is_new && picker->nodes[node].child && value < end && *value == '{')
			at = pick(picker, node, value, end, values);
		else
			at = skip_value(value, end);
		if (is_new) values[node] = slice(value, at);
		at = skip_space(at, end);
		if (at < end && *at == ',') at++;
	}
}

void picker_run(const struct picker *picker, struct cdpd_str json, struct cdpd_str *values)
{
	const char *end = json.ptr + json.len, *at = skip_space(json.ptr, end);
	memset(values, 0, picker->count * sizeof values[0]);
	if (picker->count > 1 && at < end && *at == '{') (void)pick(picker, 0, at, end, values);
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
