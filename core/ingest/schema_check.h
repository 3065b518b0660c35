/* schema_check: holds a JSON value against a compiled schema. Walks the document as it was parsed; allocates only for what it has to tell. */
#pragma once

#include "base/json.h"
#include "config/json_schema.h"

#define VIOLATIONS_MAX      3   /* kept of one event; the check ends with the last */
#define VIOLATION_POINTER   200 /* bytes of a pointer */
#define VIOLATION_TEXT_SIZE 200

struct schema_violation {
	struct str pointer; /* JSON pointer, below the prefix */
	struct str text;    /* "must be at least 0, is -5" */
	struct str rule;    /* the same without what was sent: "must be at least 0" */
};

struct schema_check {
	struct arena *arena; /* texts live in it */
	struct str prefix;   /* of all pointers: "/properties" */
	struct schema_violation violations[VIOLATIONS_MAX];
	size_t count;
	int status; /* ERR_NOMEM: there was no room to tell */
};

/* Fills violations, count and status; true when the value is as the schema wants it. `value` NULL: an object without members. */
bool schema_check(struct schema_check *check, const struct json_schema *schema, const struct json *value);
