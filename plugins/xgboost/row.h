/* row: what a record says of a person, as the numbers a model takes. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct row_counts {
	unsigned long long missing;    /* features that the record lacks */
	unsigned long long unreadable; /* texts, lists and objects: no number can be made of them */
};

/* The feature `name` of the object `features`: a number, or true and false as 1 and 0; NaN for whatever else. The names are those of a training
 * set's columns: "orders", "order_rhythm.mean" (of an object), "active_hours.7" (of a list), "bought.G-32" (of a feature per key). */
float row_value(const json_t *features, const char *name, struct row_counts *counts);
