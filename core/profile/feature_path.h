/* feature_path: a field of an event that may lead into an array: "properties.products[].price" is the price of each product,
 * "properties.tags[]" each tag. At most one "[]" in a path. */
#pragma once

#include "profile/event_view.h"

struct feature_path {
	struct event_field field; /* the value; with is_array: the array */
	bool is_array;
	struct str rest; /* the path inside each element; empty: the element itself */
};

/* ERR_INVALID. Borrows the text; empty text is PART_NONE. */
MUST_USE int feature_path_parse(struct str text, struct feature_path *out);
/* Do both lead into the same array? */
bool feature_path_is_paired(const struct feature_path *a, const struct feature_path *b);

/* The value inside one element; false: the element lacks it. */
bool feature_path_in_element(const struct feature_path *path, struct json element, struct json *out);
