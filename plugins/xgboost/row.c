#include "row.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEP_MAX  256
#define DEPTH_MAX 8

static const json_t *element(const json_t *list, const char *text)
{
	char *end;
	unsigned long index = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == '\0' ? json_array_get(list, index) : NULL;
}

/* Keys may hold dots: what follows a name is one first. */
static const json_t *find(const json_t *value, const char *name, unsigned depth)
{
	char step[STEP_MAX];
	const char *dot = strchr(name, '.');
	if (json_is_array(value)) return element(value, name);
	const json_t *whole = json_object_get(value, name);
	if (!whole) whole = json_object_get(json_object_get(value, "keys"), name);
	if (whole || !dot || depth == DEPTH_MAX) return whole;
	size_t len = (size_t)(dot - name);
	if (len >= sizeof step) return NULL;
	memcpy(step, name, len);
	step[len] = '\0';
	return find(json_object_get(value, step), dot + 1, depth + 1);
}

float row_value(const json_t *features, const char *name, struct row_counts *counts)
{
	const json_t *value = find(features, name, 0);
	if (json_is_number(value)) return (float)json_number_value(value);
	if (json_is_boolean(value)) return json_is_true(value) ? 1.0F : 0.0F;
	if (!value || json_is_null(value))
		counts->missing++;
	else
		counts->unreadable++;
	return NAN;
}
