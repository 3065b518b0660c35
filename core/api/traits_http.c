/* POST /v1/profiles/{ref}/traits, and /v1/traits for many persons at once. */
#include "api/ingest_http.h"
#include "api/internal.h"
#include "api/set_traits_many.h"
#include "base/clock.h"

#define TRAITS_BODY_BYTES (128u << 10)
#define SHAPE \
	STR("expected " \
	    "{\"traits\":{…},\"provenance\":\"observed\",\"source\":\"…\",\"messageId\":\"…\",\"timestamp\":\"…\"}")

#define MANY_SHAPE \
	STR("expected " \
	    "{\"items\":[{\"ref\":\"…\",\"traits\":{…}}],\"provenance\":\"inferred\",\"model\":{\"name\":\"…\"," \
	    "\"version\":\"…\"}}")

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

static bool take_model(struct http_request *req, struct json root, struct set_traits *out)
{
	struct json model;
	if (!json_get(root, STR("model"), &model) || json_type(model) == JSON_NULL) return true;
	out->has_model = true;
	if (json_type(model) != JSON_OBJECT)
		return refuse(req, PROBLEM_SCHEMA_VIOLATION, STR("expected {\"name\":\"…\",\"version\":\"…\"}"),
			      STR("/model"));
	return take_text(req, model, "name", "/model/name", &out->model) &&
	       take_text(req, model, "version", "/model/version", &out->model_version);
}

/* Texts borrow the document. */
static bool take_description(struct http_request *req, struct json root, struct set_traits *out)
{
	return take_text(req, root, "provenance", "/provenance", &out->provenance) &&
	       take_text(req, root, "source", "/source", &out->source) && take_model(req, root, out) &&
	       take_time(req, root, &out->time_us);
}

static bool read_body(struct api_worker *worker, struct http_request *req, struct set_traits *out, struct json *traits)
{
	struct json root;
	const char *why;
	if (json_parse(worker->json, http_body(req), &root, &why) != OK)
		return refuse(req, PROBLEM_INVALID_JSON, str_from(why), STR_NONE);
	if (json_type(root) != JSON_OBJECT || !json_get(root, STR("traits"), traits))
		return refuse(req, PROBLEM_SCHEMA_VIOLATION, SHAPE, STR("/traits"));
	return take_text(req, root, "messageId", "/messageId", &out->message_id) && take_description(req, root, out);
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

/* ── many persons ────────────────────────────────────────────────────────── */

struct many_call { /* in the request's arena */
	struct http_request *req;
	struct set_traits_many what;
	struct ingest_request request;
};

static const struct ingest_refusal no_person = {
    PROBLEM_SCHEMA_VIOLATION, {"/ref", 4}, {"must be a reference such as user_id:42 or id:<profile id>", 57}};
static const struct ingest_refusal bad_time = {
    PROBLEM_BAD_TIMESTAMP, {"/timestamp", 10}, {"must be a time such as 2026-11-22T04:00:00Z", 43}};
static const struct ingest_refusal bad_message_id = {
    PROBLEM_SCHEMA_VIOLATION, {"/messageId", 10}, {"must be a text", 14}};

static bool copy_text(struct arena *arena, struct json from, struct str name, struct str *out, bool *is_text)
{
	struct json value;
	struct str text;
	*out = STR_NONE;
	*is_text = true;
	if (!json_get(from, name, &value) || json_type(value) == JSON_NULL) return true;
	*is_text = json_str(value, &text);
	return !*is_text || arena_str(arena, text, out) == OK;
}

/* JSON is read a little past its end. Absent traits are refused as those that are no object. */
static bool copy_traits(struct api_worker *worker, struct arena *arena, struct json from, struct str *out)
{
	struct json traits;
	buf_clear(&worker->out);
	bool has_traits = json_get(from, STR("traits"), &traits);
	int rc = has_traits ? json_write(&worker->out, traits) : buf_append_str(&worker->out, STR("null"));
	char *copy = rc == OK ? arena_alloc(arena, worker->out.len + BUF_SLACK) : NULL;
	if (!copy) return false;
	memcpy(copy, buf_ptr(&worker->out), worker->out.len);
	memset(copy + worker->out.len, 0, BUF_SLACK);
	*out = str_of(copy, worker->out.len);
	return true;
}

/* What is wrong with it is told with the others' answers. False: no memory. */
static bool read_item(struct api_worker *worker, struct arena *arena, struct json from, struct ingest_traits_item *out)
{
	struct str time;
	bool has_ref, has_time, has_id;
	int16_t offset;
	if (!copy_text(arena, from, STR("ref"), &out->ref, &has_ref) ||
	    !copy_text(arena, from, STR("messageId"), &out->message_id, &has_id) ||
	    !copy_text(arena, from, STR("timestamp"), &time, &has_time) ||
	    !copy_traits(worker, arena, from, &out->traits))
		return false;
	if (!has_id) out->refusal = &bad_message_id;
	if (!has_time || (time.len && clock_parse(time, &out->time_us, &offset) != OK)) out->refusal = &bad_time;
	if (!has_ref || !out->ref.len) out->refusal = &no_person;
	return true;
}

static bool read_items(struct api_worker *worker, struct http_request *req, struct json items,
		       struct set_traits_many *out)
{
	struct json_iter it;
	struct json item;
	size_t most = (size_t)2 * api_worker_live(worker)->config->limits.batch_events;
	size_t count = json_type(items) == JSON_ARRAY ? json_count(items) : 0;
	if (count == 0) return refuse(req, PROBLEM_SCHEMA_VIOLATION, MANY_SHAPE, STR("/items"));
	if (count > most)
		return refuse(req, PROBLEM_TOO_LARGE, STR("far more items than limits.batch_events"), STR("/items"));
	out->items = arena_array(http_arena(req), struct ingest_traits_item, count);
	if (!out->items) return refuse(req, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
	json_iter_start(items, &it);
	while (json_next_element(&it, &item)) {
		struct ingest_traits_item *to = &out->items[out->count++];
		*to = (struct ingest_traits_item){.ref = STR_NONE};
		if (!read_item(worker, http_arena(req), item, to))
			return refuse(req, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
	}
	return true;
}

static bool read_many(struct api_worker *worker, struct http_request *req, struct set_traits_many *out)
{
	struct json root, items;
	const char *why;
	if (json_parse(worker->json, http_body(req), &root, &why) != OK)
		return refuse(req, PROBLEM_INVALID_JSON, str_from(why), STR_NONE);
	if (json_type(root) != JSON_OBJECT || !json_get(root, STR("items"), &items))
		return refuse(req, PROBLEM_SCHEMA_VIOLATION, MANY_SHAPE, STR("/items"));
	return take_description(req, root, &out->all) && read_items(worker, req, items, out);
}

static void on_many_found(struct answer *answer)
{
	struct many_call *call = answer->asker;
	struct http_request *req = call->req;
	http_on_abort(req, NULL, NULL);
	if (answer->is_failed)
		http_reply_problem(req, answer->problem, answer->message, answer->pointer);
	else if (set_traits_many_take(answer, &call->what, http_arena(req)) != OK)
		http_reply_problem(req, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
	else
		ingest_http_submit(req, &call->request, ingest_http_on_done);
}

static void on_many_left(void *ctx)
{
	answer_leave(ctx);
}

static void look_up_many(struct api_worker *worker, struct many_call *call)
{
	struct answer *answer = set_traits_many_lookup(&call->what, worker, call, on_many_found);
	if (!answer) {
		http_reply_problem(call->req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	http_on_abort(call->req, on_many_left, answer);
	answer_submit(answer);
}

static void post_many(struct api_worker *worker, struct http_request *req)
{
	struct set_traits_refusal refusal = {STR_NONE, STR_NONE};
	struct many_call *call = arena_new(http_arena(req), struct many_call);
	if (!call) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	*call = (struct many_call){.req = req};
	if (!read_many(worker, req, &call->what)) return;
	call->what.all.token = auth_actor(worker, req);
	ingest_http_fill(req, DIALECT_TRAITS, &call->request);
	enum problem problem = set_traits_many_prepare(&call->what, http_arena(req), &call->request, &refusal);
	if (problem != PROBLEM_NONE)
		http_reply_problem(req, problem, refusal.message, refusal.pointer);
	else if (set_traits_many_has_ids(&call->what))
		look_up_many(worker, call);
	else
		ingest_http_submit(req, &call->request, ingest_http_on_done);
}

static const struct api_route ROUTES[] = {
    {HTTP_POST, "/v1/profiles/{ref}/traits", SCOPE_TRAITS_WRITE, false, true, TRAITS_BODY_BYTES, post_traits},
    {HTTP_POST, "/v1/traits", SCOPE_TRAITS_WRITE, false, true, 0, post_many},
};

int traits_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
