/* order: what an operator told a destination: to pause, or to go back to an older record. Durable in delivery/ before it is carried out, so
 * that it outlives a restart. Any thread. */
#pragma once

#include "deliver/cursor.h"

struct order {
	bool is_paused, has_seek;
	uint64_t seek_seq; /* where to go on */
};

/* Nothing was ever said: all zero. */
MUST_USE int order_get(struct cursors *cursors, struct str destination, struct order *out);
/* Durable when they return OK; *out: what holds now. */
MUST_USE int order_pause(struct cursors *cursors, struct str destination, bool is_paused, struct order *out);
MUST_USE int order_seek(struct cursors *cursors, struct str destination, uint64_t seq, struct order *out);
/* It is carried out: with `row` in one transaction. A newer one, to another place, stays. */
MUST_USE int order_settle(struct cursors *cursors, struct str destination, uint64_t seq, const struct cursor_row *row);
