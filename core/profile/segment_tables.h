/* segment_tables: the databases beside the rows that make segments listable and due times findable.
 *
 *   members  key  segment key u64 BE · profile id 16      value  sealed header · since i64
 *            key  segment key u64 BE                      value  sealed header · count u64 · name
 *   due      key  due time i64, sign flipped, BE · profile id 16    value  sealed header
 *
 *   expiries  as `due`, with the id of a fragment: core/profile/expiry.h
 *
 * A profile is in `due` at most once. The rows are the truth: all three can be told from them. */
#pragma once

#include "profile/people.h"

#define MEMBER_KEY_SIZE 24

struct segment_tables {
	store_db members, due, expiries;
};

MUST_USE int segment_tables_open(struct store_env *env, struct segment_tables *out);

MUST_USE int member_put(struct store_txn *txn, store_db members, const uint8_t key[MEMBER_KEY_SIZE], int64_t since);
MUST_USE int member_del(struct store_txn *txn, store_db members, const uint8_t key[MEMBER_KEY_SIZE]);
/* ERR_CORRUPT, ERR_FORMAT. */
MUST_USE int member_decode(struct str key, struct str value, uint64_t *segment, struct fragment_id *profile,
			   int64_t *since);
void member_key(uint64_t segment, const struct fragment_id *profile, uint8_t out[MEMBER_KEY_SIZE]);

/* How many members a segment has, and its name, which outlives its definition until the last member has left. ERR_NOT_FOUND. */
MUST_USE int member_count_get(struct store_txn *txn, store_db members, uint64_t segment, uint64_t *count,
			      struct str *name);
MUST_USE int member_count_put(struct store_txn *txn, store_db members, uint64_t segment, uint64_t count,
			      struct str name); /* 0 deletes it */

#define DUE_KEY_SIZE MEMBER_KEY_SIZE
void due_key(int64_t at, const struct fragment_id *profile, uint8_t out[DUE_KEY_SIZE]);
MUST_USE int due_put(struct store_txn *txn, store_db due, const uint8_t key[DUE_KEY_SIZE]);
MUST_USE int due_del(struct store_txn *txn, store_db due, const uint8_t key[DUE_KEY_SIZE]);
/* The earliest. ERR_NOT_FOUND: nothing waits. */
MUST_USE int due_first(struct store_txn *txn, store_db due, int64_t *at, struct fragment_id *profile);
