/* checkpoint: the rows of the `meta` database: where the fold stands, the counters committed with it, the hash key of
 * fragment ids, and the active definitions. */
#pragma once

#include "base/hash.h"
#include "profile/plan.h"
#include "store/store.h"

struct checkpoint {
	uint64_t applied; /* next seq to fold; 1 at first */
	int64_t applied_t;
	uint64_t epoch;         /* of the journal; 0: not bound yet */
	uint64_t last_change;   /* newest in the feed */
	uint64_t changes_floor; /* changes up to here are gone */
	uint64_t last_outcome;  /* highest position with an outcome */
	uint64_t plan_seq;      /* position of the active definitions; 0: none */
	uint64_t verdicts[OUTCOME_VERDICT_COUNT];
};

/* ERR_NOT_FOUND: a new env. */
MUST_USE int checkpoint_read(struct store_txn *txn, store_db meta, struct checkpoint *out);
MUST_USE int checkpoint_write(struct store_txn *txn, store_db meta, const struct checkpoint *checkpoint);

MUST_USE int hash_key_read(struct store_txn *txn, store_db meta, struct hash_key *out);
MUST_USE int hash_key_write(struct store_txn *txn, store_db meta, const struct hash_key *key);

/* The plan last written. ERR_NOT_FOUND: none. Feature types that are missing here rest (a plugin may come back). */
MUST_USE int plan_read(struct store_txn *txn, store_db meta, struct plan **out);
MUST_USE int plan_write(struct store_txn *txn, store_db meta, const struct plan *plan);

/* The definitions under which a version of the identity rules began: attempts of that time are decided again by them.
 * ERR_NOT_FOUND: that version was not kept. */
MUST_USE int rules_write(struct store_txn *txn, store_db meta, const struct plan *plan);
MUST_USE int rules_read(struct store_txn *txn, store_db meta, uint64_t version, struct plan **out);
