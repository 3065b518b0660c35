/* grpc_test_server [THREADS [CERTIFICATE KEY]]: the TestService of gRPC's interoperability tests over the rooms net and grpc, for real
 * clients. Prints "listening on URL" for each listener, clear text first, and "methods closed: N" at its end: how many calls were told
 * that their client has gone.
 *
 * Beyond the published behaviour: metadata x-test-delay-ms lets UnaryCall wait, and UnaryCall takes messages of 8 MiB. */
#include <event2/event.h>
#include <event2/event_struct.h>
#include <google/protobuf-c/protobuf-c.h>
#include <grpc/testing/messages.pb-c.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/metric.h"
#include "grpc/call.h"
#include "net/net.h"

#define PAYLOAD_MAX   ((size_t)16 * 1024 * 1024)
#define RESPONSES_MAX 10000

static uint8_t *zeros;
static atomic_int closed_calls;

/* What a call still has to send, one after the other. */
struct work {
	struct grpc_call *call;
	struct event timer;
	bool is_waiting; /* for the timer */
	bool ends_call;  /* when all is sent; else the next message is asked for */
	bool is_held;
	struct {
		int32_t size, interval_us;
	} responses[RESPONSES_MAX];
	size_t count, next;
	size_t received;
};

/* ── what all methods share ──────────────────────────────────────────────── */

static void on_start(struct grpc_call *call)
{
	struct str initial = grpc_metadata(call, STR("x-grpc-test-echo-initial"));
	struct str trailing = grpc_metadata(call, STR("x-grpc-test-echo-trailing-bin"));
	if (initial.len) grpc_set_metadata(call, STR("x-grpc-test-echo-initial"), initial);
	if (trailing.len) grpc_set_trailer(call, STR("x-grpc-test-echo-trailing-bin"), trailing);
}

static void on_stream_start(struct grpc_call *call)
{
	struct work *work = calloc(1, sizeof *work);
	CHECK(work);
	work->call = call;
	grpc_set_state(call, work);
	on_start(call);
}

static void free_work(struct work *work)
{
	if (!work) return;
	if (work->is_waiting) (void)event_del(&work->timer);
	free(work);
}

static void on_closed(struct grpc_call *call)
{
	atomic_fetch_add(&closed_calls, 1);
	free_work(grpc_state(call));
}

static void finish(struct grpc_call *call, enum grpc_status status, struct str message)
{
	free_work(grpc_state(call));
	grpc_set_state(call, NULL);
	grpc_finish(call, status, message);
}

/* False: the call has been ended. */
static bool check_compression(struct grpc_call *call, const Grpc__Testing__BoolValue *expected)
{
	if (!expected || (bool)expected->value == call->reader.is_compressed) return true;
	finish(call, GRPC_INVALID_ARGUMENT, STR("the message is not compressed as announced"));
	return false;
}

static bool answer_status(struct grpc_call *call, const Grpc__Testing__EchoStatus *status)
{
	if (!status || status->code == 0) return false;
	finish(call, (enum grpc_status)(status->code & 15), str_from(status->message));
	return true;
}

static Grpc__Testing__Payload payload_of(int32_t size)
{
	Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
	payload.body = (ProtobufCBinaryData){(size_t)size, zeros};
	return payload;
}

static bool is_size(int32_t size)
{
	return size >= 0 && (size_t)size <= PAYLOAD_MAX;
}

/* ── unary ───────────────────────────────────────────────────────────────── */

static void on_empty_call(struct grpc_call *call, struct str bytes)
{
	(void)bytes;
	if (grpc_send_bytes(call, STR_NONE) != OK)
		finish(call, GRPC_UNAVAILABLE, STR_NONE);
	else
		finish(call, GRPC_OK, STR_NONE);
}

static void answer_unary(struct grpc_call *call, int32_t size)
{
	Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
	Grpc__Testing__Payload payload = payload_of(size);
	response.payload = &payload;
	free_work(grpc_state(call));
	grpc_set_state(call, NULL);
	grpc_reply(call, &response.base);
}

static void on_delay_over(evutil_socket_t fd, short what, void *ctx)
{
	struct work *work = ctx;
	(void)fd, (void)what;
	work->is_waiting = false;
	answer_unary(work->call, work->responses[0].size);
}

static void set_timer(struct work *work, int64_t us, event_callback_fn fn)
{
	const struct timeval wait = {.tv_sec = us / US_PER_SECOND, .tv_usec = us % US_PER_SECOND};
	evtimer_assign(&work->timer, loop_base(grpc_loop(work->call)), fn, work);
	CHECK(evtimer_add(&work->timer, &wait) == 0);
	work->is_waiting = true;
}

static void on_unary_call(struct grpc_call *call, struct str bytes)
{
	ProtobufCMessage *message;
	uint64_t delay_ms;
	if (grpc_unpack(call, &grpc__testing__simple_request__descriptor, bytes, &message) != OK) return;
	const Grpc__Testing__SimpleRequest *request = (const Grpc__Testing__SimpleRequest *)message;
	if (!check_compression(call, request->expect_compressed)) return;
	if (answer_status(call, request->response_status)) return;
	if (!is_size(request->response_size)) {
		finish(call, GRPC_INVALID_ARGUMENT, STR("response_size"));
		return;
	}
	if (str_to_u64(grpc_metadata(call, STR("x-test-delay-ms")), &delay_ms) != OK) {
		answer_unary(call, request->response_size);
		return;
	}
	struct work *work = calloc(1, sizeof *work);
	CHECK(work);
	work->call = call;
	work->responses[0].size = request->response_size;
	grpc_set_state(call, work);
	set_timer(work, (int64_t)delay_ms * US_PER_MS, on_delay_over);
}

/* ── streams ─────────────────────────────────────────────────────────────── */

static void run(struct work *work);

static void on_interval_over(evutil_socket_t fd, short what, void *ctx)
{
	struct work *work = ctx;
	(void)fd, (void)what;
	work->is_waiting = false;
	work->responses[work->next].interval_us = 0;
	run(work);
}

static int send_next(struct work *work)
{
	Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
	Grpc__Testing__Payload payload = payload_of(work->responses[work->next].size);
	response.payload = &payload;
	return grpc_send(work->call, &response.base);
}

/* All is sent. */
static void done(struct work *work)
{
	if (work->ends_call) {
		finish(work->call, GRPC_OK, STR_NONE);
	} else if (work->is_held) {
		work->is_held = false;
		work->count = work->next = 0;
		grpc_next(work->call);
	}
}

static void run(struct work *work)
{
	while (work->next < work->count) {
		int32_t interval = work->responses[work->next].interval_us;
		if (interval > 0) {
			set_timer(work, interval, on_interval_over);
			return;
		}
		if (grpc_room(work->call) == 0) return; /* until on_writable */
		if (send_next(work) != OK) {
			finish(work->call, GRPC_UNAVAILABLE, STR("nobody reads"));
			return;
		}
		work->next++;
	}
	done(work);
}

static void on_writable(struct grpc_call *call)
{
	struct work *work = grpc_state(call);
	if (!work->is_waiting && work->next < work->count) run(work);
}

/* Adds what the message asks for; false: the call has been ended. */
static bool take_order(struct grpc_call *call, struct str bytes)
{
	ProtobufCMessage *message;
	struct work *work = grpc_state(call);
	if (grpc_unpack(call, &grpc__testing__streaming_output_call_request__descriptor, bytes, &message) != OK) {
		free_work(work);
		return false;
	}
	const Grpc__Testing__StreamingOutputCallRequest *request =
	    (const Grpc__Testing__StreamingOutputCallRequest *)message;
	if (answer_status(call, request->response_status)) return false;
	for (size_t i = 0; i < request->n_response_parameters; i++) {
		const Grpc__Testing__ResponseParameters *one = request->response_parameters[i];
		if (!is_size(one->size) || work->count == RESPONSES_MAX) {
			finish(call, GRPC_INVALID_ARGUMENT, STR("response_parameters"));
			return false;
		}
		work->responses[work->count].size = one->size;
		work->responses[work->count++].interval_us = one->interval_us;
	}
	return true;
}

static void on_output_call(struct grpc_call *call, struct str bytes)
{
	struct work *work = grpc_state(call);
	if (!take_order(call, bytes)) return;
	work->ends_call = true;
	run(work);
}

static void on_full_duplex(struct grpc_call *call, struct str bytes)
{
	struct work *work = grpc_state(call);
	if (!take_order(call, bytes)) return;
	work->is_held = true;
	grpc_hold(call);
	run(work);
}

static void on_half_duplex(struct grpc_call *call, struct str bytes)
{
	(void)take_order(call, bytes);
}

static void on_half_duplex_end(struct grpc_call *call)
{
	struct work *work = grpc_state(call);
	work->ends_call = true;
	run(work);
}

static void on_full_duplex_end(struct grpc_call *call)
{
	finish(call, GRPC_OK, STR_NONE);
}

static void on_input_call(struct grpc_call *call, struct str bytes)
{
	ProtobufCMessage *message;
	struct work *work = grpc_state(call);
	if (grpc_unpack(call, &grpc__testing__streaming_input_call_request__descriptor, bytes, &message) != OK) {
		free_work(work);
		return;
	}
	const Grpc__Testing__StreamingInputCallRequest *request =
	    (const Grpc__Testing__StreamingInputCallRequest *)message;
	if (!check_compression(call, request->expect_compressed)) return;
	if (request->payload) work->received += request->payload->body.len;
}

static void on_input_end(struct grpc_call *call)
{
	struct work *work = grpc_state(call);
	Grpc__Testing__StreamingInputCallResponse response = GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
	response.aggregated_payload_size = (int32_t)work->received;
	free_work(work);
	grpc_set_state(call, NULL);
	grpc_reply(call, &response.base);
}

static void on_drain(struct grpc_call *call)
{
	finish(call, GRPC_UNAVAILABLE, STR("the server stops"));
}

static const struct grpc_method methods[] = {
    {.name = "EmptyCall", .start = on_start, .message = on_empty_call, .closed = on_closed},
    {.name = "UnaryCall",
     .message_max = (size_t)8 * 1024 * 1024,
     .start = on_start,
     .message = on_unary_call,
     .closed = on_closed},
    {.name = "CacheableUnaryCall", .start = on_start, .message = on_unary_call, .closed = on_closed},
    {.name = "StreamingOutputCall",
     .server_streams = true,
     .start = on_stream_start,
     .message = on_output_call,
     .writable = on_writable,
     .closed = on_closed},
    {.name = "StreamingInputCall",
     .client_streams = true,
     .start = on_stream_start,
     .message = on_input_call,
     .half_closed = on_input_end,
     .closed = on_closed},
    {.name = "FullDuplexCall",
     .client_streams = true,
     .server_streams = true,
     .start = on_stream_start,
     .message = on_full_duplex,
     .half_closed = on_full_duplex_end,
     .writable = on_writable,
     .closed = on_closed,
     .drain = on_drain},
    {.name = "HalfDuplexCall",
     .client_streams = true,
     .server_streams = true,
     .start = on_stream_start,
     .message = on_half_duplex,
     .half_closed = on_half_duplex_end,
     .writable = on_writable,
     .closed = on_closed},
};

static const struct grpc_service service = {"grpc.testing.TestService", methods, COUNT_OF(methods), NULL};
static const struct grpc_service *const services[] = {&service};

/* ── the server ──────────────────────────────────────────────────────────── */

/* GET /metrics, and GET /hello for a client of plain HTTP on the same port. */
static void serve_metrics(struct http_request *req, void *ctx)
{
	struct buf out;
	(void)ctx;
	buf_init(&out, 1 << 20);
	CHECK(metric_write_all(&out) == OK);
	http_reply(req, 200, STR("text/plain"), buf_str(&out));
	buf_fini(&out);
}

static void serve_hello(struct http_request *req, void *ctx)
{
	(void)ctx;
	http_reply(req, 200, STR("text/plain"), STR("hello"));
}

static int no_worker(void *ctx, struct loop *loop, void **worker)
{
	(void)ctx, (void)loop;
	*worker = NULL;
	return OK;
}

static void no_worker_stop(void *ctx, void *worker)
{
	(void)ctx, (void)worker;
}

static void wait_for_stop(void)
{
	sigset_t set;
	int sig;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigwait(&set, &sig);
}

static void block_signals(void)
{
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

static void add_route(struct router *router, const char *path, void (*handler)(struct http_request *, void *))
{
	const struct route route = {.methods = HTTP_GET, .path = path, .handler = handler, .scope = ""};
	CHECK(router_add(router, &route) == OK);
}

int main(int argc, char **argv)
{
	bool has_tls = argc > 3;
	struct conf_listener listeners[2] = {{.host = STR("127.0.0.1"), .unix_path = STR_NONE},
					     {.host = STR("127.0.0.1"), .unix_path = STR_NONE, .is_tls = true}};
	struct config config = {.io_threads = argc > 1 ? (uint32_t)atoi(argv[1]) : 1,
				.listeners = listeners,
				.listener_count = has_tls ? 2 : 1,
				.tls_certificate = str_from(has_tls ? argv[2] : NULL),
				.tls_key = str_from(has_tls ? argv[3] : NULL),
				.tls_min_version = STR_NONE,
				.limits = {.connections = 1000,
					   .connections_per_ip = 1000,
					   .requests_per_connection = 1000000,
					   .body_bytes = (size_t)5 << 20,
					   .reply_bytes = (size_t)128 << 20,
					   .header_timeout_ms = 60000,
					   .body_timeout_ms = 60000,
					   .body_min_rate = 1024,
					   .idle_timeout_ms = 60000,
					   .write_timeout_ms = 60000,
					   .streams_per_connection = 100,
					   .keepalive_ms = 60000}};
	struct router *router;
	struct grpc_server *server;
	struct net *net;
	block_signals();
	zeros = calloc(1, PAYLOAD_MAX);
	CHECK(zeros && router_new(&router) == OK);
	CHECK(grpc_server_new(services, 1, STR_NONE, &server) == OK && grpc_register(server, router) == OK);
	add_route(router, "/metrics", serve_metrics);
	add_route(router, "/hello", serve_hello);
	const struct net_options options = {
	    .config = &config, .router = router, .worker_start = no_worker, .worker_stop = no_worker_stop};
	if (net_new(&options, &net) != OK || net_start(net) != OK) return 1;
	for (size_t i = 0; net_url(net, i); i++) (void)printf("listening on %s\n", net_url(net, i));
	(void)fflush(stdout);
	wait_for_stop();
	grpc_set_draining(server);
	net_drain(net, 30000);
	net_stop(net);
	net_free(net);
	router_free(router);
	grpc_server_free(server);
	(void)printf("methods closed: %d\n", atomic_load(&closed_calls));
	free(zeros);
	return 0;
}
