/* cache: the rows one write transaction has looked at. Each is read and decoded once, changed in memory, and
 * written once, in key order, at the commit; only pieces whose bytes changed are put. Memory is the
 * transaction's arena. The fold's thread only. */
#pragma once

#include "profile/piece.h"

struct cached_row {
	bool is_loaded, is_dirty;
	struct stored_row stored; /* as the transaction found it */
	struct row *row;          /* as it is now; NULL: there is none */
};

struct membership; /* core/profile/segments.h */

/* What is known of one fragment id: its own row, and the merged row of the profile it heads. */
struct slot {
	struct fragment_id id;
	struct cached_row fragment, merged;
	size_t index; /* in the table */
	bool is_dirty, is_viewed;
	bool has_new_members; /* joined or split: values may have gone */
	bool
	    has_expired; /* traits that ran out were told: what else is said of them at the end must be said whatever it was before */
	bool is_forgotten;  /* the feed said that this profile is no more: should it be back, everything is told anew */
	uint64_t cause_seq; /* last event that changed the profile it heads */
	int64_t cause_t;
	struct membership *membership; /* of the profile it heads; NULL: nobody asked yet */
};

struct slot_list {
	struct slot **items;
	size_t count, room;
};

struct cache {
	struct store_txn *txn;
	store_db rows;
	struct arena arena;
	struct slot **table;
	size_t table_size; /* a power of two */
	struct slot_list slots, dirty, viewed;
	size_t branch_pages; /* of the rows' tree, about */
	size_t extra_pages;  /* of chunks of the rows that are dirty */
	size_t grown_bytes;  /* that rows have grown by */
	uint8_t *scratch;    /* encoder's */
	size_t scratch_size;
};

MUST_USE int cache_init(struct cache *cache, store_db rows);
void cache_fini(struct cache *cache);
MUST_USE int cache_begin(struct cache *cache, struct store_txn *txn);
void cache_reset(struct cache *cache); /* forgets everything, drops the txn */

MUST_USE int cache_slot(struct cache *cache, const struct fragment_id *id, struct slot **out);
/* The row, hot section decoded. ERR_NOT_FOUND; ERR_CORRUPT, ERR_FORMAT, ERR_NOMEM. */
MUST_USE int cache_row(struct cache *cache, struct slot *slot, bool is_merged, struct row **out);
/* Decodes members and traits of a row that is there. */
MUST_USE int cache_cold(struct cache *cache, struct slot *slot, bool is_merged);
/* Puts a new row into the slot (in place of any). */
MUST_USE int cache_set(struct cache *cache, struct slot *slot, bool is_merged, struct row *row);
MUST_USE int cache_delete(struct cache *cache, struct slot *slot, bool is_merged);
MUST_USE int cache_dirty(struct cache *cache, struct slot *slot, bool is_merged);
/* Some row will be longer by that much: it counts in cache_pages. */
void cache_grow(struct cache *cache, size_t bytes);
/* The profile that slot heads has changed: its values are compared at the commit. */
MUST_USE int cache_view(struct cache *cache, struct slot *slot, uint64_t cause_seq, int64_t cause_t);
/* Decodes the row as the transaction found it, both sections; NULL in *out when there was none. */
MUST_USE int cache_original(struct cache *cache, const struct slot *slot, bool is_merged, bool with_cold,
			    struct row **out);

MUST_USE int cache_write(struct cache *cache); /* all dirty rows, sorted */
size_t cache_pages(const struct cache *cache); /* that cache_write would touch, from above */
