/* segment_plan: segments made ready for the fold. Each condition is a flat program; sets of segments say which of them an
 * event can have changed, so that the others cost nothing.
 *
 * Segments are numbered in an order in which each comes after those it refers to. Immutable once made. */
#pragma once

#include "profile/people.h"

#define SEGMENTS_MAX       1024
#define SEGMENT_NAME_MAX   64
#define SEGMENT_WORDS      (SEGMENTS_MAX / 64)
#define SEGMENT_STEPS_MAX  1024 /* of one condition */
#define SEGMENT_DEPTH_MAX  32
#define SEGMENT_VALUES_MAX 1000

struct segment_set {
	uint64_t words[SEGMENT_WORDS];
};

enum segment_subject {
	SUBJECT_FIELD,
	SUBJECT_SEGMENT,
	SUBJECT_FEATURE,
	SUBJECT_IDENTIFIER,
	SUBJECT_TRAIT,
	SUBJECT_CONSENT,
	SUBJECT_COUNT
}; /* cheapest to ask first */

enum segment_field { FIELD_FIRST_SEEN, FIELD_LAST_SEEN, FIELD_EVENT_COUNT, FIELD_FRAGMENTS, FIELD_COUNT };

enum segment_test {
	TEST_IS,
	TEST_IS_NOT,
	TEST_IN,
	TEST_GREATER,
	TEST_AT_LEAST,
	TEST_LESS,
	TEST_AT_MOST,
	TEST_EXISTS,
	TEST_CONTAINS,
	TEST_MATCHES,
	TEST_BEFORE,
	TEST_AFTER,
	TEST_WITHIN,
	TEST_NOT_WITHIN,
	TEST_COUNT
};

struct segment_operand { /* a scalar as text, and as the number it may be */
	struct str text;
	double number;
	bool is_number;
};

enum segment_step_kind { STEP_ALL, STEP_ANY, STEP_NOT, STEP_LEAF };
struct segment_step {
	enum segment_step_kind kind;
	uint32_t end; /* index behind the step and what belongs to it */
	/* of a leaf */
	enum segment_subject subject;
	enum segment_test test;
	struct str name;
	size_t index; /* of the feature or segment in the plan; the field */
	struct segment_operand *operands;
	size_t operand_count;
	int64_t time; /* a point, or a span */
	bool is_true; /* operand of exists, and of a segment's is */
};

struct segment {
	uint64_t key; /* in rows and tables: a hash of the name */
	struct str name, when;
	struct segment_step *steps;
	size_t step_count;
	struct segment_set dependents; /* that refer to this one */
};

struct segment_plan {
	struct segment *items; /* in order of evaluation */
	size_t count;
	size_t *by_key; /* indexes, ordered by key */
	/* Which segments to look at again after … */
	struct segment_set all;
	struct segment_set every_event; /* counters, times, features that age */
	struct segment_set traits, identities;
	struct segment_set *of_feature; /* by index in the plan */
	size_t feature_count;
	struct segment_set timed; /* a due time */
};

struct plan;
/* From plan->definitions; the features are made. Leaves plan->segments NULL when there are none. ERR_INVALID, ERR_NOMEM. */
MUST_USE int segment_plan_make(struct plan *plan);
const struct segment *segment_find(const struct segment_plan *segments, uint64_t key); /* NULL: not defined */
uint64_t segment_key(struct str name);
/* Would rows that were evaluated by `old` have to be looked at again? Either may be NULL. */
bool segment_plans_differ(const struct plan *old, const struct plan *new);

static inline void segment_set_add(struct segment_set *set, size_t index)
{
	set->words[index / 64] |= UINT64_C(1) << index % 64;
}

static inline void segment_set_join(struct segment_set *set, const struct segment_set *more)
{
	for (size_t i = 0; i < SEGMENT_WORDS; i++) set->words[i] |= more->words[i];
}
