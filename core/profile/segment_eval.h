/* segment_eval: is this person in that segment at that moment, and when may time alone change the answer? */
#pragma once

#include "profile/feature_eval.h"
#include "profile/plan.h"
#include "profile/segment_value.h"

/* A person being asked about. Members and traits are decoded when a condition first wants them. */
struct segment_person {
	const struct plan *plan;
	struct row *view; /* that shows the profile */
	int (*decode_cold)(void *ctx);
	void *ctx;
	const uint64_t *keys; /* segments that the person is in, ordered */
	size_t key_count;
	int64_t now;
	struct value_scratch *scratch;
	char json[FEATURE_JSON_MAX]; /* the feature last read */
};

struct segment_verdict {
	bool is_member;
	int64_t changes_at; /* not before then, as long as no event comes; later than now; INT64_MAX: never */
};

/* ERR_NOMEM, or what decode_cold returns. */
MUST_USE int segment_eval(struct segment_person *person, const struct segment *segment, struct segment_verdict *out);
bool segment_keys_have(const uint64_t *keys, size_t count, uint64_t key);
