#include "items.h"

#include <string.h>

/* Behind the text whose first quotation mark is at `at`. */
static const char *skip_text(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
		if (*at == '\\') at++;
	return at < end ? at + 1 : end;
}

static const char *skip_value(const char *at, const char *end)
{
	size_t depth = 0;
	while (at < end) {
		if (*at == '"') {
			at = skip_text(at, end);
			if (depth == 0) return at;
			continue;
		}
		if (*at == '{' || *at == '[') depth++;
		if (*at == '}' || *at == ']') {
			if (depth == 0) return at; /* a number was the last one */
			if (--depth == 0) return at + 1;
		}
		if (depth == 0 && *at == ',') return at;
		at++;
	}
	return end;
}

bool items_begin(struct items *items, const char *text, size_t len)
{
	*items = (struct items){.at = text + 1, .end = text + len};
	return len >= 2 && text[0] == '[';
}

bool items_next(struct items *items, const char **item, size_t *len)
{
	if (items->at < items->end && *items->at == ',') items->at++;
	if (items->at >= items->end || *items->at == ']') return false;
	*item = items->at;
	items->at = skip_value(items->at, items->end);
	*len = (size_t)(items->at - *item);
	return *len > 0; /* of what is sound it always is */
}

static bool take(const char *at, const char *end, const char **value, size_t *len)
{
	bool is_text = *at == '"', is_number = *at == '-' || (*at >= '0' && *at <= '9');
	*value = is_text ? at + 1 : at;
	*len = (size_t)(end - at) - (is_text ? 2 : 0);
	return is_number || (is_text && end - at >= 2 && !memchr(*value, '\\', *len));
}

bool item_get(const char *item, size_t len, const char *name, const char **value, size_t *value_len)
{
	const char *at = item + 1, *end = item + len;
	size_t name_len = strlen(name);
	if (len < 2 || *item != '{') return false;
	while (at < end && *at == '"') {
		const char *key = at + 1, *behind = skip_text(at, end);
		bool is_it = (size_t)(behind - key) == name_len + 1 && memcmp(key, name, name_len) == 0;
		if (behind >= end) return false;
		at = behind + 1; /* the colon */
		const char *next = skip_value(at, end);
		if (is_it) return at < next && take(at, next, value, value_len);
		at = next < end && *next == ',' ? next + 1 : end;
	}
	return false;
}
