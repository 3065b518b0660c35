// rooms: net
/* HTTP/2 behind a connection: frames after the preface, into a worker with routes of every kind. The first byte says in which steps they come
 * and whether the client reads; afterwards nothing may be left of the connection, and what a handler was given must hold. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/endpoint.h"
#include "net/http2.h"
#include "net/stats.h"
#include "net/worker.h"

static struct worker worker;
static struct census *census;
static struct endpoint endpoint;
static struct http_request *parked;
static struct http_stream *stream;
static struct http_duplex *duplex;

/* ── routes ──────────────────────────────────────────────────────────────── */

static void check_request(struct http_request *req)
{
	struct str path = http_path(req), body = http_body(req), value;
	CHECK(path.len > 0 && path.len <= HEAD_LINE_MAX && (path.ptr[0] == '/' || path.ptr[0] == '*'));
	CHECK(body.len <= worker.options->config->limits.body_bytes);
	volatile char slack = body.ptr[body.len + BUF_SLACK - 1];
	(void)slack;
	for (uint32_t i = 0; i < req->head->field_count; i++) {
		struct str name = text_at(req->base, req->head->fields[i].name);
		CHECK(name.len > 0 && name.ptr[0] != ':' && !memchr(name.ptr, '\n', name.len));
		value = http_header(req, name);
		CHECK(!memchr(value.ptr, '\n', value.len) && !memchr(value.ptr, '\0', value.len));
	}
	(void)http_query_get(req, STR("q"), &value);
	CHECK(http_header(req, STR("host")).len > 0 || req->head->known[HEAD_HOST]);
}

static void on_echo(struct http_request *req, void *ctx)
{
	(void)ctx;
	check_request(req);
	http_reply(req, 200, STR("text/plain"), http_body(req));
}

static void on_large(struct http_request *req, void *ctx)
{
	static char large[200000];
	(void)ctx;
	check_request(req);
	http_reply(req, 200, STR("text/plain"), (struct str){large, sizeof large});
}

static void forget(void *ctx)
{
	*(void **)ctx = NULL;
}

static void on_park(struct http_request *req, void *ctx)
{
	(void)ctx;
	check_request(req);
	if (parked) {
		http_reply_problem(req, PROBLEM_OVERLOADED, STR_NONE, STR_NONE);
		return;
	}
	parked = req;
	http_on_abort(req, forget, &parked);
}

static void on_stream_close(void *ctx)
{
	(void)ctx;
	stream = NULL;
}

static void on_stream(struct http_request *req, void *ctx)
{
	static const struct http_stream_events events = {.on_close = on_stream_close};
	(void)ctx;
	if (stream) http_stream_end(stream);
	stream = http_stream_begin(req, 200, STR("text/event-stream"), &events, NULL);
	if (stream) CHECK(http_stream_write(stream, STR("data: 1\n\n")) == OK);
}

static void on_duplex_data(void *ctx, struct str data)
{
	(void)ctx;
	if (data.len > 0 && data.ptr[0] == 'h') return; /* hoards */
	http_duplex_consume(duplex, data.len);
	(void)http_duplex_write(duplex, data);
	if (data.len > 1 && data.ptr[1] == 'r') {
		http_duplex_reset(duplex);
		duplex = NULL;
	}
}

static void end_duplex(void)
{
	static const struct http_trailer trailers[] = {{{"x-end", 5}, {"1", 1}}};
	struct http_duplex *it = duplex;
	duplex = NULL;
	http_duplex_end(it, STR_NONE, trailers, 1);
}

static void on_duplex_end(void *ctx)
{
	(void)ctx;
	end_duplex();
}

static void on_duplex_close(void *ctx)
{
	(void)ctx;
	duplex = NULL;
}

static void on_duplex(struct http_request *req, void *ctx)
{
	static const struct http_duplex_events events = {
	    .on_data = on_duplex_data, .on_end = on_duplex_end, .on_close = on_duplex_close};
	(void)ctx;
	check_request(req);
	if (duplex) end_duplex();
	duplex = http_duplex_begin(req, &events, NULL);
	http_duplex_reply(duplex, 200, STR("application/x"));
}

/* ── a worker without a thread ───────────────────────────────────────────── */

static void set_up(void)
{
	static const struct route routes[] = {
	    {.methods = HTTP_GET | HTTP_POST, .path = "/e", .handler = on_echo},
	    {.methods = HTTP_GET, .path = "/l/{x}", .handler = on_large},
	    {.methods = HTTP_GET, .path = "/p", .handler = on_park},
	    {.methods = HTTP_GET, .path = "/s", .handler = on_stream},
	    {.methods = HTTP_POST, .path = "/d", .duplex = on_duplex},
	};
	static struct config config;
	static struct net_options options = {.config = &config};
	struct settings *settings;
	config.limits = (struct conf_limits){.connections = 10,
					     .requests_per_connection = 50,
					     .body_bytes = 3000,
					     .reply_bytes = 1 << 20,
					     .header_timeout_ms = 60000,
					     .body_timeout_ms = 60000,
					     .idle_timeout_ms = 60000,
					     .write_timeout_ms = 60000,
					     .streams_per_connection = 10};
	config.tls_certificate = config.tls_key = config.tls_min_version = STR_NONE;
	CHECK(router_new(&options.router) == OK);
	for (size_t i = 0; i < COUNT_OF(routes); i++) CHECK(router_add(options.router, &routes[i]) == OK);
	stats_init();
	CHECK(census_new(&census) == OK && settings_new(&config, &settings) == OK);
	CHECK(worker_init(&worker, 0, &options, census, settings) == OK);
	endpoint.authority = STR("a");
	(void)worker_tick(&worker);
}

static void turn(void)
{
	for (int i = 0; i < 3; i++) CHECK(event_base_loop(worker.base, EVLOOP_NONBLOCK) >= 0);
}

static void swallow(int fd)
{
	char scratch[65536];
	while (recv(fd, scratch, sizeof scratch, MSG_DONTWAIT) > 0) continue;
}

/* False: the server has closed. */
static bool give(int fd, const uint8_t *data, size_t len, bool reads)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN) return false;
		if (n < 0) return true; /* it does not read, for the client does not */
		data += n;
		len -= (size_t)n;
		turn();
		if (reads) swallow(fd);
	}
	return true;
}

static void answer_parked(void)
{
	struct http_request *req = parked;
	parked = NULL;
	if (req) http_reply(req, 200, STR("text/plain"), STR("late"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char greeting[] = HTTP2_PREFACE "\0\0\0\x04\0\0\0\0\0";
	struct census_entry *entry;
	int fds[2];
	if (size == 0) return 0;
	if (!worker.base) set_up();
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	CHECK(census_enter(census, NULL, 10, 10, &entry) == OK);
	conn_open(&worker, &endpoint, fds[0], NULL, entry);
	size_t step = data[0] & 0x3f ? data[0] & 0x3f : 4096;
	bool reads = !(data[0] & 0x40), is_drained = data[0] & 0x80;
	(void)give(fds[1], (const uint8_t *)greeting, sizeof greeting - 1, reads);
	for (size_t at = 1, len; at < size; at += len) {
		len = step < size - at ? step : size - at;
		if (!give(fds[1], data + at, len, reads)) break;
	}
	if (is_drained && worker.conns) conn_retire(worker.conns);
	turn();
	if (stream) (void)http_stream_write(stream, STR("data: 2\n\n"));
	answer_parked();
	turn();
	(void)close(fds[1]);
	while (worker.conns) conn_abort(worker.conns);
	turn();
	answer_parked();
	turn();
	CHECK(!worker.conns && !worker.held && !worker.dead && !stream && !duplex);
	CHECK(census_total(census) == 0 && census_queued(census) == 0 && census_hold(census, 0) == 0);
	return 0;
}
