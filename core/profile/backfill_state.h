/* backfill_state: since when each feature counts and how far its backfill is. The row "backfill" of `meta`:
 *
 *   sealed · granted u64 · left u64 · features varint {key u64, from u64, from time i64, to u64, next u64, flags u8}…
 *
 * Features without an entry were defined before there was any of this: they count from their definition on. */
#pragma once

#include "profile/backfill.h"
#include "profile/plan.h"
#include "profile/segment_plan.h"

struct backfill_feature {
	uint64_t key;
	uint64_t from;  /* the oldest position it counts */
	int64_t from_t; /* its logical time; INT64_MIN: not known yet */
	uint64_t to;    /* of its definition: from there on it counts live */
	uint64_t next;  /* to be counted */
	bool is_done;   /* and segments may have it */
};

struct backfill_state {
	uint64_t granted, left; /* the record that a grant was for, and what is left of it */
	size_t count;
	struct backfill_feature items[PLAN_FEATURES_MAX];
};

struct backfill {
	struct backfill_state committed, working;
	bool is_changed;            /* working, in this transaction */
	struct segment_set waiting; /* segments that read what is not done, as of the working state */
	bool is_waiting;
	struct metric *events, *percent;
	_Atomic uint64_t shown_next, shown_end;
	_Atomic uint32_t shown_features, shown_permille;
};

/* ERR_CORRUPT; an absent row is an empty state. */
MUST_USE int backfill_read(struct store_txn *txn, store_db meta, struct backfill_state *out);
const struct backfill_feature *backfill_find(const struct backfill_state *state, uint64_t key); /* NULL: none */

/* Called by people.c, like those of segments.h. */
MUST_USE int backfill_open(struct people *people);
MUST_USE int backfill_load(struct people *people, struct store_txn *txn); /* the plan is there */
void backfill_close(struct people *people);
void backfill_begin(struct people *people);
MUST_USE int backfill_write(struct people *people);
void backfill_ended(struct people *people, bool is_committed);
/* people->plan took over at `seq`. */
void backfill_defined(struct people *people, uint64_t seq, int64_t t, uint64_t oldest);
/* Features that have all are done. True: some segment waits no longer. */
bool backfill_let_go(struct people *people);

static inline bool backfill_waits(const struct backfill *backfill, size_t segment)
{
	return backfill->is_waiting && (backfill->waiting.words[segment / 64] >> segment % 64 & 1);
}
