/* snapshot: everybody, row by row, as a source for feeds: short read windows, a lease on the changes since its beginning, and a cursor with each row by which an
 * interrupted one goes on. Which bytes that makes is the face's affair. */
#pragma once

#include "api/feed.h"
#include "profile/scan.h"

#define SNAPSHOT_CURSOR_SIZE 64

struct snapshot_row {
	const struct profile *profile;
	uint64_t applied; /* of its window: next seq to fold */
	uint64_t as_of;   /* newest change in its window */
	char cursor[SNAPSHOT_CURSOR_SIZE];
};
/* Each appends one message, whole or not at all. On a pool thread. */
struct snapshot_format {
	int (*begin)(struct buf *out, const struct api *api, uint64_t since);
	int (*row)(struct buf *out, const struct api *api, const struct snapshot_row *row, struct arena *scratch);
	/* All rows are told; applying every change from `since` up to `until` makes a copy of the store as of `until`. */
	int (*end)(struct buf *out, const struct api *api, uint64_t until, uint64_t rows);
};

extern const struct feed_kind SNAPSHOT_FEED;

/* `cursor`: of the last row that came; empty: from the beginning. Fills in all but the sink. PROBLEM_NONE; INVALID_PARAMETER; GONE: of another store;
 * OVERLOADED: too many run already; INTERNAL. *message: static. */
MUST_USE enum problem snapshot_open(struct api_worker *worker, struct str cursor, const struct snapshot_format *format,
				    struct feed_options *out, struct str *message);
