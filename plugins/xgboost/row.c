#include "row.h"

#include <math.h>
#include <string.h>

#define STEP_MAX 256

static const json_t *find(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);
	char step[STEP_MAX];
	while (!value && object) {
		const char *dot = strchr(name, '.');
		size_t len = dot ? (size_t)(dot - name) : strlen(name);
		if (len >= sizeof step) return NULL;
		memcpy(step, name, len);
		step[len] = '\0';
		object = json_object_get(object, step);
		if (!dot) return object;
		name = dot + 1;
	}
	return value;
}

float row_value(const json_t *features, const char *name, struct row_counts *counts)
{
	const json_t *value = find(features, name);
	if (json_is_number(value)) return (float)json_number_value(value);
	if (json_is_boolean(value)) return json_is_true(value) ? 1.0F : 0.0F;
	if (!value || json_is_null(value))
		counts->missing++;
	else
		counts->unreadable++;
	return NAN;
}
