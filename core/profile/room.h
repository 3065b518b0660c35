/* room: struct people, known only inside core/profile. Everything but the atomics belongs to the fold's thread. */
#pragma once

#include <stdatomic.h>

#include "base/metric.h"
#include "profile/cache.h"
#include "profile/checkpoint.h"
#include "profile/identity.h"
#include "profile/scan.h"

struct tables {
	store_db rows, links, outcomes, changes, meta;
	store_db erased, suppressed; /* core/profile/block.h */
	store_db consent_log, consent_payloads, consent_tokens;
	store_db awaits; /* core/profile/awaits.h */
};

struct segments;
struct backfill;

struct people {
	const char *store_path; /* while it is opened */
	struct store_env *env;
	struct tables tables;
	struct hash_key key;

	struct store_txn *txn; /* open between begin and commit or abort */
	struct checkpoint committed;
	struct checkpoint working;  /* of the open transaction */
	struct plan *plan;          /* active; NULL before the first definition */
	struct plan *previous_plan; /* to go back to when the transaction that changed it is aborted */
	bool has_new_plan;
	struct cache cache;
	struct segments *segments;
	struct backfill *backfill; /* core/profile/backfill_state.h */
	struct event_view view;
	struct identifiers identifiers; /* of the event being applied */
	struct buf json;                /* scratch: a trait's value, a change's body */
	struct metric *refused_inputs;
	bool has_renamed;                /* in the open transaction somebody became another person, or nobody */
	bool has_erased, has_suppressed; /* something is blocked, as of the open transaction */

	/* Newest committed, for any thread. */
	_Atomic uint64_t applied, last_change, epoch, renamed;
	_Atomic int64_t applied_t;
	_Atomic uint64_t verdicts[OUTCOME_VERDICT_COUNT];
	_Atomic uint64_t leases[PEOPLE_LEASES]; /* scan.h */
};

/* Where a compacted copy of the profiles is made. */
MUST_USE int people_compact_path(const char *env_path, char *out, size_t size);
void fragment_id_make(const struct hash_key *key, struct str identifier, struct fragment_id *out);
/* Appends to the feed; `change->seq` is given here. */
MUST_USE int people_append_change(struct people *people, struct change *change);
