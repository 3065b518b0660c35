/* json_schema: a documented subset of JSON Schema (2020-12), compiled once into an immutable tree; docs/tracking-plan.md lists the keywords.
 * What is not in the subset is refused when it is loaded, never ignored. core/ingest/schema_check.h holds values against the tree. */
#pragma once

#include "base/pattern.h"
#include "config/complaint.h"

#define SCHEMA_DEPTH_MAX      16
#define SCHEMA_PROPERTIES_MAX 1000 /* of one object, and values of one enum */
#define SCHEMA_REQUIRED_MAX   256  /* of one object */

enum schema_type {
	SCHEMA_NULL = 1 << 0,
	SCHEMA_BOOLEAN = 1 << 1,
	SCHEMA_INTEGER = 1 << 2, /* 5 and 5.0 */
	SCHEMA_NUMBER = 1 << 3,
	SCHEMA_STRING = 1 << 4,
	SCHEMA_ARRAY = 1 << 5,
	SCHEMA_OBJECT = 1 << 6
};

enum schema_rule { /* which keywords are there */
		   RULE_MINIMUM = 1 << 0,
		   RULE_MAXIMUM = 1 << 1,
		   RULE_EXCLUSIVE_MINIMUM = 1 << 2,
		   RULE_EXCLUSIVE_MAXIMUM = 1 << 3,
		   RULE_MIN_LENGTH = 1 << 4,
		   RULE_MAX_LENGTH = 1 << 5,
		   RULE_MIN_ITEMS = 1 << 6,
		   RULE_MAX_ITEMS = 1 << 7,
		   RULE_CHOICES = 1 << 8,
		   RULE_CLOSED = 1 << 9 /* additionalProperties: false */
};

enum schema_format { FORMAT_NONE, FORMAT_DATE_TIME, FORMAT_DATE, FORMAT_EMAIL, FORMAT_URI };

struct schema_literal {
	enum schema_type type; /* NULL, BOOLEAN, INTEGER (fits int64), NUMBER or STRING */
	struct str text;       /* as in the file */
	int64_t integer;       /* BOOLEAN too */
	double number;         /* of both kinds of number */
};

struct schema_property {
	struct str name;
	const struct json_schema *schema; /* NULL: only required, not described */
	uint16_t required;                /* its bit plus one; 0: not required */
};

struct json_schema {
	uint32_t types; /* enum schema_type; 0: any */
	uint32_t rules; /* enum schema_rule */
	double minimum, maximum, exclusive_minimum, exclusive_maximum;
	uint64_t min_length, max_length; /* characters */
	uint64_t min_items, max_items;
	enum schema_format format;
	const struct pattern *pattern; /* or NULL */
	struct str pattern_text;
	const struct schema_literal *choices; /* enum, or const: one */
	size_t choice_count;
	const struct schema_property *properties; /* sorted by name */
	size_t property_count;
	uint16_t required_count;
	const struct json_schema *items; /* or NULL */
};

/* `where` names the node in complaints: "events[0].schema". NULL when something was complained of, or memory ran out (the
 * complaints' status). */
const struct json_schema *json_schema_compile(struct arena *arena, struct complaints *complaints,
					      const struct node *node, const char *where);
const struct schema_property *json_schema_property(const struct json_schema *schema,
						   struct str name); /* NULL: not there */
const char *schema_type_name(enum schema_type type);                 /* one bit */
const char *schema_format_name(enum schema_format format);
