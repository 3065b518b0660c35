#include "net/request.h"

#include "base/clock.h"
#include "base/encode.h"
#include "net/cors.h"
#include "net/endpoint.h"
#include "net/worker.h"

#define ARENA_BLOCK    ((size_t)8 * 1024)
#define ARENA_SPARE    ((size_t)1 << 20)
#define ARENA_PER_BODY 4 /* of the body's cap: a handler may hold a body in several shapes */

static const char no_body[BUF_SLACK + 1];

static void check(const struct http_request *request)
{
	CHECK(request->magic == REQUEST_MAGIC && !request->is_answered);
}

void request_init(struct http_request *request, const struct http_carrier *carrier)
{
	*request = (struct http_request){.magic = REQUEST_MAGIC, .carrier = carrier};
	arena_init(&request->arena, ARENA_BLOCK, ARENA_SPARE);
}

void request_fini(struct http_request *request)
{
	arena_fini(&request->arena);
	request->magic = 0;
}

size_t request_body_cap(const struct http_request *request)
{
	const struct route *route = request->match.route;
	return route && route->body_cap ? route->body_cap
					: settings_limits(request->conn->worker->settings)->body_bytes;
}

/* gRPC at a path that is nobody's is answered in gRPC's own way, where the carrier can. */
static void match_unknown(struct http_request *request)
{
	const struct str grpc = STR("application/grpc");
	struct str type = STR_NONE;
	const struct route *route = router_unknown_duplex(request->conn->worker->options->router);
	if (!route || !request->carrier->duplex_begin || request->head->method != HTTP_POST) return;
	if (!head_find(request->head, request->base, STR("content-type"), &type) || type.len < grpc.len) return;
	if (str_eq_nocase(str_of(type.ptr, grpc.len), grpc)) request->match.route = route;
}

void request_begin(struct http_request *request, struct conn *conn, const struct head *head, const char *base)
{
	const struct worker *worker = conn->worker;
	request->is_answered = false;
	request->conn = conn;
	request->head = head;
	request->base = base;
	request->body = (struct str){no_body, 0};
	request->field_count = 0;
	request->on_abort = NULL;
	request->received_at_us = clock_wall_us();
	request->ip_text[0] = '\0';
	request->stream.is_open = request->duplex.is_open = false;
	router_match(worker->options->router, text_at(base, head->path), head->method, conn->endpoint->is_admin,
		     &request->match);
	if (!request->match.route) match_unknown(request);
	request->arena.cap = request_body_cap(request) * ARENA_PER_BODY + ARENA_SPARE;
}

void request_end(struct http_request *request)
{
	request->conn = NULL;
	if (request->arena.blocks) arena_reset(&request->arena);
}

void request_shed(struct http_request *request)
{
	arena_fini(&request->arena);
	arena_init(&request->arena, ARENA_BLOCK, ARENA_SPARE);
}

/* ── dispatch ────────────────────────────────────────────────────────────── */

/* Who the client is when our own proxies say so: their headers are read from the last to the first. */
static void find_client(struct http_request *request)
{
	const struct conn *conn = request->conn;
	const struct proxies *proxies = settings_proxies(conn->worker->settings);
	bool is_trusted = conn->endpoint->is_unix ? proxies->trusts_unix : proxies_trust(proxies, &conn->ip);
	if (!is_trusted) return;
	struct ip hop = conn->ip;
	bool is_found = false, goes_on = true;
	for (uint32_t i = request->head->field_count; goes_on && i-- > 0;) {
		const struct head_field *field = &request->head->fields[i];
		if (!str_eq_nocase(text_at(request->base, field->name), STR("x-forwarded-for"))) continue;
		is_found = true;
		goes_on = proxies_walk(proxies, text_at(request->base, field->value), &hop);
	}
	static const struct ip nowhere;
	if (is_found && memcmp(&hop, &nowhere, sizeof hop) != 0) (void)ip_format(&hop, request->ip_text);
}

static void reply_options(struct http_request *request, unsigned methods)
{
	char text[METHODS_TEXT_SIZE];
	http_set_header(request, STR("Allow"), methods_text(methods, text));
	if (request->head->method == HTTP_OPTIONS)
		http_reply(request, 204, STR_NONE, STR_NONE);
	else
		http_reply_problem(request, PROBLEM_METHOD_NOT_ALLOWED, STR_NONE, STR_NONE);
}

void request_dispatch(struct http_request *request, const char *base, struct str body)
{
	const struct route *route = request->match.route;
	request->base = base;
	if (body.len) request->body = body;
	const struct proxies *proxies = settings_proxies(request->conn->worker->settings);
	if (proxies->count || proxies->trusts_unix) find_client(request);
	if (route)
		(route->duplex ? route->duplex : route->handler)(request, route->ctx);
	else if (request->match.allowed && (request->head->method != HTTP_OPTIONS || !cors_preflight(request)))
		reply_options(request, request->match.allowed);
	else if (request->match.allowed)
		return; /* the preflight is answered */
	else if (str_eq(http_path(request), STR("*")))
		reply_options(request, HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_PUT | HTTP_DELETE | HTTP_OPTIONS);
	else
		http_reply_problem(request, PROBLEM_NOT_FOUND, STR_NONE, STR_NONE);
}

bool request_abort(struct http_request *request)
{
	void (*fn)(void *) = request->on_abort;
	if (!fn) return false;
	request->on_abort = NULL;
	fn(request->abort_ctx);
	return true;
}

/* ── http.h: reading ─────────────────────────────────────────────────────── */

enum http_method http_method(const struct http_request *req)
{
	check(req);
	return (enum http_method)req->head->method;
}

struct str http_path(const struct http_request *req)
{
	check(req);
	return text_at(req->base, req->head->path);
}

struct str http_query(const struct http_request *req)
{
	check(req);
	return text_at(req->base, req->head->query);
}

/* '+' first: an escaped plus must stay one. */
static bool decode_form(struct arena *arena, struct str text, struct str *out)
{
	struct str copy;
	if (!memchr(text.ptr, '+', text.len) && !memchr(text.ptr, '%', text.len)) {
		*out = text;
		return true;
	}
	if (arena_str(arena, text, &copy) != OK) return false;
	char *bytes = (char *)(uintptr_t)copy.ptr;
	for (size_t i = 0; i < copy.len; i++)
		if (bytes[i] == '+') bytes[i] = ' ';
	return percent_decode(arena, copy, out) == OK;
}

bool http_query_get(struct http_request *req, struct str name, struct str *value)
{
	struct str rest = http_query(req), key;
	while (rest.len > 0) {
		const char *end = memchr(rest.ptr, '&', rest.len);
		struct str pair = {rest.ptr, end ? (size_t)(end - rest.ptr) : rest.len};
		size_t used = pair.len + (end ? 1 : 0);
		rest = (struct str){rest.ptr + used, rest.len - used};
		const char *equals = memchr(pair.ptr, '=', pair.len);
		struct str raw = {pair.ptr, equals ? (size_t)(equals - pair.ptr) : pair.len};
		if (!decode_form(&req->arena, raw, &key) || !str_eq(key, name)) continue;
		raw = equals ? (struct str){equals + 1, pair.len - raw.len - 1} : STR_NONE;
		return decode_form(&req->arena, raw, value);
	}
	return false;
}

struct str http_path_param(const struct http_request *req, size_t index)
{
	struct str path = http_path(req), out;
	if (index >= req->match.param_count) return STR_NONE;
	struct str raw = text_at(path.ptr, req->match.params[index]);
	if (!memchr(raw.ptr, '%', raw.len)) return raw;
	/* The arena is the request's own memory: handing it out does not change the request. */
	struct arena *arena = &((struct http_request *)(uintptr_t)req)->arena;
	return percent_decode(arena, raw, &out) == OK ? out : STR_NONE;
}

struct str http_header(const struct http_request *req, struct str name)
{
	struct str value;
	check(req);
	return head_find(req->head, req->base, name, &value) ? value : STR_NONE;
}

bool http_header_at(const struct http_request *req, size_t index, struct str *name, struct str *value)
{
	check(req);
	if (index >= req->head->field_count) return false;
	*name = text_at(req->base, req->head->fields[index].name);
	*value = text_at(req->base, req->head->fields[index].value);
	return true;
}

struct str http_body(const struct http_request *req)
{
	check(req);
	return req->body;
}

struct str http_client_ip(const struct http_request *req)
{
	check(req);
	if (req->ip_text[0]) return str_from(req->ip_text);
	return (struct str){req->conn->ip_text, req->conn->ip_text_len};
}

bool http_is_admin_listener(const struct http_request *req)
{
	check(req);
	return req->conn->endpoint->is_admin;
}

bool http_is_tls(const struct http_request *req)
{
	check(req);
	return req->conn->endpoint->is_tls;
}

struct str http_local_authority(const struct http_request *req)
{
	check(req);
	return req->conn->endpoint->authority;
}

struct arena *http_arena(struct http_request *req)
{
	check(req);
	return &req->arena;
}

struct loop *http_loop(const struct http_request *req)
{
	check(req);
	return req->conn->worker->loop;
}

void *http_worker(const struct http_request *req)
{
	check(req);
	return req->conn->worker->app;
}

int64_t http_received_at_us(const struct http_request *req)
{
	check(req);
	return req->received_at_us;
}

void http_on_abort(struct http_request *req, void (*fn)(void *ctx), void *ctx)
{
	check(req);
	req->on_abort = fn;
	req->abort_ctx = ctx;
	if (fn) req->carrier->watch_abort(req);
}
