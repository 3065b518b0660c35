#include "grpc/call.h"

#include <event2/event.h>

#include "base/clock.h"
#include "grpc/text.h"
#include "grpc/unpack.h"

#define TIMER_MAX_US  (365 * US_PER_DAY)
#define STALL_SECONDS 30
#define STALL_BYTES   ((size_t)STALL_SECONDS * 1024) /* of a message that is on its way; as limits.body_min_rate */

static const struct str MIME_GRPC = STR("application/grpc");

static struct grpc_call *call_of(void *ctx)
{
	struct grpc_call *call = ctx;
	CHECK(call->magic == GRPC_CALL_MAGIC);
	return call;
}

/* ── the end from this side ─────────────────────────────────────────────── */

/* The method hears that its call is gone. */
static void tell_closed(struct grpc_call *call)
{
	void (*closed)(struct grpc_call *) = call->route->method->closed;
	call->is_closing = true;
	if (closed) closed(call);
	CHECK(call->state == GRPC_CALL_OPEN); /* it may not end what has ended */
	call->is_closing = false;
}

void grpc_call_break(struct grpc_call *call, enum grpc_status status, struct str message)
{
	if (call->state != GRPC_CALL_OPEN) return;
	grpc_call_enter(call);
	tell_closed(call);
	/* What still waits would come after a message that the client will never see whole. */
	if (call->backlog.len) call->is_broken = true;
	grpc_status_end(call, status, message);
	grpc_call_leave(call);
}

/* ── from the client ─────────────────────────────────────────────────────── */

static void refuse_bytes(struct grpc_call *call, enum grpc_read why)
{
	static const struct {
		enum grpc_status status;
		struct str text;
	} refusals[] = {
	    [GRPC_READ_SECOND] = {GRPC_UNIMPLEMENTED, STR("the method takes exactly one message, more came")},
	    [GRPC_READ_BAD_FLAG] = {GRPC_INTERNAL, STR("a message's flag is neither 0 nor 1")},
	    [GRPC_READ_NO_ENCODING] = {GRPC_INTERNAL,
				       STR("a message is compressed, but grpc-encoding does not say how")},
	    [GRPC_READ_TOO_LARGE] = {GRPC_RESOURCE_EXHAUSTED, STR("a message is larger than the method takes")},
	    [GRPC_READ_BROKEN] = {GRPC_INTERNAL, STR("a message does not decompress")},
	    [GRPC_READ_NO_MEMORY] = {GRPC_RESOURCE_EXHAUSTED, STR("too many large messages at once")},
	};
	grpc_call_break(call, refusals[why].status, refusals[why].text);
}

static void deliver(struct grpc_call *call, struct str message)
{
	if (call->unpacked.blocks) arena_reset(&call->unpacked);
	call->is_delivering = true;
	call->route->method->message(call, message);
	call->is_delivering = false;
}

static bool may_read(const struct grpc_call *call)
{
	return call->state == GRPC_CALL_OPEN && !call->is_held;
}

/* Takes messages off `in` for as long as the method wants them. */
static void pump(struct grpc_call *call, struct str *in)
{
	while (in->len && may_read(call)) {
		struct str message;
		enum grpc_read got = grpc_reader_take(&call->reader, in, &message);
		if (got == GRPC_READ_MORE) continue;
		if (got != GRPC_READ_MESSAGE) {
			refuse_bytes(call, got);
			return;
		}
		metric_add(call->route->received, 1);
		call->message_count++;
		if (call->route->method->client_streams)
			deliver(call, message);
		else
			call->message = message;
	}
}

static void half_close(struct grpc_call *call)
{
	const struct grpc_method *method = call->route->method;
	if (call->is_half_closed || !call->has_sent_all || call->pending.len || !may_read(call)) return;
	call->is_half_closed = true;
	if (!grpc_reader_is_between(&call->reader))
		grpc_call_break(call, GRPC_INTERNAL, STR("the last message is cut short"));
	else if (!method->client_streams && !call->reader.has_message)
		grpc_call_break(call, GRPC_UNIMPLEMENTED, STR("the method takes exactly one message, none came"));
	else if (!method->client_streams)
		deliver(call, call->message);
	else if (method->half_closed)
		method->half_closed(call);
}

static void keep(struct grpc_call *call, struct str data)
{
	if (data.len && call->state == GRPC_CALL_OPEN && buf_append_str(&call->pending, data) != OK)
		grpc_call_break(call, GRPC_RESOURCE_EXHAUSTED, STR("too many bytes wait to be read"));
}

static void on_data(void *ctx, struct str data)
{
	struct grpc_call *call = call_of(ctx);
	size_t came = data.len;
	grpc_call_enter(call);
	if (!call->pending.len) pump(call, &data);
	/* What comes after the end is thrown away, or it would shut the whole connection's window. */
	if (call->state == GRPC_CALL_ENDING) data.len = 0;
	if (call->state != GRPC_CALL_OVER && came > data.len) http_duplex_consume(call->duplex, came - data.len);
	call->received += came;
	keep(call, data);
	if (call->state == GRPC_CALL_OPEN && !grpc_reader_is_between(&call->reader)) grpc_call_watch(call);
	grpc_call_leave(call);
}

static void on_end(void *ctx)
{
	struct grpc_call *call = call_of(ctx);
	grpc_call_enter(call);
	call->has_sent_all = true;
	half_close(call);
	grpc_call_leave(call);
}

void grpc_hold(struct grpc_call *call)
{
	CHECK(call->is_delivering);
	call->is_held = true;
}

/* Nothing comes to `pending` meanwhile: the carrier calls us from the loop only. */
static void pump_pending(struct grpc_call *call)
{
	struct str rest = buf_str(&call->pending);
	size_t before = rest.len;
	pump(call, &rest);
	if (call->state != GRPC_CALL_OPEN) return;
	buf_consume(&call->pending, before - rest.len);
	if (!call->pending.len) buf_shrink(&call->pending, 0);
	if (before > rest.len) http_duplex_consume(call->duplex, before - rest.len);
	if (!grpc_reader_is_between(&call->reader)) grpc_call_watch(call);
}

void grpc_next(struct grpc_call *call)
{
	CHECK(call->magic == GRPC_CALL_MAGIC && call->state == GRPC_CALL_OPEN);
	call->is_held = false;
	if (call->is_delivering) return; /* whoever delivers goes on by itself */
	grpc_call_enter(call);
	if (call->pending.len) pump_pending(call);
	half_close(call);
	grpc_call_leave(call);
}

/* ── the other ends ──────────────────────────────────────────────────────── */

static void reset(struct grpc_call *call)
{
	http_duplex_reset(call->duplex);
	grpc_call_release(call);
}

static void on_drain(void *ctx)
{
	struct grpc_call *call = call_of(ctx);
	grpc_call_enter(call);
	bool is_clear = grpc_send_backlog(call);
	if (call->state == GRPC_CALL_ENDING && call->is_broken)
		reset(call);
	else if (call->state == GRPC_CALL_ENDING && is_clear)
		grpc_status_send(call);
	else if (call->state == GRPC_CALL_OPEN && call->is_broken)
		grpc_call_break(call, GRPC_RESOURCE_EXHAUSTED, STR_NONE);
	else if (call->state == GRPC_CALL_OPEN && is_clear && call->route->method->writable)
		call->route->method->writable(call);
	grpc_call_leave(call);
}

/* Clients reset a stream at their own deadline, which is ours: the two race, and mean the same. */
static void on_close(void *ctx)
{
	struct grpc_call *call = call_of(ctx);
	bool is_late = call->deadline_us <= clock_mono_us();
	grpc_call_enter(call);
	if (call->state == GRPC_CALL_OPEN) {
		tell_closed(call);
		grpc_route_count(call->route, is_late ? GRPC_DEADLINE_EXCEEDED : GRPC_CANCELLED);
	}
	grpc_call_release(call);
	grpc_call_leave(call);
}

static void on_retire(void *ctx)
{
	struct grpc_call *call = call_of(ctx);
	grpc_call_enter(call);
	if (call->state == GRPC_CALL_OPEN && call->route->method->drain) call->route->method->drain(call);
	grpc_call_leave(call);
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
	struct grpc_call *call = call_of(ctx);
	(void)fd, (void)what;
	if (call->state == GRPC_CALL_OPEN) {
		grpc_call_break(call, GRPC_DEADLINE_EXCEEDED, STR("the deadline has passed"));
		return;
	}
	reset(call); /* finished, and the client has not read it in time */
}

/* The message that had begun when the timer was set is still not whole, and comes slower than anyone is waited for. */
static bool is_message_stalled(const struct grpc_call *call)
{
	return !grpc_reader_is_between(&call->reader) && !call->is_held &&
	       call->message_count == call->at_stall.message_count &&
	       call->received - call->at_stall.received < STALL_BYTES;
}

static void on_stall(evutil_socket_t fd, short what, void *ctx)
{
	struct grpc_call *call = call_of(ctx);
	(void)fd, (void)what;
	call->has_stall = false;
	if (call->state == GRPC_CALL_ENDING && call->backlog.len == call->at_stall.backlog)
		reset(call);
	else if (call->state == GRPC_CALL_OPEN && is_message_stalled(call))
		grpc_call_break(call, GRPC_DEADLINE_EXCEEDED, STR("the message did not arrive in time"));
	else if (call->state == GRPC_CALL_ENDING || !grpc_reader_is_between(&call->reader))
		grpc_call_watch(call);
}

/* The timer is not taken back when a message is whole: it then finds nothing to do. */
void grpc_call_watch(struct grpc_call *call)
{
	const struct timeval wait = {.tv_sec = STALL_SECONDS};
	if (call->has_stall) return;
	call->at_stall.received = call->received;
	call->at_stall.message_count = call->message_count;
	call->at_stall.backlog = call->backlog.len;
	evtimer_assign(&call->stall, loop_base(http_loop(call->request)), on_stall, call);
	CHECK(evtimer_add(&call->stall, &wait) == 0);
	call->has_stall = true;
}

/* ── the beginning ───────────────────────────────────────────────────────── */

static void set_timer(struct grpc_call *call, int64_t timeout_us)
{
	const struct timeval wait = {.tv_sec = timeout_us / US_PER_SECOND, .tv_usec = timeout_us % US_PER_SECOND};
	if (timeout_us > TIMER_MAX_US) return;
	evtimer_assign(&call->timer, loop_base(http_loop(call->request)), on_deadline, call);
	CHECK(evtimer_add(&call->timer, &wait) == 0);
	call->has_timer = true;
}

static void begin(struct grpc_call *call, int64_t timeout_us)
{
	static const struct http_duplex_events events = {
	    .on_data = on_data, .on_end = on_end, .on_drain = on_drain, .on_close = on_close, .on_retire = on_retire};
	call->duplex = http_duplex_begin(call->request, &events, call);
	if (!call->duplex) { /* the client is gone already */
		grpc_call_release(call);
		return;
	}
	grpc_call_enter(call);
	if (timeout_us != INT64_MAX) {
		call->deadline_us = clock_mono_us() + timeout_us;
		set_timer(call, timeout_us);
	}
	if (call->route->method->start) call->route->method->start(call);
	grpc_call_leave(call);
}

static bool refuse_content(struct http_request *request)
{
	switch (grpc_content_type(http_header(request, STR("content-type")))) {
	case GRPC_CONTENT_OK: return false;
	case GRPC_CONTENT_WEB:
		http_reply_problem(request, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
				   STR("gRPC-Web is not served: browsers use the HTTP API, see docs/grpc-api.md"),
				   STR_NONE);
		return true;
	default:
		http_reply_problem(request, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
				   STR("the content type must be application/grpc or application/grpc+proto"),
				   STR_NONE);
		return true;
	}
}

static bool refuse(struct http_request *request, struct grpc_route *route, enum grpc_status status, struct str message,
		   struct str accepted)
{
	grpc_route_count(route, status);
	grpc_status_refuse(request, status, message, accepted);
	return false;
}

static bool check_head(struct http_request *request, struct grpc_route *route, int64_t *timeout_us)
{
	struct str encoding = http_header(request, STR("grpc-encoding"));
	struct str timeout = http_header(request, STR("grpc-timeout"));
	if (!grpc_te_has_trailers(http_header(request, STR("te"))))
		return refuse(request, route, GRPC_INTERNAL,
			      STR("te: trailers is missing: a proxy on the way does not speak gRPC"), STR_NONE);
	if (encoding.len && !str_eq_nocase(encoding, STR("gzip")) && !str_eq_nocase(encoding, STR("identity")))
		return refuse(request, route, GRPC_UNIMPLEMENTED, STR("this grpc-encoding is not supported: use gzip"),
			      STR("identity,gzip"));
	if (timeout.len && grpc_timeout_parse(timeout, timeout_us) != OK)
		return refuse(request, route, GRPC_INTERNAL, STR("grpc-timeout is malformed"), STR_NONE);
	return true;
}

void grpc_call_accept(struct http_request *request, void *ctx)
{
	struct grpc_route *route = ctx;
	int64_t timeout_us = INT64_MAX;
	if (refuse_content(request)) return;
	if (!check_head(request, route, &timeout_us)) return;
	bool has_gzip = str_eq_nocase(http_header(request, STR("grpc-encoding")), STR("gzip"));
	struct grpc_call *call = grpc_call_new(request, route, has_gzip);
	if (call)
		begin(call, timeout_us);
	else
		refuse(request, route, GRPC_RESOURCE_EXHAUSTED, STR("out of memory"), STR_NONE);
}

void grpc_call_head(struct grpc_call *call)
{
	if (call->has_head) return;
	call->has_head = true;
	http_duplex_reply(call->duplex, 200, MIME_GRPC);
}

/* ── what a method may ask ───────────────────────────────────────────────── */

const struct http_request *grpc_request(const struct grpc_call *call)
{
	return call->request;
}

struct arena *grpc_arena(struct grpc_call *call)
{
	return http_arena(call->request);
}

struct loop *grpc_loop(const struct grpc_call *call)
{
	return http_loop(call->request);
}

void *grpc_worker(const struct grpc_call *call)
{
	return http_worker(call->request);
}

void *grpc_ctx(const struct grpc_call *call)
{
	return call->route->service->ctx;
}

const struct grpc_method *grpc_call_method(const struct grpc_call *call)
{
	return call->route->method;
}

void *grpc_state(const struct grpc_call *call)
{
	return call->method_state;
}

void grpc_set_state(struct grpc_call *call, void *state)
{
	call->method_state = state;
}

int64_t grpc_deadline_us(const struct grpc_call *call)
{
	return call->deadline_us;
}

int grpc_unpack(struct grpc_call *call, const ProtobufCMessageDescriptor *descriptor, struct str bytes,
		ProtobufCMessage **out)
{
	const char *why = "";
	if (unpack(&call->unpacked, descriptor, bytes, out, &why) == OK) return OK;
	grpc_finish(call, GRPC_INVALID_ARGUMENT, str_from(why));
	return ERR_INVALID;
}
