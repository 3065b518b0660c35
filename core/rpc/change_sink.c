#include "rpc/change_sink.h"

#include <stdlib.h>

#include "base/encode.h"
#include "cdpd/v1/change_service.pb-c.h"

#define FRAME_HEADER 4 /* the message's length, big endian */

int change_frame(struct buf *out, const ProtobufCMessage *message)
{
	char *room;
	size_t size = protobuf_c_message_get_packed_size(message);
	int rc = buf_reserve(out, FRAME_HEADER + size, &room);
	if (rc != OK) return rc;
	put_be32((uint8_t *)room, (uint32_t)size);
	(void)protobuf_c_message_pack(message, (uint8_t *)room + FRAME_HEADER);
	buf_commit(out, FRAME_HEADER + size);
	return OK;
}

/* ── life ────────────────────────────────────────────────────────────────── */

struct change_stream *change_stream_new(struct grpc_call *call)
{
	struct change_stream *stream = calloc(1, sizeof *stream);
	if (!stream) {
		grpc_finish_problem(call, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return NULL;
	}
	stream->call = call;
	stream->worker = grpc_worker(call);
	grpc_set_state(call, stream);
	return stream;
}

/* The call may be gone when the sending function returns. */
static void let_go(struct change_stream *stream)
{
	stream->is_busy = false;
	if (stream->is_gone) free(stream);
}

void change_stream_closed(struct grpc_call *call)
{
	struct change_stream *stream = grpc_state(call);
	if (!stream) return;
	grpc_set_state(call, NULL);
	stream->is_gone = true;
	if (stream->asking) subscription_call_leave(stream->asking);
	struct feed *feed = stream->feed;
	stream->feed = NULL;
	if (feed) feed_gone(feed);
	if (!stream->is_busy) free(stream);
}

void change_stream_fail(struct change_stream *stream, enum problem problem, struct str message, struct str pointer)
{
	struct grpc_call *call = stream->call;
	grpc_set_state(call, NULL);
	free(stream);
	grpc_finish_problem(call, problem, message, pointer);
}

void change_stream_writable(struct grpc_call *call)
{
	struct change_stream *stream = grpc_state(call);
	if (stream && stream->feed) feed_drained(stream->feed);
}

void change_stream_drain(struct grpc_call *call)
{
	struct change_stream *stream = grpc_state(call);
	if (!stream) return;
	if (stream->asking) subscription_call_leave(stream->asking);
	struct feed *feed = stream->feed;
	stream->feed = NULL;
	if (feed) feed_gone(feed);
	change_stream_fail(stream, PROBLEM_SHUTTING_DOWN, STR_NONE, STR_NONE);
}

/* ── the sink ────────────────────────────────────────────────────────────── */

static int send_cursor(struct change_stream *stream, uint64_t cursor)
{
	char text[POSITION_TEXT_SIZE];
	Cdpd__V1__Change beat = CDPD__V1__CHANGE__INIT;
	struct position position = {.epoch = journal_epoch(stream->worker->api->journal), .seq = cursor};
	position_format(POSITION_CHANGES, position, text);
	beat.cursor = text;
	stream->is_busy = true;
	int rc = grpc_send(stream->call, &beat.base);
	let_go(stream);
	return rc;
}

static int begin(void *ctx, uint64_t cursor)
{
	struct change_stream *stream = ctx;
	return stream->is_snapshot ? OK : send_cursor(stream, cursor);
}

static size_t room(const void *ctx)
{
	const struct change_stream *stream = ctx;
	return grpc_room(stream->call);
}

static int write_frames(void *ctx, struct str bytes, size_t *taken)
{
	struct change_stream *stream = ctx;
	int rc = OK;
	stream->is_busy = true;
	while (*taken < bytes.len && rc == OK && !stream->is_gone) {
		const char *at = bytes.ptr + *taken;
		size_t size = get_be32((const uint8_t *)at);
		rc = grpc_send_bytes(stream->call, str_of(at + FRAME_HEADER, size));
		if (rc == OK) *taken += FRAME_HEADER + size;
	}
	let_go(stream);
	return rc == ERR_TOO_LARGE ? OK : rc; /* no room: writable comes */
}

/* Whether the other side is alive the connection's pings tell. */
static int beat(void *ctx, uint64_t cursor, bool has_moved)
{
	struct change_stream *stream = ctx;
	return stream->is_snapshot || !has_moved ? OK : send_cursor(stream, cursor);
}

static void end(void *ctx, enum problem why, struct str message, bool is_whole)
{
	struct change_stream *stream = ctx;
	struct grpc_call *call = stream->call;
	(void)is_whole; /* messages are whole in any case */
	if (why != PROBLEM_NONE) {
		change_stream_fail(stream, why, message, STR_NONE);
		return;
	}
	grpc_set_state(call, NULL);
	free(stream);
	grpc_finish(call, GRPC_OK, STR_NONE);
}

static const struct feed_sink SINK = {.begin = begin, .room = room, .write = write_frames, .beat = beat, .end = end};

void change_stream_start(struct change_stream *stream, struct feed_options *options)
{
	options->sink = &SINK;
	options->sink_ctx = stream;
	stream->feed = feed_start(stream->worker, options);
	if (stream->feed) return;
	if (options->release) options->release(options->release_ctx);
	change_stream_fail(stream, PROBLEM_OVERLOADED, STR("too many streams are open"), STR_NONE);
}
