#include "net/harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "base/metric.h"

#define PATIENCE_S 15

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct parked parked;
static struct http_stream *stream;
static bool stream_closed, stream_drained;

static void set(void *flag)
{
	(void)pthread_mutex_lock(&lock);
	*(bool *)flag = true;
	(void)pthread_cond_broadcast(&changed);
	(void)pthread_mutex_unlock(&lock);
}

/* ── routes ──────────────────────────────────────────────────────────────── */

static void text(struct http_request *req, struct str body)
{
	http_reply(req, 200, STR("text/plain"), body);
}

static void on_hello(struct http_request *req, void *ctx)
{
	(void)ctx;
	text(req, STR("hello"));
}

static void on_echo(struct http_request *req, void *ctx)
{
	(void)ctx;
	struct str body = http_body(req);
	volatile char slack = body.ptr[body.len + BUF_SLACK - 1]; /* must be readable */
	(void)slack;
	text(req, body);
}

static void on_params(struct http_request *req, void *ctx)
{
	struct str q = STR("-"), out;
	(void)ctx;
	(void)http_query_get(req, STR("q"), &q);
	struct str a = http_path_param(req, 0), b = http_path_param(req, 1);
	assert_int_equal(arena_printf(http_arena(req), &out, "%.*s|%.*s|%.*s", STR_ARG(a), STR_ARG(b), STR_ARG(q)), OK);
	text(req, out);
}

static void on_ip(struct http_request *req, void *ctx)
{
	(void)ctx;
	text(req, http_client_ip(req));
}

static void on_big(struct http_request *req, void *ctx)
{
	struct str n = STR("0");
	uint64_t len;
	(void)ctx;
	(void)http_query_get(req, STR("n"), &n);
	assert_int_equal(str_to_u64(n, &len), OK);
	char *body = malloc(len + 1);
	assert_non_null(body);
	for (uint64_t i = 0; i < len; i++) body[i] = (char)('a' + i % 26);
	text(req, (struct str){body, len});
	free(body);
}

static void on_limited(struct http_request *req, void *ctx)
{
	(void)ctx;
	http_reply_problem(req, PROBLEM_RATE_LIMITED, STR_NONE, STR_NONE);
}

static void on_split(struct http_request *req, void *ctx)
{
	(void)ctx;
	http_set_header(req, STR("X-Evil"), STR("a\r\nSet-Cookie: b"));
	http_set_header(req, STR("X-Evil: a\r\nSet-Cookie"), STR("b"));
	http_set_header(req, STR("X-Good"), STR("c"));
	text(req, STR_NONE);
}

static void on_park(struct http_request *req, void *ctx)
{
	struct str value;
	(void)ctx;
	if (http_query_get(req, STR("abort"), &value)) http_on_abort(req, set, &parked.is_aborted);
	(void)pthread_mutex_lock(&lock);
	assert_null(parked.request);
	parked.request = req;
	(void)pthread_cond_broadcast(&changed);
	(void)pthread_mutex_unlock(&lock);
}

static void on_stream_drain(void *ctx)
{
	(void)ctx;
	set(&stream_drained);
}

static void on_stream_close(void *ctx)
{
	(void)ctx;
	set(&stream_closed);
}

static void on_stream(struct http_request *req, void *ctx)
{
	static const struct http_stream_events events = {on_stream_drain, on_stream_close};
	(void)ctx;
	struct http_stream *begun = http_stream_begin(req, 200, STR("text/event-stream"), &events, NULL);
	(void)pthread_mutex_lock(&lock);
	stream = begun;
	(void)pthread_cond_broadcast(&changed);
	(void)pthread_mutex_unlock(&lock);
}

/* ── duplex ──────────────────────────────────────────────────────────────── */

static struct duplex_state duplex;

static void change(size_t *count, size_t by)
{
	(void)pthread_mutex_lock(&lock);
	*count += by;
	(void)pthread_cond_broadcast(&changed);
	(void)pthread_mutex_unlock(&lock);
}

static void set_duplex(struct http_duplex *it)
{
	(void)pthread_mutex_lock(&lock);
	duplex.duplex = it;
	(void)pthread_cond_broadcast(&changed);
	(void)pthread_mutex_unlock(&lock);
}

static bool asks(struct http_duplex *it, const char *word)
{
	return str_eq(http_query(http_duplex_request(it)), str_from(word));
}

static void on_duplex_data(void *ctx, struct str data)
{
	(void)ctx;
	if (!asks(duplex.duplex, "hoard")) {
		http_duplex_consume(duplex.duplex, data.len);
		assert_int_equal(http_duplex_write(duplex.duplex, data), OK);
	}
	change(&duplex.received, data.len);
}

static void on_duplex_end(void *ctx)
{
	static const struct http_trailer trailers[] = {{{"x-sum", 5}, {"all", 3}}, {{"x-evil", 6}, {"a\r\nb", 4}}};
	(void)ctx;
	if (asks(duplex.duplex, "hoard")) return;
	struct http_duplex *it = duplex.duplex;
	set_duplex(NULL);
	http_duplex_end(it, STR_NONE, trailers, COUNT_OF(trailers));
	change(&duplex.ends, 1);
}

static void on_duplex_drain(void *ctx)
{
	(void)ctx;
	change(&duplex.drains, 1);
}

static void on_duplex_close(void *ctx)
{
	(void)ctx;
	set_duplex(NULL);
	change(&duplex.closes, 1);
}

static void on_duplex_retire(void *ctx)
{
	(void)ctx;
	change(&duplex.retires, 1);
}

static void on_duplex(struct http_request *req, void *ctx)
{
	static const struct http_duplex_events events = {.on_data = on_duplex_data,
							 .on_end = on_duplex_end,
							 .on_drain = on_duplex_drain,
							 .on_close = on_duplex_close,
							 .on_retire = on_duplex_retire};
	static const struct http_trailer trailers[] = {{{"x-only", 6}, {"yes", 3}}};
	(void)ctx;
	http_set_header(req, STR("X-Kind"), STR("duplex"));
	struct http_duplex *it = http_duplex_begin(req, &events, NULL);
	assert_non_null(it);
	if (asks(it, "end")) {
		http_duplex_end(it, STR("text/plain"), trailers, 1);
		return;
	}
	if (asks(it, "reset")) {
		http_duplex_reset(it);
		return;
	}
	set_duplex(it);
	http_duplex_reply(it, 200, STR("text/plain"));
	change(&duplex.received, 0);
}

static void on_early(struct http_request *req, void *ctx)
{
	(void)ctx;
	http_reply_problem(req, PROBLEM_UNAUTHORIZED, STR_NONE, STR_NONE);
}

struct duplex_state duplex_state(void)
{
	(void)pthread_mutex_lock(&lock);
	struct duplex_state now = duplex;
	(void)pthread_mutex_unlock(&lock);
	return now;
}

void duplex_end(void *ctx)
{
	struct http_duplex *it = duplex.duplex;
	(void)ctx;
	set_duplex(NULL);
	http_duplex_end(it, STR_NONE, NULL, 0);
}

static void add_routes(struct router *router)
{
	static const struct route routes[] = {
	    {.methods = HTTP_GET, .path = "/hello", .handler = on_hello},
	    {.methods = HTTP_POST, .path = "/echo", .handler = on_echo, .cors = CORS_INGEST},
	    {.methods = HTTP_POST, .path = "/small", .handler = on_echo, .body_cap = 10},
	    {.methods = HTTP_GET, .path = "/params/{a}/{b}", .handler = on_params},
	    {.methods = HTTP_GET, .path = "/ip", .handler = on_ip},
	    {.methods = HTTP_GET, .path = "/big", .handler = on_big},
	    {.methods = HTTP_GET, .path = "/limited", .handler = on_limited, .cors = CORS_INGEST},
	    {.methods = HTTP_GET | HTTP_PUT, .path = "/person", .handler = on_hello, .cors = CORS_PERSON},
	    {.methods = HTTP_GET, .path = "/split", .handler = on_split},
	    {.methods = HTTP_GET, .path = "/park", .handler = on_park},
	    {.methods = HTTP_GET, .path = "/stream", .handler = on_stream},
	    {.methods = HTTP_POST, .path = "/duplex", .duplex = on_duplex},
	    {.methods = HTTP_POST, .path = "/duplex/early", .duplex = on_early},
	    {.methods = HTTP_GET, .path = "/admin", .handler = on_hello, .admin_only = true},
	};
	for (size_t i = 0; i < COUNT_OF(routes); i++) assert_int_equal(router_add(router, &routes[i]), OK);
}

/* ── server ──────────────────────────────────────────────────────────────── */

static int count_start(void *ctx, struct loop *loop, void **worker)
{
	struct server *server = ctx;
	assert_non_null(loop);
	server->workers_started++;
	*worker = server;
	return OK;
}

static void count_stop(void *ctx, void *worker)
{
	struct server *server = ctx;
	assert_ptr_equal(worker, server);
	server->workers_stopped++;
}

void server_defaults(struct server *server)
{
	*server = (struct server){.config = {.io_threads = 1}};
	for (size_t i = 0; i < 2; i++)
		server->listeners[i] = (struct conf_listener){.host = STR("127.0.0.1"), .unix_path = STR_NONE};
	server->listeners[1].is_admin = true;
	server->origins[0] = STR("https://shop.example");
	server->source = (struct conf_source){.origins = server->origins, .origin_count = 1};
	struct config *config = &server->config;
	config->listeners = server->listeners;
	config->listener_count = 2;
	config->sources = &server->source;
	config->source_count = 1;
	config->tls_certificate = config->tls_key = config->tls_min_version = STR_NONE;
	config->limits = (struct conf_limits){.connections = 1000,
					      .connections_per_ip = 1,
					      .requests_per_connection = 100000,
					      .body_bytes = BODY_CAP,
					      .reply_bytes = (size_t)1 << 30,
					      .header_timeout_ms = 60000,
					      .body_timeout_ms = 60000,
					      .body_min_rate = 1024,
					      .idle_timeout_ms = 60000,
					      .write_timeout_ms = 60000,
					      .streams_per_connection = 100};
}

static uint16_t port_of(const char *url)
{
	const char *colon = strrchr(url, ':');
	return colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
}

void server_start(struct server *server)
{
	assert_int_equal(router_new(&server->router), OK);
	add_routes(server->router);
	struct net_options options = {.config = &server->config,
				      .router = server->router,
				      .worker_start = count_start,
				      .worker_stop = count_stop,
				      .ctx = server};
	parked = (struct parked){0};
	duplex = (struct duplex_state){0};
	stream = NULL;
	stream_closed = stream_drained = false;
	assert_int_equal(net_new(&options, &server->net), OK);
	for (size_t i = 0; i < server->config.listener_count; i++) server->ports[i] = port_of(net_url(server->net, i));
	assert_null(net_url(server->net, server->config.listener_count));
	assert_int_equal(net_start(server->net), OK);
}

void server_stop(struct server *server)
{
	size_t loops = net_loop_count(server->net);
	net_stop(server->net);
	net_free(server->net);
	router_free(server->router);
	assert_int_equal(server->workers_started, loops);
	assert_int_equal(server->workers_stopped, loops);
}

struct call {
	struct loop_task task;
	void (*fn)(void *ctx);
	void *ctx;
	bool is_done;
};

static void run_call(struct loop_task *task)
{
	struct call *call = (struct call *)(void *)task;
	call->fn(call->ctx);
	set(&call->is_done);
}

/* With the lock held. */
static void wait_change(void)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	if (pthread_cond_timedwait(&changed, &lock, &until) != ETIMEDOUT) return;
	(void)pthread_mutex_unlock(&lock);
	fail_msg("waited in vain");
}

static void wait_for(const bool *flag)
{
	(void)pthread_mutex_lock(&lock);
	while (!*(const volatile bool *)flag) wait_change();
	(void)pthread_mutex_unlock(&lock);
}

static void wait_count(const size_t *count, size_t at_least)
{
	(void)pthread_mutex_lock(&lock);
	while (*(const volatile size_t *)count < at_least) wait_change();
	(void)pthread_mutex_unlock(&lock);
}

void duplex_wait(size_t received)
{
	wait_count(&duplex.received, received);
	(void)pthread_mutex_lock(&lock);
	while (!*(struct http_duplex *volatile *)&duplex.duplex) wait_change();
	(void)pthread_mutex_unlock(&lock);
}

void duplex_wait_closed(size_t times)
{
	wait_count(&duplex.closes, times);
}

void duplex_wait_retired(void)
{
	wait_count(&duplex.retires, 1);
}

void server_on_loop(struct server *server, void (*fn)(void *ctx), void *ctx)
{
	struct call call = {.task = {.run = run_call}, .fn = fn, .ctx = ctx};
	loop_post(net_loop(server->net, 0), &call.task);
	wait_for(&call.is_done);
}

struct http_request *parked_wait(void)
{
	(void)pthread_mutex_lock(&lock);
	while (!parked.request) wait_change();
	struct http_request *request = parked.request;
	(void)pthread_mutex_unlock(&lock);
	return request;
}

static void answer_parked(void *ctx)
{
	struct http_request *request = parked.request;
	parked.request = NULL;
	text(request, str_from(ctx));
}

void parked_answer(struct server *server, const char *body)
{
	(void)parked_wait();
	server_on_loop(server, answer_parked, (void *)(uintptr_t)body);
}

static void watch_parked(void *ctx)
{
	(void)ctx;
	http_on_abort(parked.request, set, &parked.is_aborted);
}

void parked_watch_abort(struct server *server)
{
	server_on_loop(server, watch_parked, NULL);
}

void parked_wait_aborted(void)
{
	wait_for(&parked.is_aborted);
	parked = (struct parked){0};
}

struct http_stream *stream_wait(void)
{
	(void)pthread_mutex_lock(&lock);
	while (!stream) wait_change();
	(void)pthread_mutex_unlock(&lock);
	return stream;
}

void stream_wait_closed(void)
{
	wait_for(&stream_closed);
}

void stream_wait_drained(void)
{
	wait_for(&stream_drained);
}

bool stream_was_drained(void)
{
	(void)pthread_mutex_lock(&lock);
	bool was = stream_drained;
	stream_drained = false;
	(void)pthread_mutex_unlock(&lock);
	return was;
}

int64_t metric_now(const char *name, const char *labels)
{
	return metric_value(metric_get(METRIC_COUNTER, name, labels, ""));
}

void metric_wait(const char *name, const char *labels, int64_t at_least)
{
	const struct timespec nap = {0, 2000000};
	for (int i = 0; i < PATIENCE_S * 500; i++) {
		if (metric_now(name, labels) >= at_least) return;
		(void)nanosleep(&nap, NULL);
	}
	fail_msg("%s{%s} never reached %lld", name, labels ? labels : "", (long long)at_least);
}

/* ── client ──────────────────────────────────────────────────────────────── */

void client_open_port(struct client *client, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct timeval patience = {PATIENCE_S, 0};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*client = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .size = 1 << 16};
	client->data = client->memory = malloc(client->size);
	assert_non_null(client->data);
	assert_true(client->fd >= 0);
	assert_int_equal(setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
	assert_int_equal(setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
	if (connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0)
		fail_msg("connect: %s", strerror(errno));
}

void client_open(struct client *client, const struct server *server)
{
	client_open_port(client, server->ports[0]);
}

void client_close(struct client *client)
{
	(void)close(client->fd);
	free(client->memory);
	client->data = client->memory = NULL;
}

void client_reset(struct client *client)
{
	const struct linger now = {1, 0};
	assert_int_equal(setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
	client_close(client);
}

/* A server that has refused already may have closed its half: what cannot be sent then is no failure. */
void client_send(struct client *client, struct str bytes)
{
	while (bytes.len > 0) {
		ssize_t n = send(client->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) return;
		if (n < 0) fail_msg("send: %s", strerror(errno));
		bytes.ptr += n;
		bytes.len -= (size_t)n;
	}
}

static size_t receive(struct client *client)
{
	char *to = client->data + client->len;
	for (;;) {
		ssize_t n = recv(client->fd, to, client->size - (size_t)(to - client->memory) - 1, 0);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && errno == ECONNRESET) return 0;
		if (n < 0) fail_msg("recv: %s", strerror(errno));
		client->len += (size_t)n;
		return (size_t)n;
	}
}

/* 0: the end. */
static size_t read_more(struct client *client)
{
	size_t used = (size_t)(client->data - client->memory) + client->len;
	if (client->size - used >= 4096) return receive(client);
	if (client->len > client->size / 2) client->size *= 2;
	char *memory = malloc(client->size);
	assert_non_null(memory);
	memcpy(memory, client->data, client->len);
	free(client->memory);
	client->data = client->memory = memory;
	return receive(client);
}

bool client_more(struct client *client)
{
	return read_more(client) > 0;
}

void client_fill(struct client *client, size_t n)
{
	while (client->len < n)
		if (read_more(client) == 0) fail_msg("closed after %zu of %zu bytes", client->len, n);
}

static void consume(struct client *client, size_t n)
{
	client->data += n;
	client->len -= n;
}

static char *take_bytes(struct client *client, size_t n)
{
	client_fill(client, n);
	char *copy = malloc(n + 1);
	assert_non_null(copy);
	memcpy(copy, client->data, n);
	copy[n] = '\0';
	consume(client, n);
	return copy;
}

static const char *field(const char *head, const char *name)
{
	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
		size_t len = strlen(name);
		if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') return line + 2 + len + 2;
	}
	return NULL;
}

static size_t read_chunk_size(struct client *client)
{
	char *end;
	while (!(end = memmem(client->data, client->len, "\r\n", 2)))
		if (read_more(client) == 0) fail_msg("closed in a chunk size");
	size_t size = strtoul(client->data, NULL, 16);
	consume(client, (size_t)(end - client->data) + 2);
	return size;
}

static void read_chunks(struct client *client, struct response *out)
{
	size_t room = 1 << 16, size;
	out->body = malloc(room);
	assert_non_null(out->body);
	do {
		size = read_chunk_size(client);
		client_fill(client, size + 2);
		if (out->body_len + size >= room) {
			room = (out->body_len + size) * 2;
			out->body = realloc(out->body, room);
			assert_non_null(out->body);
		}
		memcpy(out->body + out->body_len, client->data, size);
		out->body_len += size;
		out->body[out->body_len] = '\0';
		consume(client, size + 2);
	} while (size > 0);
}

struct response client_read(struct client *client, bool has_body)
{
	struct response out = {0};
	char *end;
	while (!(end = client->len ? memmem(client->data, client->len, "\r\n\r\n", 4) : NULL))
		if (read_more(client) == 0) fail_msg("closed before an answer: %.*s", (int)client->len, client->data);
	out.head = take_bytes(client, (size_t)(end - client->data) + 4);
	assert_memory_equal(out.head, "HTTP/1.1 ", 9);
	out.status = (int)strtol(out.head + 9, NULL, 10);
	const char *length = field(out.head, "Content-Length"), *coding = field(out.head, "Transfer-Encoding");
	if (has_body && coding) {
		read_chunks(client, &out);
		return out;
	}
	out.body_len = has_body && length ? strtoul(length, NULL, 10) : 0;
	out.body = take_bytes(client, out.body_len);
	return out;
}

void response_free(struct response *response)
{
	free(response->head);
	free(response->body);
}

void client_expect(struct client *client, int status)
{
	struct response got = client_read(client, true);
	if (got.status != status) fail_msg("%d instead of %d: %s%s", got.status, status, got.head, got.body);
	response_free(&got);
}

void client_expect_body(struct client *client, int status, const char *body)
{
	struct response got = client_read(client, true);
	assert_int_equal(got.status, status);
	assert_string_equal(got.body, body);
	response_free(&got);
}

bool response_has(const struct response *response, const char *line)
{
	size_t len = strlen(line);
	const char *at = strstr(response->head, line);
	return at && at[-1] == '\n' && at[len] == '\r';
}

void client_expect_closed(struct client *client)
{
	if (client->len == 0 && read_more(client) == 0) return;
	fail_msg("bytes instead of the end: %.*s", (int)client->len, client->data);
}

struct str gzipped(size_t len, char fill)
{
	z_stream z = {0};
	size_t size = len / 100 + 1000;
	unsigned char *out = malloc(size), *in = malloc(len + 1);
	assert_non_null(out);
	assert_non_null(in);
	memset(in, fill, len);
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = in;
	z.avail_in = (uInt)len;
	z.next_out = out;
	z.avail_out = (uInt)size;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(deflateEnd(&z), Z_OK);
	free(in);
	return (struct str){(char *)out, z.total_out};
}
