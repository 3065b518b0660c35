/* event_walk: a page of one person's events, newest first, whatever face asks. On a pool thread: it reads the journal. */
#pragma once

#include "api/internal.h"

struct event_query {
	struct str ref, event; /* event: its name, or empty: any */
	enum event_type type;  /* 0: any */
	size_t limit;
	uint64_t below; /* 0: from the newest */
};

/* One event that is wanted; text is borrowed. Non-zero stops the walk with that status. */
typedef int (*event_walk_fn)(void *ctx, struct read_thread *thread, const struct cdpd_event *event, uint64_t seq,
			     const struct outcome *outcome);
struct event_walk {
	const struct event_query *query;
	struct api *api;
	const atomic_bool *is_cancelled;
	const struct buf *page; /* the walk ends early when it has grown beyond page_max */
	size_t page_max;
	event_walk_fn fn;
	void *ctx;

	/* the walk's */
	uint64_t applied; /* of the first snapshot */
	uint64_t below;   /* after OK: where the next page begins */
	bool has_more;
	struct profile profile;
	struct chain_item *items;
	size_t item_count, found, seen;
};
/* Errors as people_get's, and the journal's. */
MUST_USE int event_walk_run(struct event_walk *walk, struct read_thread *thread);
