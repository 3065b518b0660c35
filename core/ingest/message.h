/* message: one JSON message of the Segment shape, read into an event. Both the Segment and the native JSON dialect speak it.
 *
 * It believes types only: whether the event is acceptable is validate.h's question. Of equal keys the last wins. null counts as absent; ids may be numbers. */
#pragma once

#include "ingest/internal.h"

/* JSON parts go to worker->text, everything else borrows from the document. `route_type` 0: the message must say, but one with `event` is a track.
 * OK, or ERR_INVALID with the draft's fault. */
MUST_USE int message_read(struct intake *in, struct json message, enum event_type route_type, struct draft *draft);

/* writeKey, api_key or token of a message or batch; empty when there is none. */
struct str message_key(struct json message);
/* ISO 8601 text or a number of epoch milliseconds. ERR_INVALID: neither, or outside 1970-2100; ERR_NOT_FOUND: null or "". */
MUST_USE int message_time(struct json value, int64_t *us, int16_t *offset_min);
/* A part that is an object, as canonical JSON at the end of worker->text. OK, or ERR_INVALID with the draft's fault. */
MUST_USE int message_write_part(struct intake *in, struct draft *draft, struct json value, struct str pointer,
				struct span *out);
/* What the event wants to know of its context: ip, userAgent, active, library. */
struct str message_look_at_context(struct draft *draft, struct json context);
/* Puts the spans' texts into the event; call once worker->text no longer grows. */
void message_resolve(const struct ingest_worker *worker, struct draft *draft);
