/* EventService: Publish. The bytes of a request go to ingest as they came; nothing is unpacked here. */
#include "rpc/publish.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/wire.h"
#include "rpc/rpc.h"
#include "rpc/task.h"

enum { PUBLISH_RESPONSE_ACCEPTED = 1, PUBLISH_RESPONSE_POSITION = 3 };

int publish_rejection(struct arena *arena, const struct ingest_rejection *from, Cdpd__V1__Rejection *to)
{
	*to = (Cdpd__V1__Rejection)CDPD__V1__REJECTION__INIT;
	to->index = from->index;
	to->message_id = convert_text(arena, from->message_id);
	to->code = (char *)(uintptr_t)problem_info(from->code)->code; /* only read */
	to->pointer = convert_text(arena, from->pointer);
	to->message = convert_text(arena, from->message);
	return to->message_id && to->pointer && to->message ? OK : ERR_NOMEM;
}

char *publish_position(const struct ingest_result *result, char out[POSITION_TEXT_SIZE])
{
	out[0] = '\0';
	if (result->position_seq)
		position_format(POSITION_JOURNAL, (struct position){result->position_epoch, result->position_seq}, out);
	return out;
}

/* The same words as HTTP's RateLimit-*. */
static void tell_limit(struct grpc_call *call, const struct ingest_result *result)
{
	char text[24];
	const struct {
		struct str name;
		int64_t value;
	} words[] = {{STR("ratelimit-limit"), result->limit},
		     {STR("ratelimit-remaining"), result->limit_remaining},
		     {STR("ratelimit-reset"), result->retry_after_s ? result->retry_after_s : 1}};
	if (result->limit < 0) return;
	for (size_t i = 0; i < COUNT_OF(words); i++) {
		int len = snprintf(text, sizeof text, "%" PRId64, words[i].value);
		grpc_set_trailer(call, words[i].name, str_of(text, (size_t)len));
	}
}

/* More than the call's memory holds, or a client takes: they are durable all the same, and the rejects can be looked up. */
static bool list_rejections(struct grpc_call *call, const struct ingest_result *result,
			    Cdpd__V1__PublishResponse *response)
{
	struct arena *arena = grpc_arena(call);
	size_t count = result->rejection_count;
	Cdpd__V1__Rejection *items = arena_array(arena, Cdpd__V1__Rejection, count);
	response->rejected = arena_array(arena, Cdpd__V1__Rejection *, count);
	if (!items || !response->rejected) return false;
	for (size_t i = 0; i < count; i++) {
		if (publish_rejection(arena, &result->rejections[i], &items[i]) != OK) return false;
		response->rejected[i] = &items[i];
	}
	response->n_rejected = count;
	return true;
}

/* Nearly every answer, without a walk over descriptors: accepted and position, packed by hand. */
static void reply_plain(struct grpc_call *call, const struct ingest_result *result, struct str position)
{
	struct buf *out = &((struct api_worker *)grpc_worker(call))->out;
	buf_clear(out);
	int rc = wire_put_varint(out, PUBLISH_RESPONSE_ACCEPTED, result->accepted);
	if (rc == OK && position.len) rc = wire_put_bytes(out, PUBLISH_RESPONSE_POSITION, position);
	if (rc == OK) rc = grpc_send_bytes(call, buf_str(out));
	if (rc == OK)
		grpc_finish(call, GRPC_OK, STR_NONE);
	else
		grpc_finish_problem(call, rc == ERR_BUSY ? PROBLEM_OVERLOADED : PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static void on_published(void *ctx, const struct ingest_result *result)
{
	struct grpc_call *call = ctx;
	char position[POSITION_TEXT_SIZE];
	tell_limit(call, result);
	if (result->problem != PROBLEM_NONE) {
		if (result->retry_after_s) grpc_set_retry_after(call, result->retry_after_s);
		grpc_finish_problem(call, result->problem, result->message, result->pointer);
		return;
	}
	Cdpd__V1__PublishResponse response = CDPD__V1__PUBLISH_RESPONSE__INIT;
	response.accepted = result->accepted;
	response.position = publish_position(result, position);
	if (result->rejection_count && list_rejections(call, result, &response))
		grpc_reply(call, &response.base);
	else
		reply_plain(call, result, str_from(position));
}

static void publish(struct grpc_call *call, struct str bytes)
{
	struct api_worker *worker = grpc_worker(call);
	struct ingest_request request;
	task_fill_ingest(call, &request);
	request.received_at_us = http_received_at_us(grpc_request(call));
	request.body = bytes;
	struct ingest_batch *batch = ingest_submit(worker->ingest, &request, on_published, call);
	if (batch) grpc_set_state(call, batch); /* else it was answered, and may be gone */
}

static void publish_closed(struct grpc_call *call)
{
	struct ingest_batch *batch = grpc_state(call);
	if (batch) ingest_cancel(batch);
}

static const struct grpc_method METHODS[2] = {
    {.name = "Publish",
     .message_max = PUBLISH_MESSAGE_MAX,
     .scope = "write_key",
     .message = publish,
     .closed = publish_closed},
    {.name = "PublishStream",
     .client_streams = true,
     .server_streams = true,
     .message_max = PUBLISH_MESSAGE_MAX,
     .scope = "write_key",
     .start = publish_stream_start,
     .message = publish_stream_message,
     .half_closed = publish_stream_half_closed,
     .writable = publish_stream_writable,
     .closed = publish_stream_closed,
     .drain = publish_stream_drain},
};

const struct grpc_service event_service = {
    .name = "cdpd.v1.EventService", .methods = METHODS, .method_count = COUNT_OF(METHODS)};
