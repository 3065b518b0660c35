#include "api/ingest_http.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/internal.h"
#include "event/position.h"

#define ANSWER_BYTES (16u << 20) /* far above what a full report of rejections takes */

#define BARE_OK STR("{\"ok\":true,\"success\":true,\"status\":1}")

struct ingest_route {
	const char *path;
	enum ingest_dialect dialect;
	enum event_type type; /* 0: the body says */
};

static const struct ingest_route ingest_routes[] = {
    {"/v1/track", DIALECT_SEGMENT_ONE, EVENT_TRACK},
    {"/v1/t", DIALECT_SEGMENT_ONE, EVENT_TRACK},
    {"/v1/identify", DIALECT_SEGMENT_ONE, EVENT_IDENTIFY},
    {"/v1/i", DIALECT_SEGMENT_ONE, EVENT_IDENTIFY},
    {"/v1/page", DIALECT_SEGMENT_ONE, EVENT_PAGE},
    {"/v1/p", DIALECT_SEGMENT_ONE, EVENT_PAGE},
    {"/v1/screen", DIALECT_SEGMENT_ONE, EVENT_SCREEN},
    {"/v1/s", DIALECT_SEGMENT_ONE, EVENT_SCREEN},
    {"/v1/group", DIALECT_SEGMENT_ONE, EVENT_GROUP},
    {"/v1/g", DIALECT_SEGMENT_ONE, EVENT_GROUP},
    {"/v1/alias", DIALECT_SEGMENT_ONE, EVENT_ALIAS},
    {"/v1/a", DIALECT_SEGMENT_ONE, EVENT_ALIAS},
    {"/v1/batch", DIALECT_SEGMENT_BATCH, 0},
    {"/v1/b", DIALECT_SEGMENT_BATCH, 0},
    {"/v1/import", DIALECT_SEGMENT_BATCH, 0},
    {"/v1/events", DIALECT_NATIVE_JSON, 0},
};

/* ── the answer ──────────────────────────────────────────────────────────── */

static void write_rejections(struct json_out *jo, const struct ingest_result *result)
{
	jo_key(jo, STR("rejected"));
	jo_array(jo);
	for (size_t i = 0; i < result->rejection_count; i++) {
		const struct ingest_rejection *r = &result->rejections[i];
		jo_object(jo);
		jo_key(jo, STR("index"));
		jo_uint(jo, r->index);
		jo_key(jo, STR("messageId"));
		jo_str(jo, r->message_id);
		jo_key(jo, STR("code"));
		jo_str(jo, str_from(problem_info(r->code)->code));
		jo_key(jo, STR("pointer"));
		jo_str(jo, r->pointer);
		jo_key(jo, STR("message"));
		jo_str(jo, r->message);
		jo_end_object(jo);
	}
	jo_end_array(jo);
}

int ingest_http_write_result(struct buf *out, const struct ingest_result *result)
{
	struct json_out jo;
	json_out_init(&jo, out);
	jo_object(&jo);
	/* Each SDK looks at one of these three. */
	jo_raw(&jo, STR("\"ok\":true,\"success\":true,\"status\":1"));
	jo_key(&jo, STR("accepted"));
	jo_uint(&jo, result->accepted);
	if (result->rejection_count) write_rejections(&jo, result);
	jo_end_object(&jo);
	return jo.status;
}

static void set_number(struct http_request *req, struct str name, int64_t value)
{
	char text[24];
	int len = snprintf(text, sizeof text, "%" PRId64, value);
	http_set_header(req, name, str_of(text, (size_t)len));
}

void ingest_http_set_headers(struct http_request *req, const struct ingest_result *result)
{
	char position[POSITION_TEXT_SIZE];
	if (result->position_seq) {
		size_t len = position_format(POSITION_JOURNAL,
					     (struct position){result->position_epoch, result->position_seq}, position);
		http_set_header(req, STR("X-Cdpd-Position"), str_of(position, len));
	}
	/* The limit's word on how long to wait, before the table's. */
	if (result->problem == PROBLEM_RATE_LIMITED) set_number(req, STR("Retry-After"), result->retry_after_s);
	if (result->limit < 0) return;
	set_number(req, STR("RateLimit-Limit"), result->limit);
	set_number(req, STR("RateLimit-Remaining"), result->limit_remaining);
	set_number(req, STR("RateLimit-Reset"), result->retry_after_s ? result->retry_after_s : 1);
}

/* One request between ingest_submit and its answer; lives in the request's arena. */
struct ingest_call {
	struct http_request *req;
	struct ingest_batch *batch;
};

/* The events are durable, whatever becomes of the report. */
static void reply_result(struct http_request *req, const struct ingest_result *result)
{
	struct buf body;
	buf_init(&body, ANSWER_BYTES);
	bool is_told = ingest_http_write_result(&body, result) == OK && http_may_reply(req, body.len);
	http_reply(req, 200, MIME_JSON, is_told ? buf_str(&body) : BARE_OK);
	buf_fini(&body);
}

struct http_request *ingest_http_request(void *ctx)
{
	return ((struct ingest_call *)ctx)->req;
}

void ingest_http_on_done(void *ctx, const struct ingest_result *result)
{
	struct http_request *req = ((struct ingest_call *)ctx)->req;
	ingest_http_set_headers(req, result);
	if (result->problem == PROBLEM_NONE)
		reply_result(req, result);
	else
		http_reply_problem(req, result->problem, result->message, result->pointer);
}

static void on_abort(void *ctx)
{
	ingest_cancel(((struct ingest_call *)ctx)->batch);
}

/* ── the request ─────────────────────────────────────────────────────────── */

static bool is_protobuf(struct str content_type)
{
	const char *end = memchr(content_type.ptr, ';', content_type.len);
	if (end) content_type.len = (size_t)(end - content_type.ptr);
	content_type = str_trim(content_type);
	return str_eq_nocase(content_type, STR("application/x-protobuf")) ||
	       str_eq_nocase(content_type, STR("application/protobuf"));
}

void ingest_http_fill(struct http_request *req, enum ingest_dialect dialect, struct ingest_request *out)
{
	*out = (struct ingest_request){
	    .dialect = dialect,
	    .authorization = http_header(req, STR("Authorization")),
	    .write_key_header = http_header(req, STR("X-Write-Key")),
	    .write_key_query = STR_NONE,
	    .origin = http_header(req, STR("Origin")),
	    .client_ip = http_client_ip(req),
	    .user_agent = http_header(req, STR("User-Agent")),
	    .body = http_body(req),
	    .received_at_us = http_received_at_us(req),
	    .person_ref = STR_NONE,
	};
	if (http_query(req).len) (void)http_query_get(req, STR("writeKey"), &out->write_key_query);
	if (dialect == DIALECT_NATIVE_JSON && is_protobuf(http_header(req, STR("Content-Type"))))
		out->dialect = DIALECT_NATIVE_PROTOBUF;
}

void ingest_http_submit(struct http_request *req, const struct ingest_request *request, ingest_done_fn done)
{
	struct api_worker *worker = http_worker(req);
	struct ingest_call *call = arena_new(http_arena(req), struct ingest_call);
	if (!call) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	call->req = req;
	struct ingest_batch *batch = ingest_submit(worker->ingest, request, done, call);
	if (!batch) return; /* answered: the request and the call are gone */
	call->batch = batch;
	http_on_abort(req, on_abort, call);
}

static void on_ingest(struct http_request *req, void *ctx)
{
	const struct ingest_route *route = ctx;
	struct ingest_request request;
	ingest_http_fill(req, route->dialect, &request);
	request.route_type = route->type;
	ingest_http_submit(req, &request, ingest_http_on_done);
}

/* Segment's browser SDK reports metrics of its own; nobody here wants them. */
static void on_metrics(struct http_request *req, void *ctx)
{
	(void)ctx;
	http_reply(req, 200, MIME_JSON, BARE_OK);
}

int ingest_http_register(struct api *api, struct router *router)
{
	(void)api;
	struct route route = {.methods = HTTP_POST, .cors = CORS_INGEST, .handler = on_ingest, .scope = "write_key"};
	for (size_t i = 0; i < COUNT_OF(ingest_routes); i++) {
		route.path = ingest_routes[i].path;
		route.ctx = (void *)(uintptr_t)&ingest_routes[i]; /* only read */
		int rc = router_add(router, &route);
		if (rc != OK) return rc;
	}
	const struct route metrics = {
	    .methods = HTTP_POST, .path = "/v1/m", .cors = CORS_INGEST, .handler = on_metrics, .scope = ""};
	return router_add(router, &metrics);
}
