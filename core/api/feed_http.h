/* feed_http: feeds as streamed HTTP answers: Server-Sent Events, or lines of JSON. */
#pragma once

#include "api/feed.h"

enum feed_dress {
	FEED_EVENTS, /* text/event-stream: the kind writes messages with feed_message_begin; greeting and heartbeat are comments with ids */
	FEED_LINES, /* application/x-ndjson: the kind writes lines; no heartbeat */
	FEED_CSV,   /* text/csv: the same; one that ends early does not say why */
};

/* Takes the request over: 410 when the feed says that its cursor is gone, 429 when too many are open, else a stream. HEAD gets the head alone.
 * `cursors`: what `id:` holds. The rest is feed_start's; sink and sink_ctx are filled in here. */
void feed_http_start(struct api_worker *worker, struct http_request *req, enum feed_dress dress,
		     enum position_feed cursors, struct feed_options *options);
/* Last-Event-ID, else ?since= (a cursor, or "start"), else *cursor stays. False: it has answered. */
MUST_USE bool feed_http_cursor(struct api_worker *worker, struct http_request *req, const struct feed_kind *kind,
			       enum position_feed cursors, uint64_t *cursor);

/* For fill: "id: …\nevent: …\ndata: " and, after the one line of JSON, the empty line. A message is in `out` whole or not at all, for its
 * id tells the client that it was seen: `end` is called in any case, with how it went so far (returned) and the length `out` had before. */
MUST_USE int feed_message_begin(struct buf *out, const struct api *api, enum position_feed feed, uint64_t seq,
				const char *event);
MUST_USE int feed_message_end(struct buf *out, int status, size_t before);
