/* answer_count: meets every person who answered a form once, over as many short read transactions as it takes. Between two of them people may be
 * joined and split, so that one would be met twice or not at all: the change feed names them, and the slices that hold one are walked again. What
 * is counted is the caller's; it keeps a part of its own for each slice. */
#pragma once

#include "profile/answer_scan.h"

struct answer_counter {
	void *(*begin)(void *ctx);            /* the part of a new slice, empty; NULL: no memory */
	void (*clear)(void *ctx, void *part); /* its slice is walked again */
	int (*add)(void *ctx, void *part, const struct answer_found *answers, size_t count); /* one person */
	bool (*should_stop)(void *ctx);                                                      /* asked between slices */
	void *ctx;
	int64_t slice_us; /* of one read transaction, about */
};

struct answer_count {
	void **parts; /* together: everybody */
	size_t count;
	uint64_t applied; /* everything below is counted */
	bool is_exact;    /* false: people were joined and split faster than it could follow */
};

/* Slices live in `arena`. ERR_CLOSED: it should stop; ERR_TOO_LARGE, ERR_NOMEM, what `add` says, and the store's. */
MUST_USE int people_count_answers(struct people_reader *reader, struct str form, int64_t now,
				  const struct answer_counter *counter, struct arena *arena, struct arena *scratch,
				  struct answer_count *out);
