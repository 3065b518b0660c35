/* change_sink: feeds as server-streaming calls. Kinds write messages between frame_begin and frame_end; each becomes one message of the call. */
#pragma once

#include "api/feed.h"
#include "api/subscription_call.h"
#include "rpc/convert.h"
#include "rpc/task.h"

/* The state of such a call, from the first message on. */
struct change_stream {
	struct grpc_call *call;
	struct api_worker *worker;
	struct feed *feed;                /* NULL: not yet, or over */
	struct subscription_call *asking; /* before the feed */
	bool is_busy, is_gone;            /* inside a function that sends, during which the call may end */
	bool is_snapshot;                 /* no greeting, no heartbeat */
};

/* NULL: no memory, the call has been ended. */
MUST_USE struct change_stream *change_stream_new(struct grpc_call *call);
/* The rest of the options is filled in. Ends the call when too many are open. */
void change_stream_start(struct change_stream *stream, struct feed_options *options);
void change_stream_fail(struct change_stream *stream, enum problem problem, struct str message, struct str pointer);

/* For the table of methods. */
void change_stream_writable(struct grpc_call *call);
void change_stream_closed(struct grpc_call *call);
void change_stream_drain(struct grpc_call *call);

/* Appends the message, framed; whole or not at all. On any thread. */
MUST_USE int change_frame(struct buf *out, const ProtobufCMessage *message);
