#include "query.h"

#include <stdio.h>

#define DEPTH_MAX 6
#define NAME_SIZE 512

void query_begin(struct writer *query, const char *method)
{
	writer_text(query, method);
	writer_text(query, "?");
}

void query_add(struct writer *query, const char *name, const char *value)
{
	if (query->len && query->ptr[query->len - 1] != '?') writer_text(query, "&");
	writer_form(query, writer_of(name));
	writer_text(query, "=");
	writer_form(query, writer_of(value));
}

static void add_scalar(struct writer *query, const char *name, const json_t *value)
{
	char number[64] = "";
	if (json_is_integer(value)) snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	if (json_is_real(value)) snprintf(number, sizeof number, "%.15g", json_real_value(value));
	if (json_is_boolean(value)) snprintf(number, sizeof number, "%d", json_is_true(value));
	query_add(query, name, json_is_string(value) ? json_string_value(value) : number);
}

static void add(struct writer *query, const char *name, const json_t *value, unsigned depth)
{
	char inner[NAME_SIZE];
	const char *key;
	json_t *member;
	if (depth == DEPTH_MAX) return;
	json_object_foreach((json_t *)(uintptr_t)value, key, member)
	{
		if (snprintf(inner, sizeof inner, "%s[%s]", name, key) < (int)sizeof inner)
			add(query, inner, member, depth + 1);
	}
	for (size_t i = 0; i < json_array_size(value); i++) {
		if (snprintf(inner, sizeof inner, "%s[%zu]", name, i) < (int)sizeof inner)
			add(query, inner, json_array_get(value, i), depth + 1);
	}
	if (!json_is_object(value) && !json_is_array(value)) add_scalar(query, name, value);
}

void query_add_value(struct writer *query, const char *name, const json_t *value)
{
	add(query, name, value, 0);
}
