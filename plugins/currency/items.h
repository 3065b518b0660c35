/* items: walks over the objects of a JSON array, and finds what one of them has under a name. The JSON is minified and sound: it comes from the host. Nothing is
 * copied and nothing is decoded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct items {
	const char *at, *end;
};

/* False: `text` is no array. */
bool items_begin(struct items *items, const char *text, size_t len);
/* The next element, whatever it is. False: there is no more. */
bool items_next(struct items *items, const char **item, size_t *len);
/* A number as it stands, a text without its quotation marks (false: one with escapes, which no number has). False: no object, no such name, null, or another
 * kind of value. */
bool item_get(const char *item, size_t len, const char *name, const char **value, size_t *value_len);
