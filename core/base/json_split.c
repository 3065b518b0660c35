#include "base/json.h"

/* Finds array elements by brackets and quotes alone. Brackets are counted, not paired: an element that closes its
 * "[" with "}" is one bad element, not the end of its neighbours. */

struct cursor {
	struct str text;
	size_t at;
};

typedef int (*element_fn)(void *ctx, struct str element);

static char peek(const struct cursor *c)
{
	return c->at < c->text.len ? c->text.ptr[c->at] : '\0';
}

static void skip_space(struct cursor *c)
{
	while (c->at < c->text.len && c->text.ptr[c->at] && strchr(" \t\r\n", c->text.ptr[c->at])) c->at++;
}

static bool skip_char(struct cursor *c, char wanted)
{
	skip_space(c);
	if (peek(c) != wanted || c->at >= c->text.len) return false;
	c->at++;
	return true;
}

/* False when the string has no end. */
static bool skip_string(struct cursor *c)
{
	for (c->at++; c->at < c->text.len; c->at++) {
		char at = c->text.ptr[c->at];
		if (at == '\\') {
			c->at++;
		} else if (at == '"') {
			c->at++;
			return true;
		}
	}
	return false;
}

/* To the comma or bracket that ends the value at the cursor, or to the end of the text. */
static bool skip_value(struct cursor *c)
{
	size_t depth = 0;
	while (c->at < c->text.len) {
		char at = c->text.ptr[c->at];
		bool is_closing = at == ']' || at == '}';
		if (depth == 0 && (at == ',' || is_closing)) return true;
		if (at == '"') {
			if (!skip_string(c)) return false;
			continue;
		}
		if (at == '[' || at == '{') depth++;
		if (is_closing) depth--;
		c->at++;
	}
	return depth == 0;
}

/* The cursor stands after the "[". `fn` NULL only checks. OK, ERR_INVALID, or what fn stopped with. */
static int walk_elements(struct cursor *c, element_fn fn, void *ctx)
{
	if (skip_char(c, ']')) return OK;
	for (;;) {
		skip_space(c);
		size_t start = c->at;
		if (!skip_value(c)) return ERR_INVALID;
		struct str element = str_trim(str_of(c->text.ptr + start, c->at - start));
		int rc = fn ? fn(ctx, element) : 0;
		if (rc) return rc;
		if (skip_char(c, ']')) return OK;
		if (!skip_char(c, ',')) return ERR_INVALID;
	}
}

/* Moves into the array under `key`; with `key` empty into the root array. */
static int enter_array(struct cursor *c, struct str key)
{
	if (key.len == 0) return skip_char(c, '[') ? OK : ERR_INVALID;
	if (!skip_char(c, '{')) return ERR_INVALID;
	do {
		skip_space(c);
		size_t start = c->at + 1;
		if (peek(c) != '"' || !skip_string(c)) return ERR_INVALID;
		struct str name = str_of(c->text.ptr + start, c->at - 1 - start);
		if (!skip_char(c, ':')) return ERR_INVALID;
		if (str_eq(name, key)) return skip_char(c, '[') ? OK : ERR_INVALID;
		if (!skip_value(c)) return ERR_INVALID;
	} while (skip_char(c, ','));
	return ERR_INVALID;
}

/* After the array: the rest of the root object, and nothing behind it. */
static int check_rest(struct cursor *c, bool is_in_object)
{
	while (is_in_object && skip_char(c, ',')) {
		skip_space(c);
		if (peek(c) != '"' || !skip_string(c)) return ERR_INVALID;
		if (!skip_char(c, ':') || !skip_value(c)) return ERR_INVALID;
	}
	if (is_in_object && !skip_char(c, '}')) return ERR_INVALID;
	skip_space(c);
	return c->at == c->text.len ? OK : ERR_INVALID;
}

int json_split_array(struct str text, struct str key, int (*fn)(void *ctx, struct str element), void *ctx)
{
	struct cursor c = {.text = text};
	int rc = enter_array(&c, key);
	struct cursor first = c;
	if (rc == OK) rc = walk_elements(&c, NULL, NULL);
	if (rc == OK) rc = check_rest(&c, key.len > 0);
	/* Only once all of it is known to hold: elements of a body that was cut short are not handed out. */
	return rc == OK ? walk_elements(&first, fn, ctx) : rc;
}
