/* rewrite: sealed segments are written anew with some payloads replaced: how what was erased leaves the disk. Positions,
 * times and counters stay. What to replace is the caller's business. From one thread at a time, and not a loop's. */
#pragma once

#include <stdatomic.h>

#include "journal/journal.h"

struct journal_replacement {
	bool is_replaced;
	uint16_t flags;     /* of the record, from now on */
	struct str payload; /* valid until the next call */
};
struct journal_rewriter {
	/* What becomes of a record. A status other than OK ends the rewriting, and nothing has changed. */
	int (*record)(void *ctx, const struct record *record, struct journal_replacement *out);
	/* Does this reject's row go? */
	int (*reject)(void *ctx, const struct journal_reject_row *row, bool *goes);
	void *ctx;
	const atomic_bool *stop; /* ERR_CLOSED when it becomes true */
};

/* Waits until the segment that holds `seq` is sealed. ERR_CLOSED, ERR_PANIC; ERR_TIMEOUT: no new one could be begun (a full disk). */
MUST_USE int journal_seal(struct journal *journal, uint64_t seq, const atomic_bool *stop);
/* Bounds of the segment that holds `seq`; *end is UINT64_MAX of the one that is written. ERR_GONE. */
MUST_USE int journal_segment(struct journal *journal, uint64_t seq, uint64_t *first, uint64_t *end);
/* The rejects of the segment that begins at `first`. */
MUST_USE int journal_segment_rejects(struct journal *journal, uint64_t first,
				     int (*fn)(void *ctx, const struct journal_reject_row *row), void *ctx);
/* Writes the sealed segment that begins at `first` anew, whole or not at all, at any crash. ERR_GONE: retention took it. */
MUST_USE int journal_rewrite(struct journal *journal, uint64_t first, const struct journal_rewriter *rewriter);
/* Deletes old files of rewritten segments that nobody reads any more; true: none are left. */
bool journal_rewritten_are_gone(struct journal *journal);
