#include "config/json_literal.h"

#include <math.h>
#include <stdlib.h>

static size_t digits(struct str text, size_t at)
{
	size_t start = at;
	while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9') at++;
	return at - start;
}

/* RFC 8259's grammar. */
static bool looks_like_number(struct str text)
{
	size_t at = text.len && text.ptr[0] == '-', n = digits(text, at);
	if (n == 0 || (n > 1 && text.ptr[at] == '0')) return false;
	at += n;
	if (at < text.len && text.ptr[at] == '.') {
		n = digits(text, at + 1);
		if (n == 0) return false;
		at += n + 1;
	}
	if (at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
		at++;
		if (at < text.len && (text.ptr[at] == '+' || text.ptr[at] == '-')) at++;
		n = digits(text, at);
		if (n == 0) return false;
		at += n;
	}
	return at == text.len;
}

static bool read_number(struct str text, struct schema_literal *out)
{
	char copy[64];
	if (text.len >= sizeof copy) return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	out->type = str_to_i64(text, &out->integer) == OK ? SCHEMA_INTEGER : SCHEMA_NUMBER;
	out->number = strtod(copy, NULL);
	return isfinite(out->number);
}

bool json_literal_read(const struct node *node, struct schema_literal *out)
{
	struct str text = node->text;
	*out = (struct schema_literal){.type = SCHEMA_STRING, .text = text};
	if (node->kind != NODE_SCALAR) return false;
	if (node->is_quoted) return true;
	if (text.len == 0 || str_eq(text, STR("~")) || str_eq(text, STR("null"))) {
		out->type = SCHEMA_NULL;
		out->text = STR("null");
	} else if (str_eq(text, STR("true")) || str_eq(text, STR("false"))) {
		out->type = SCHEMA_BOOLEAN;
		out->integer = text.len == 4;
	} else if (looks_like_number(text)) {
		return read_number(text, out);
	}
	return true;
}
