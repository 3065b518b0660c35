/* feed: Server-Sent Events pulled from the store. A feed asks the read pool for its next FEED_BATCH bytes only when the
 * client's buffer has room for them, so a client that never reads costs one buffer and delays nobody.
 *
 * A feed belongs to its worker's thread; `fill` alone runs on a pool thread and touches nothing but what it is given. */
#pragma once

#include "api/internal.h"

#define FEED_BATCH        (64u << 10)
#define FEED_PULLS_MAX    4    /* in the read pool at once, of one worker: requests get their turn too */
#define FEEDS_MAX         1024 /* of one worker */
#define FEED_HEARTBEAT_MS 15000
#define FEED_FROM_START \
	UINT64_MAX /* as a cursor: from the oldest there is; `fill` sets it to that, and fetches nothing yet */
#define FEED_MESSAGE_MAX (4u << 20) /* one event in the stream */

struct feed_pull {
	const void *params; /* the feed's; not changed while it lives */
	struct api *api;
	uint64_t cursor; /* everything up to it was sent or passed over; moved by fill */
	struct buf *out; /* appended to: at most about FEED_BATCH bytes */
	const atomic_bool *is_cancelled;
};

struct feed_kind {
	enum position_feed cursors; /* what `id:` holds */
	/* Newest position there is now; cheap, on the io thread. */
	uint64_t (*newest)(struct api *api);
	/* On a pool thread. OK (also when it only moved the cursor or did nothing), ERR_GONE past retention, or another error: ends the feed. */
	int (*fill)(struct feed_pull *pull, struct read_thread *thread);
};

/* Takes the request over: 410 when `cursor` is past retention, else a stream from there. `arena` (taken, heap) holds params. */
void feed_start(struct api_worker *worker, struct http_request *req, const struct feed_kind *kind, struct arena *arena,
		const void *params, uint64_t cursor);
/* Last-Event-ID, else ?since= (a cursor, or "start"), else *cursor stays. False: it has answered. */
MUST_USE bool feed_cursor(struct api_worker *worker, struct http_request *req, const struct feed_kind *kind,
			  uint64_t *cursor);
/* For fill: "id: …\nevent: …\ndata: " and, after the one line of JSON, the empty line. A message is in `out` whole or not at all, for its
 * id tells the client that it was seen: `end` is called in any case, with how it went so far (returned) and the length `out` had before. */
MUST_USE int feed_message_begin(struct buf *out, struct api *api, enum position_feed feed, uint64_t seq,
				const char *event);
MUST_USE int feed_message_end(struct buf *out, int status, size_t before);

struct feed_hub; /* all feeds of one worker */
MUST_USE int feed_hub_new(struct api_worker *worker, struct feed_hub **out);
/* After read_owner_settle and after the streams are gone. */
void feed_hub_free(struct feed_hub *hub);
void feed_hub_wake(struct feed_hub *hub); /* the fold committed */
