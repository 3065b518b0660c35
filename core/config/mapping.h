/* mapping: the template language that turns a record of cdpd into the JSON that a destination wants, compiled from YAML.
 * docs/mapping.md describes it; core/deliver/transform.h runs it. Immutable; lives in the config's arena. */
#pragma once

#include "config/complaint.h"

#define MAPPING_STEPS_MAX 12
#define MAPPING_DEPTH_MAX 16
#define MAPPING_OPS_MAX   8

struct mapping_step {
	struct str name; /* empty: an index */
	int32_t index;   /* from 0; negative: from the end */
};
struct mapping_path {
	struct str text;
	struct mapping_step steps[MAPPING_STEPS_MAX];
	size_t count;
	struct str item; /* the first step's name when it is an `each`'s item; else empty */
};

enum mapping_op { MAPPING_TRIM, MAPPING_LOWER, MAPPING_UPPER, MAPPING_SHA256, MAPPING_DIGITS };
enum mapping_cast {
	MAPPING_AS_IS,
	MAPPING_STRING,
	MAPPING_INTEGER,
	MAPPING_NUMBER,
	MAPPING_BOOLEAN,
	MAPPING_JSON_TEXT
};
enum mapping_format { MAPPING_PLAIN, MAPPING_ISO8601, MAPPING_DATE, MAPPING_UNIX_S, MAPPING_UNIX_MS };

struct mapping_condition {
	struct mapping_path path;
	struct str *in, *not_in; /* as text */
	size_t in_count, not_in_count;
	bool has_exists, exists, has_min, has_max;
	double min, max;
};

enum mapping_kind {
	MAPPING_CONSTANT, /* json */
	MAPPING_VALUE,    /* path and what is done to it */
	MAPPING_TEXT,     /* children: constants and values, joined */
	MAPPING_OBJECT,   /* children with keys; absent ones are left out */
	MAPPING_LIST,     /* children; absent ones are left out */
	MAPPING_IF,       /* conditions; children: then, else (maybe absent) */
	MAPPING_EACH,     /* path, conditions, one child for each element */
	MAPPING_FIRST,    /* the first of the children that is there */
};

struct mapping {
	enum mapping_kind kind;
	int line;
	struct str key;  /* in an object */
	struct str json; /* CONSTANT; a TEXT's piece: its bare text */
	struct mapping_path path;
	struct str item; /* EACH: what its element is called below it */
	enum mapping_op ops[MAPPING_OPS_MAX];
	size_t op_count;
	enum mapping_cast cast;
	enum mapping_format format;
	bool is_required;
	struct mapping *lookup;    /* pairs: key → json; NULL: none */
	struct mapping *otherwise; /* `default`; NULL: absent */
	struct mapping_condition *conditions;
	size_t condition_count;
	struct mapping *children, *next;
};

/* What a mapping reads beyond the record itself. */
enum mapping_needs { MAPPING_NEEDS_PROFILE = 1 << 0 };

/* Conditions as an `if` has them: one, or a list of which all must hold. transform_holds asks them. NULL as mapping_compile. */
MUST_USE const struct mapping *mapping_compile_conditions(struct arena *arena, struct complaints *complaints,
							  const struct node *node, const char *where, unsigned *needs);
/* `where`: "destinations[0].mapping", for texts. NULL: something was complained of, or memory ran out (complaints->status). */
MUST_USE const struct mapping *mapping_compile(struct arena *arena, struct complaints *complaints,
					       const struct node *node, const char *where, unsigned *needs);
