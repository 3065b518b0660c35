/* /v1/subscriptions: durable named cursors of the change feed. */
#include "api/subscriptions.h"

#include "api/change_filter_json.h"
#include "api/event_json.h"
#include "api/feed_http.h"
#include "api/params.h"
#include "api/position_wait.h"
#include "api/subscription_call.h"

#define BODY_MAX (64u << 10)

/* ── showing ─────────────────────────────────────────────────────────────── */

static void write_cursor(struct json_out *out, const struct api *api, uint64_t cursor)
{
	char text[POSITION_TEXT_SIZE];
	struct position position = {.epoch = journal_epoch(api->journal), .seq = cursor};
	jo_key(out, STR("cursor"));
	jo_str(out, str_of(text, position_format(POSITION_CHANGES, position, text)));
}

static void write_time(struct json_out *out, struct str key, int64_t us)
{
	jo_key(out, key);
	if (us)
		jo_time(out, us);
	else
		jo_null(out);
}

static int write_filter(struct json_out *out, struct api_worker *worker, struct str text)
{
	struct arena arena;
	struct change_filter filter;
	arena_init(&arena, 1024, 1u << 20);
	int rc = change_filter_restore(worker->json, text, &arena, &filter);
	if (rc == OK) change_filter_write(out, &filter, false);
	arena_fini(&arena);
	return rc;
}

static int write_subscription(struct json_out *out, struct api_worker *worker, const struct subscription *subscription,
			      const struct subscription_feed *feed)
{
	bool is_expired = subscription_is_expired(subscription, feed);
	jo_object(out);
	jo_key(out, STR("name"));
	jo_str(out, subscription->name);
	int rc = write_filter(out, worker, subscription->filter);
	write_cursor(out, worker->api, subscription->cursor);
	jo_key(out, STR("behind"));
	jo_uint(out, subscription->cursor < feed->last ? feed->last - subscription->cursor : 0);
	jo_key(out, STR("held"));
	jo_bool(out, subscription->is_held);
	jo_key(out, STR("expired"));
	jo_bool(out, is_expired);
	if (is_expired) {
		jo_key(out, STR("gap"));
		jo_uint(out, subscription_gap(subscription, feed));
	}
	jo_key(out, STR("expiries"));
	jo_uint(out, subscription->expiries);
	jo_key(out, STR("missed"));
	jo_uint(out, subscription->missed);
	write_time(out, STR("createdAt"), subscription->created_at);
	write_time(out, STR("committedAt"), subscription->committed_at);
	jo_end_object(out);
	return rc == OK ? out->status : rc;
}

static void reply_buf(struct api_worker *worker, struct http_request *req, int http_status, int rc)
{
	if (rc == OK)
		http_reply(req, http_status, MIME_JSON, buf_str(&worker->out));
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	buf_clear(&worker->out);
	buf_shrink(&worker->out, API_BUF_KEEP);
}

/* ── asking ──────────────────────────────────────────────────────────────── */

static void on_client_left(void *ctx)
{
	subscription_call_leave(ctx);
}

/* False: it was a refusal, which has been answered. */
static bool went_well(const struct subscription_call *call)
{
	struct http_request *req = call->asker;
	struct str message;
	http_on_abort(req, NULL, NULL);
	enum problem problem = subscription_problem(call, &message);
	if (problem == PROBLEM_NONE) return true;
	http_reply_problem(req, problem, message, STR_NONE);
	return false;
}

static struct subscription_call *call_new(struct api_worker *worker, struct http_request *req,
					  void (*reply)(struct subscription_call *call))
{
	struct subscription_call *call = subscription_call_new(worker, req, reply);
	if (!call) http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	return call;
}

/* A call about the subscription that the path names. NULL: answered. */
static struct subscription_call *call_named(struct api_worker *worker, struct http_request *req, struct str name,
					    void (*reply)(struct subscription_call *call))
{
	if (!subscription_name_is_valid(name)) {
		http_reply_problem(req, PROBLEM_INVALID_PARAMETER,
				   STR("a subscription's name is 1 to 64 letters, digits, '_', '-' or '.'"), STR_NONE);
		return NULL;
	}
	struct subscription_call *call = call_new(worker, req, reply);
	if (call && arena_str(&call->arena, name, &call->name) != OK) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		subscription_call_drop(call);
		return NULL;
	}
	if (call) call->order.name = call->name;
	return call;
}

static void submit(struct subscription_call *call)
{
	http_on_abort(call->asker, on_client_left, call);
	subscription_call_submit(call);
}

/* ── look-ups ────────────────────────────────────────────────────────────── */

static void show_one(struct subscription_call *call)
{
	struct json_out out;
	if (!went_well(call)) return;
	buf_clear(&call->worker->out);
	json_out_init(&out, &call->worker->out);
	int rc = write_subscription(&out, call->worker, &call->items[0], &call->feed);
	reply_buf(call->worker, call->asker, call->order.is_new ? 201 : 200, rc);
}

static void show_list(struct subscription_call *call)
{
	struct json_out out;
	int rc = OK;
	if (!went_well(call)) return;
	size_t limit = call->limit - 1, shown = call->count > limit ? limit : call->count;
	buf_clear(&call->worker->out);
	json_out_init(&out, &call->worker->out);
	jo_object(&out);
	jo_key(&out, STR("subscriptions"));
	jo_array(&out);
	for (size_t i = 0; i < shown && rc == OK; i++)
		rc = write_subscription(&out, call->worker, &call->items[i], &call->feed);
	jo_end_array(&out);
	jo_key(&out, STR("next"));
	if (call->count > shown)
		jo_str(&out, call->items[shown - 1].name);
	else
		jo_null(&out);
	jo_end_object(&out);
	reply_buf(call->worker, call->asker, 200, rc == OK ? out.status : rc);
}

static void get_subscription(struct api_worker *worker, struct http_request *req)
{
	struct subscription_call *call = call_named(worker, req, http_path_param(req, 0), show_one);
	if (!call) return;
	call->ask = SUBSCRIPTION_GET;
	submit(call);
}

static void get_subscriptions(struct api_worker *worker, struct http_request *req)
{
	struct str after = STR_NONE;
	size_t limit;
	if (!param_limit(req, &limit)) return;
	if (http_query_get(req, STR("cursor"), &after) && !subscription_name_is_valid(after)) {
		param_refuse(req, STR("cursor"), "not the next of a page before");
		return;
	}
	struct subscription_call *call = call_new(worker, req, show_list);
	if (!call) return;
	call->ask = SUBSCRIPTION_LIST;
	call->limit = limit + 1; /* is there a next page? */
	if (arena_str(&call->arena, after, &call->name) != OK) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		subscription_call_drop(call);
		return;
	}
	submit(call);
}

/* ── orders ──────────────────────────────────────────────────────────────── */

/* False: answered. An empty body is {}. */
static bool read_body(struct api_worker *worker, struct http_request *req, struct json *root, bool *is_empty)
{
	const char *why;
	*is_empty = str_trim(http_body(req)).len == 0;
	if (*is_empty) return true;
	if (json_parse(worker->json, http_body(req), root, &why) != OK) {
		http_reply_problem(req, PROBLEM_INVALID_JSON, str_from(why), STR_NONE);
		return false;
	}
	if (json_type(*root) == JSON_OBJECT) return true;
	http_reply_problem(req, PROBLEM_SCHEMA_VIOLATION, STR("expected an object"), STR_NONE);
	return false;
}

static bool read_cursor(const struct api_worker *worker, struct http_request *req, struct json value,
			struct str pointer, uint64_t *cursor)
{
	struct str text, message = STR("expected a cursor of the change feed");
	enum problem problem = PROBLEM_SCHEMA_VIOLATION;
	if (json_str(value, &text)) problem = position_read(worker->api, POSITION_CHANGES, text, cursor, &message);
	if (problem == PROBLEM_NONE) return true;
	http_reply_problem(req, problem, message, pointer);
	return false;
}

static bool read_start(const struct api_worker *worker, struct http_request *req, struct json root,
		       struct subscription_order *order)
{
	struct json value;
	struct str text;
	order->start = SUBSCRIPTION_NOW;
	if (!json_get(root, STR("start"), &value) || json_type(value) == JSON_NULL) return true;
	if (json_str(value, &text) && str_eq(text, STR("now"))) return true;
	order->start = SUBSCRIPTION_OLDEST;
	if (json_str(value, &text) && str_eq(text, STR("oldest"))) return true;
	order->start = SUBSCRIPTION_CURSOR;
	return read_cursor(worker, req, value, STR("/start"), &order->cursor);
}

static bool read_filter(struct http_request *req, const struct json *root, struct subscription_call *call)
{
	struct change_filter filter = {0};
	struct str pointer = STR_NONE, why = STR_NONE;
	int rc = root ? change_filter_read(*root, &call->arena, &filter, &pointer, &why) : OK;
	if (rc == ERR_INVALID) {
		http_reply_problem(req, PROBLEM_SCHEMA_VIOLATION, why, pointer);
		return false;
	}
	if (rc == OK) rc = change_filter_text(&filter, SUBSCRIPTION_FILTER_MAX, &call->arena, &call->order.filter);
	if (rc == OK) return true;
	if (rc == ERR_TOO_LARGE)
		http_reply_problem(req, PROBLEM_TOO_LARGE, STR("the filter is larger than 16 KB"), STR_NONE);
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	return false;
}

static void put_subscription(struct api_worker *worker, struct http_request *req)
{
	struct json root;
	bool is_empty;
	struct subscription_call *call = call_named(worker, req, http_path_param(req, 0), show_one);
	if (!call) return;
	call->order.deed = SUBSCRIPTION_PUT;
	if (read_body(worker, req, &root, &is_empty) && read_filter(req, is_empty ? NULL : &root, call) &&
	    (is_empty || read_start(worker, req, root, &call->order)))
		submit(call);
	else
		subscription_call_drop(call);
}

static void show_commit(struct subscription_call *call)
{
	struct json_out out;
	if (!went_well(call)) return;
	buf_clear(&call->worker->out);
	json_out_init(&out, &call->worker->out);
	jo_object(&out);
	jo_key(&out, STR("ok"));
	jo_bool(&out, true);
	write_cursor(&out, call->worker->api, call->items[0].cursor);
	jo_key(&out, STR("moved"));
	jo_bool(&out, call->order.has_moved);
	jo_end_object(&out);
	reply_buf(call->worker, call->asker, 200, out.status);
}

static bool read_commit(struct api_worker *worker, struct http_request *req, struct subscription_order *order)
{
	struct json root, value;
	bool is_empty;
	if (!read_body(worker, req, &root, &is_empty)) return false;
	if (is_empty || !json_get(root, STR("cursor"), &value)) {
		http_reply_problem(req, PROBLEM_SCHEMA_VIOLATION, STR("expected {\"cursor\": …}"), STR("/cursor"));
		return false;
	}
	if (!read_cursor(worker, req, value, STR("/cursor"), &order->cursor)) return false;
	if (!json_get(root, STR("reset"), &value) || json_bool(value, &order->is_reset)) return true;
	http_reply_problem(req, PROBLEM_SCHEMA_VIOLATION, STR("reset: true or false"), STR("/reset"));
	return false;
}

static void post_commit(struct api_worker *worker, struct http_request *req)
{
	struct subscription_call *call = call_named(worker, req, http_path_param(req, 0), show_commit);
	if (!call) return;
	call->order.deed = SUBSCRIPTION_COMMIT;
	if (read_commit(worker, req, &call->order))
		submit(call);
	else
		subscription_call_drop(call);
}

static void show_deleted(struct subscription_call *call)
{
	if (went_well(call)) http_reply(call->asker, 200, MIME_JSON, STR("{\"ok\":true}"));
}

static void delete_subscription(struct api_worker *worker, struct http_request *req)
{
	struct subscription_call *call = call_named(worker, req, http_path_param(req, 0), show_deleted);
	if (!call) return;
	call->order.deed = SUBSCRIPTION_DELETE;
	submit(call);
}

/* ── streaming ───────────────────────────────────────────────────────────── */

static void start_stream(struct subscription_call *call, change_write_fn write)
{
	struct http_request *req = call->asker;
	struct feed_options options;
	if (!went_well(call)) return;
	if (http_method(req) == HTTP_HEAD) { /* takes nothing over */
		http_reply(req, 200, MIME_EVENT_STREAM, STR_NONE);
		return;
	}
	if (subscription_is_expired(&call->items[0], &call->feed)) {
		http_reply_problem(
		    req, PROBLEM_GONE,
		    STR("the subscription has expired: take a snapshot, then commit the cursor it says it is of"),
		    STR_NONE);
		return;
	}
	if (subscription_open(call->worker, &call->items[0], write, &options) == OK)
		feed_http_start(call->worker, req, FEED_EVENTS, POSITION_CHANGES, &options);
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static void start_events(struct subscription_call *call)
{
	start_stream(call, changes_write_event);
}

void subscription_stream(struct api_worker *worker, struct http_request *req, struct str name)
{
	struct subscription_call *call = call_named(worker, req, name, start_events);
	if (!call) return;
	call->ask = SUBSCRIPTION_GET;
	submit(call);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/subscriptions", SCOPE_CHANGES_READ, false, false, 0, get_subscriptions},
    {HTTP_GET, "/v1/subscriptions/{name}", SCOPE_CHANGES_READ, false, false, 0, get_subscription},
    {HTTP_PUT, "/v1/subscriptions/{name}", SCOPE_CHANGES_READ, false, true, BODY_MAX, put_subscription},
    {HTTP_DELETE, "/v1/subscriptions/{name}", SCOPE_CHANGES_READ, false, false, 0, delete_subscription},
    {HTTP_POST, "/v1/subscriptions/{name}/commit", SCOPE_CHANGES_READ, false, false, 4096, post_commit},
};

int subscriptions_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
