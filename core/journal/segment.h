/* segment: a run of the journal's records in an LMDB environment of its own, with its meta and its rejects.
 * The newest is written by the journal's thread; sealed ones are only read. */
#pragma once

#include "journal/meta.h"
#include "store/store.h"

#define SEGMENT_FORMAT     1
#define SEGMENT_NAME_SIZE  21     /* 20 digits: the first seq */
#define SEGMENT_OLD_SUFFIX ".old" /* while another takes its place */

struct position_list { /* quarantined positions, ascending */
	uint64_t *seqs;
	size_t count, capacity;
};
#define QUARANTINE_MAX 65536

struct segment {
	uint64_t first_seq;
	char *path;
	struct store_env *env; /* NULL: closed */
	store_db records, meta, rejects;
	uint64_t end_seq; /* sealed: first seq after it, once it has been open; else 0 */
	int64_t last_t;   /* of its newest record, once it has been open */
	uint64_t bytes;   /* on disk */
	uint64_t map_bytes;
	bool is_written; /* open for writing */
	/* the set's, under its lock */
	unsigned refs;
	uint64_t used_at; /* for least recently used */
};

/* Allocates; touches no file. NULL: out of memory. */
struct segment *segment_new(const char *journal_dir, uint64_t first_seq);
void segment_free(struct segment *segment); /* closes */

/* Makes it on disk, whole or not at all: built under another name, synced, renamed. Then open for writing.
 * ERR_PANIC: it may or may not be there after a restart; any other error: it is not. */
MUST_USE int segment_create(struct segment *segment, const char *journal_dir, const struct journal_meta *meta,
			    const struct position_list *quarantined, uint64_t map_bytes);
/* Removes what a crash in segment_create left, and ends an exchange (segment_set_exchange) that was cut off. */
MUST_USE int segment_remove_leftover(const char *journal_dir);
/* Where a segment is written anew before it takes the old one's place; malloc'd. NULL: out of memory. */
char *segment_rewrite_path(const char *journal_dir);
/* The same at another place, open for writing; map_bytes as for segment_open. */
MUST_USE int segment_open_copy(struct segment *segment, uint64_t map_bytes);
/* Checks epoch, meta and that the records run without a gap from first_seq. ERR_NOT_FOUND: it was never finished, or
 * has no data file; ERR_CORRUPT; ERR_FORMAT. */
MUST_USE int segment_open(struct segment *segment, uint64_t map_bytes, bool read_only, uint64_t epoch,
			  struct journal_meta *meta);
void segment_close(struct segment *segment);

MUST_USE int segment_put_meta(struct segment *segment, struct store_txn *txn, const struct journal_meta *meta);
MUST_USE int segment_put_quarantined(struct segment *segment, struct store_txn *txn, const struct position_list *list);
/* Allocates list->seqs. */
MUST_USE int segment_read_quarantined(struct segment *segment, struct position_list *list);
