/* A call's memory: who holds it, and when it goes. */
#include <event2/event.h>
#include <stdlib.h>

#include "grpc/call.h"
#include "grpc/memory.h"
#include "grpc/text.h"

#define PENDING_MAX      ((size_t)64 * 1024 * 1024) /* the flow-control window bounds it long before */
#define SEND_MESSAGE_MAX ((size_t)64 * 1024 * 1024)
#define UNPACKED_BLOCK   ((size_t)1024) /* stays as long as its call, which may be days */

struct grpc_call *grpc_call_new(struct http_request *request, struct grpc_route *route, bool has_gzip)
{
	struct grpc_call *call = calloc(1, sizeof *call);
	if (!call) return NULL;
	const struct grpc_method *method = route->method;
	size_t message_max = method->message_max ? method->message_max : GRPC_MESSAGE_MAX;
	call->magic = GRPC_CALL_MAGIC;
	call->route = route;
	call->request = request;
	call->deadline_us = INT64_MAX;
	call->message = STR_NONE;
	call->retry_after_s = -1;
	call->accepts_gzip = grpc_list_has(http_header(request, STR("grpc-accept-encoding")), STR("gzip"));
	grpc_reader_init(&call->reader, message_max, has_gzip, !method->client_streams);
	arena_init(&call->unpacked, UNPACKED_BLOCK, 0);
	buf_init(&call->pending, PENDING_MAX);
	buf_init(&call->packed, SEND_MESSAGE_MAX);
	buf_init(&call->out, SEND_MESSAGE_MAX);
	buf_init(&call->backlog, SEND_MESSAGE_MAX);
	return call;
}

void grpc_call_enter(struct grpc_call *call)
{
	call->depth++;
}

static void free_call(struct grpc_call *call)
{
	grpc_reader_fini(&call->reader);
	arena_fini(&call->unpacked);
	buf_fini(&call->pending);
	buf_fini(&call->packed);
	buf_fini(&call->out);
	buf_fini(&call->backlog);
	grpc_memory_release(&call->backlog_counted);
	gzip_free(call->gzip);
	call->magic = 0;
	free(call);
}

void grpc_call_leave(struct grpc_call *call)
{
	CHECK(call->depth > 0);
	if (--call->depth == 0 && call->state == GRPC_CALL_OVER) free_call(call);
}

void grpc_call_release(struct grpc_call *call)
{
	CHECK(call->state != GRPC_CALL_OVER);
	if (call->has_timer) (void)event_del(&call->timer);
	if (call->has_stall) (void)event_del(&call->stall);
	call->state = GRPC_CALL_OVER;
	call->request = NULL;
	call->duplex = NULL;
	if (call->depth == 0) free_call(call);
}
