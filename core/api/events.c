/* GET /v1/profiles/{ref}/events: a person's events, newest first, on the read pool. */
#include "api/answer.h"
#include "api/event_json.h"
#include "api/event_walk.h"
#include "api/internal.h"
#include "api/params.h"

#define PAGE_BYTES (4u << 20) /* a page ends early beyond */

static int write_event(void *ctx, struct read_thread *thread, const struct cdpd_event *event, uint64_t seq,
		       const struct outcome *outcome)
{
	(void)thread;
	struct answer *answer = ctx;
	return event_json_write(&answer->json, answer->api, event, seq, outcome);
}

static int list_events(struct answer *answer, struct read_thread *thread)
{
	struct event_walk walk = {.query = answer->params,
				  .api = answer->api,
				  .is_cancelled = &answer->job.is_cancelled,
				  .page = &answer->out,
				  .page_max = PAGE_BYTES,
				  .fn = write_event,
				  .ctx = answer};
	struct json_out *out = &answer->json;
	jo_object(out);
	jo_key(out, STR("events"));
	jo_array(out);
	int rc = event_walk_run(&walk, thread);
	answer->applied = walk.applied;
	if (rc != OK) return answer_fail_ref(answer, rc);
	jo_end_array(out);
	param_write_next(out, answer->api, walk.has_more, walk.below);
	jo_end_object(out);
	return OK;
}

static bool read_type(struct http_request *req, enum event_type *type)
{
	struct str name;
	if (!http_query_get(req, STR("type"), &name) || event_type_from_name(name, type)) return true;
	param_refuse(req, STR("type"), "track, identify, page, screen, group or alias");
	return false;
}

static void get_events(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, list_events, sizeof(struct event_query));
	if (!answer) return;
	struct event_query *query = answer->params;
	if (!param_limit(req, &query->limit) || !param_cursor(worker->api, req, &query->below) ||
	    !read_type(req, &query->type) ||
	    !param_text(req, STR("event"), EVENT_NAME_MAX, &answer->arena, &query->event)) {
		answer_drop(answer);
		return;
	}
	if (arena_str(&answer->arena, http_path_param(req, 0), &query->ref) != OK) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		answer_drop(answer);
		return;
	}
	answer_submit(answer);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/profiles/{ref}/events", SCOPE_PROFILES_READ, false, true, 0, get_events},
};

int events_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
