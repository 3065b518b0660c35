/* dedup: has this (source, messageId) been folded before? Rows in the profiles env, so that an id is remembered in the very
 * transaction that applies its event, and a filter in memory, so that a new id costs no look-up there.
 *
 * Ids are kept in generations of 262,144 journal positions: inserts stay in the newest generation's part of the tree, and a
 * generation is forgotten as a whole, when its newest record is older than the window or the id bound is passed. Both are
 * decided by logical time and positions alone, so a replay decides the same. Rows: core/fold/dedup_row.h.
 *
 * The fold's thread owns it. */
#pragma once

#include "event/event.h"
#include "store/store.h"

#define DEDUP_WINDOW_DEFAULT_US (INT64_C(7) * 86400 * 1000000)
#define DEDUP_IDS_DEFAULT       UINT64_C(20000000)

struct dedup;
enum dedup_verdict { DEDUP_NEW, DEDUP_DUPLICATE, DEDUP_CONFLICT };

/* Opens its databases in `env` and reads its small rows; before other threads use the env. */
MUST_USE int dedup_open(struct store_env *env, struct dedup **out);
void dedup_close(struct dedup *dedup);
/* The active definitions' bounds; 0: the default. Takes effect with the next record. */
void dedup_configure(struct dedup *dedup, int64_t window_us, uint64_t max_ids);
/* Rebuilds the filter from the rows. Outside a write transaction; ERR_CLOSED when *stop becomes true. */
MUST_USE int dedup_load(struct dedup *dedup, const _Atomic bool *stop);

/* ── inside a write transaction ──────────────────────────────────────────── */

/* Logical time reaches record `seq` at `t`: forgets what is due. Before the record itself is looked at. */
void dedup_advance(struct dedup *dedup, uint64_t seq, int64_t t);
/* A clock record: while held, nothing is forgotten by time (the id bound still holds). */
void dedup_hold(struct dedup *dedup, bool is_held);
/* NEW remembers the id with `seq`; otherwise *winner_seq is the position that has it. ERR_INVALID: source or message id too
 * long to be one of ours. Other errors are the store's: abort. */
MUST_USE int dedup_check(struct dedup *dedup, struct store_txn *txn, const struct cdpd_event *event, uint64_t seq,
			 int64_t t, enum dedup_verdict *verdict, uint64_t *winner_seq);
/* Did the event happen before the effective window, so that its id may have been forgotten? Counts those that did. */
bool dedup_is_maybe_duplicate(struct dedup *dedup, const struct cdpd_event *event, int64_t t);
/* Writes the small rows and deletes a slice of forgotten ids. The last call before the commit. */
MUST_USE int dedup_flush(struct dedup *dedup, struct store_txn *txn);
/* Exactly one of them after each transaction that used the dedup. */
void dedup_committed(struct dedup *dedup);
MUST_USE int dedup_aborted(struct dedup *dedup); /* takes back everything since the last commit */

/* Rows of forgotten generations are waiting to be deleted. */
bool dedup_has_garbage(const struct dedup *dedup);
/* Pages by which the store's estimate for this transaction is too high: it takes each insert for a page of its own, but ids lie
 * close together. */
size_t dedup_overcount(const struct dedup *dedup);
/* Logical time at which the oldest generation is forgotten, seen from `seq`; INT64_MAX: none is waiting. */
int64_t dedup_next_due(const struct dedup *dedup, uint64_t seq);

struct dedup_stats {
	uint64_t ids, maybe_duplicates;
	int64_t window_us; /* effective */
	size_t filter_bytes;
};
/* As of `t`; on the fold's thread. */
void dedup_stats(const struct dedup *dedup, int64_t t, struct dedup_stats *out);
