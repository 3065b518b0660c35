#include "profile/feature_path.h"

int feature_path_parse(struct str text, struct feature_path *out)
{
	*out = (struct feature_path){.rest = STR_NONE};
	const char *mark = text.len ? memmem(text.ptr, text.len, "[]", 2) : NULL;
	if (!mark) return event_field_parse(text, &out->field);
	struct str array = {text.ptr, (size_t)(mark - text.ptr)};
	struct str rest = {mark + 2, text.len - array.len - 2};
	int rc = event_field_parse(array, &out->field);
	if (rc || out->field.path.len == 0) return ERR_INVALID; /* a text has no elements */
	out->is_array = true;
	if (rest.len == 0) return OK;
	if (rest.ptr[0] != '.' || rest.len == 1 || memmem(rest.ptr, rest.len, "[]", 2)) return ERR_INVALID;
	out->rest = (struct str){rest.ptr + 1, rest.len - 1};
	return OK;
}

bool feature_path_is_paired(const struct feature_path *a, const struct feature_path *b)
{
	return a->is_array && b->is_array && a->field.part == b->field.part && str_eq(a->field.path, b->field.path);
}

bool feature_path_in_element(const struct feature_path *path, struct json element, struct json *out)
{
	*out = element;
	return path->rest.len == 0 || json_get_path(element, path->rest, out);
}
