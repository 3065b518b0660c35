/* feed: a stream that one consumer reads at its own pace, pulled from the store: changes, the tail, a snapshot. It knows neither
 * HTTP nor gRPC: a *kind* says where its bytes come from, a *sink* where they go.
 *
 * A feed asks the read pool for its next FEED_BATCH bytes only when its consumer has room for them, so a consumer that never reads
 * costs one buffer and delays nobody. Feeds of a shared kind that have caught up are *live*: one read for each wake of the
 * worker serves all of them, a message is encoded once for those who want the same bytes, and who wants none of
 * them is not touched at all.
 *
 * A feed belongs to its worker's thread; a kind's fill functions alone run on a pool thread and touch nothing but what they are given. */
#pragma once

#include "api/internal.h"

#define FEED_BATCH        (64u << 10)
#define FEED_PULLS_MAX    4    /* in the read pool at once, of one worker: requests get their turn too */
#define FEEDS_MAX         1024 /* of one worker */
#define FEED_HEARTBEAT_MS 15000
#define FEED_FROM_START \
	UINT64_MAX /* as a cursor: from the oldest there is; `fill` sets it to that, and fetches nothing yet */
#define FEED_MESSAGE_MAX (4u << 20) /* one message */

struct feed_pull {
	void *params; /* the feed's; fill alone touches it while the feed lives. Of a shared kind: read only */
	struct api *api;
	uint64_t cursor; /* everything up to it was sent or passed over; moved by fill */
	uint64_t limit;  /* nothing beyond it, yet */
	struct buf *out; /* appended to: at most about FEED_BATCH bytes */
	bool is_done;    /* set by fill: that was all, the feed ends when it has been sent */
	const atomic_bool *is_cancelled;
};

/* What one read brings those who want the same: filled from share->cursor on. */
struct feed_slice {
	const void *params;
	struct buf out;
};
struct feed_share {
	struct api *api;
	uint64_t cursor;
	struct feed_slice **slices;
	size_t count;
	const atomic_bool *is_cancelled;
};

struct feed_kind {
	/* Newest position there is now; cheap, on the io thread. */
	uint64_t (*newest)(struct api *api);
	/* OK (also when it only moved the cursor or did nothing), ERR_GONE past retention, or another error: ends the feed. */
	int (*fill)(struct feed_pull *pull, struct read_thread *thread);
	/* A shared kind; there is one at most. Stops for all slices at the same cursor, when one of them holds FEED_BATCH bytes. NULL: not shared. */
	int (*fill_shared)(struct feed_share *share, struct read_thread *thread);
	bool (*is_same)(const void *params, const void *other); /* shared: would both get the same bytes? */
};

/* Where a feed's bytes go. Called on the worker's thread; `ctx` is the sink's own. */
struct feed_sink {
	/* The first pull went well, the answer begins. From `cursor` on the consumer can resume, whatever comes. */
	int (*begin)(void *ctx, uint64_t cursor);
	size_t (*room)(const void *ctx);
	/* Takes what there is room for; 0: nothing, feed_drained will be called. */
	int (*write)(void *ctx, struct str bytes, size_t *taken);
	/* Nothing was sent for a while; `has_moved`: the consumer can resume from further on than it knows. */
	int (*beat)(void *ctx, uint64_t cursor, bool has_moved);
	/* The feed is gone; the sink tells its consumer why and lets go of its own. PROBLEM_NONE: it was all. `is_whole` false: the last message was cut
	 * off. May be called instead of begin. Not called after feed_gone. */
	void (*end)(void *ctx, enum problem why, struct str message, bool is_whole);
};

struct feed;
struct feed_options {
	const struct feed_kind *kind;
	const struct feed_sink *sink;
	void *sink_ctx;
	struct arena arena; /* of params; taken in any case */
	void *params;
	uint64_t cursor;
	/* Of a feed that can be ended from elsewhere: becomes a problem's number, followed by feed_hub_call. NULL: it cannot. */
	const atomic_int *ended_by;
	void (*release)(void *ctx); /* once, when the feed is gone; NULL: nothing to do */
	void *release_ctx;
};
/* NULL: too many are open (nothing was called or released but the arena). The first pull decides between begin and end. */
MUST_USE struct feed *feed_start(struct api_worker *worker, struct feed_options *options);
void feed_drained(struct feed *feed); /* from the sink: there is room again */
void feed_gone(struct feed *feed); /* from the sink: the consumer left, nothing of the sink may be touched any more */

struct feed_hub; /* all feeds of one worker */
MUST_USE int feed_hub_new(struct api_worker *worker, struct feed_hub **out);
/* After read_owner_settle and after the streams are gone. */
void feed_hub_free(struct feed_hub *hub);
void feed_hub_wake(struct feed_hub *hub); /* the fold committed, or feed_hub_call */
/* From any thread while the worker runs: looks at every feed's ended_by. */
void feed_hub_call(struct api_worker *worker);
