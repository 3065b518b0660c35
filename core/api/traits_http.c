/* POST /v1/profiles/{ref}/traits. */
#include "api/ingest_http.h"
#include "api/internal.h"
#include "api/set_traits.h"
#include "base/clock.h"

#define TRAITS_BODY_BYTES (128u << 10)
#define SHAPE \
	STR("expected " \
	    "{\"traits\":{…},\"provenance\":\"observed\",\"source\":\"…\",\"messageId\":\"…\",\"timestamp\":\"…\"}")

static bool refuse(struct http_request *req, enum problem problem, struct str message, struct str pointer)
{
	http_reply_problem(req, problem, message, pointer);
	return false;
}

static bool take_text(struct http_request *req, struct json root, const char *name, const char *pointer,
		      struct str *out)
{
	struct json value;
	*out = STR_NONE;
	if (!json_get(root, str_from(name), &value) || json_type(value) == JSON_NULL) return true;
	return json_str(value, out) || refuse(req, PROBLEM_SCHEMA_VIOLATION, SHAPE, str_from(pointer));
}

static bool take_time(struct http_request *req, struct json root, int64_t *us)
{
	struct str text;
	int16_t offset;
	*us = 0;
	if (!take_text(req, root, "timestamp", "/timestamp", &text)) return false;
	if (!text.len || clock_parse(text, us, &offset) == OK) return true;
	return refuse(req, PROBLEM_BAD_TIMESTAMP, STR_NONE, STR("/timestamp"));
}

/* Texts borrow the document. */
static bool read_body(struct api_worker *worker, struct http_request *req, struct set_traits *out, struct json *traits)
{
	struct json root;
	const char *why;
	if (json_parse(worker->json, http_body(req), &root, &why) != OK)
		return refuse(req, PROBLEM_INVALID_JSON, str_from(why), STR_NONE);
	if (json_type(root) != JSON_OBJECT || !json_get(root, STR("traits"), traits))
		return refuse(req, PROBLEM_SCHEMA_VIOLATION, SHAPE, STR("/traits"));
	return take_text(req, root, "provenance", "/provenance", &out->provenance) &&
	       take_text(req, root, "source", "/source", &out->source) &&
	       take_text(req, root, "messageId", "/messageId", &out->message_id) && take_time(req, root, &out->time_us);
}

static void post_traits(struct api_worker *worker, struct http_request *req)
{
	struct set_traits what = {.ref = http_path_param(req, 0)};
	struct set_traits_refusal refusal = {STR_NONE, STR_NONE};
	struct ingest_request request;
	struct json traits;
	if (!read_body(worker, req, &what, &traits)) return;
	what.token = auth_actor(worker, req);
	buf_clear(&worker->out);
	enum problem problem = PROBLEM_INTERNAL;
	if (json_write(&worker->out, traits) == OK &&
	    arena_str(http_arena(req), buf_str(&worker->out), &what.traits) == OK) {
		ingest_http_fill(req, DIALECT_TRAITS, &request);
		problem = set_traits_prepare(worker, &what, http_arena(req), &request, &refusal);
	}
	if (problem == PROBLEM_NONE)
		ingest_http_submit(req, &request, ingest_http_on_done);
	else
		http_reply_problem(req, problem, refusal.message, refusal.pointer);
}

static const struct api_route ROUTES[] = {
    {HTTP_POST, "/v1/profiles/{ref}/traits", SCOPE_TRAITS_WRITE, false, true, TRAITS_BODY_BYTES, post_traits},
};

int traits_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
