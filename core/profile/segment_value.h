/* segment_value: what a condition finds in a person's row, and comparing it. Pure; depends on no clock and no locale. */
#pragma once

#include "base/json.h"
#include "profile/segment_plan.h"

#define VALUE_SPAN_MAX     (INT64_C(36500) * 86400 * 1000000)
#define VALUE_GLOB_BYTES   128  /* longest pattern */
#define VALUE_GLOB_SUBJECT 1024 /* a longer text matches no pattern: the work stays bounded */

enum value_kind { VALUE_NONE /* absent, or null */, VALUE_NUMBER, VALUE_TEXT, VALUE_TRUTH, VALUE_TIME, VALUE_JSON };

struct segment_value {
	enum value_kind kind;
	struct str text; /* a text's content; of everything else its JSON */
	double number;   /* of a number, and of a text that is one when is_number */
	bool is_number;
	int64_t time;
};

struct value_scratch { /* for what is not a plain scalar */
	struct json_reader *reader;
	struct buf text;
};

/* From JSON text; what the value borrows lives as long as `json` and until the scratch is used again. ERR_NOMEM. */
MUST_USE int value_from_json(struct str json, struct value_scratch *scratch, struct segment_value *out);
struct segment_value value_from_text(struct str text);
struct segment_value value_from_number(double number, char memory[32]);
struct segment_value value_from_time(int64_t us);

/* Is the text a decimal number? */
bool value_text_is_number(struct str text, double *out);
/* ISO 8601 texts and dates; numbers: seconds below 10¹¹, milliseconds above. False: not a time. */
bool value_time(const struct segment_value *value, int64_t *us);

bool value_is(const struct segment_value *value, const struct segment_operand *operand);
/* '*' any number of bytes, '?' one character; the whole text, case matters. */
bool value_matches(struct str text, struct str pattern);
/* A text has that part; a list has that element. ERR_NOMEM. */
MUST_USE int value_contains(const struct segment_value *value, const struct segment_operand *operand,
			    struct value_scratch *scratch, bool *out);
