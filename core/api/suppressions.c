/* /v1/suppressions: whose later events are not applied, on the read pool. */
#include "api/answer.h"
#include "api/internal.h"
#include "api/params.h"
#include "api/profile_json.h"
#include "base/encode.h"

#define REASON_MAX 300

struct suppress_query {
	struct str ref, actor, reason;
	bool is_lifted, has_after;
	size_t limit;
	struct fragment_id after;
};

static int resolve(struct answer *answer, struct read_thread *thread, struct people_suppression *act)
{
	const struct suppress_query *query = answer->params;
	int rc = people_read_begin(thread->people, &answer->applied);
	if (rc) return rc;
	rc = people_ref(thread->people, query->ref, &thread->scratch, &act->owner, &act->namespace_);
	people_read_end(thread->people);
	return rc;
}

static int change(struct answer *answer, struct read_thread *thread)
{
	const struct suppress_query *query = answer->params;
	struct people_suppression act = {.is_lifted = query->is_lifted, .actor = query->actor, .reason = query->reason};
	uint64_t seq = 0;
	char position[POSITION_TEXT_SIZE];
	struct json_out *out = &answer->json;
	int rc = resolve(answer, thread, &act);
	if (rc) return answer_fail_ref(answer, rc);
	rc = privacy_suppress(answer->api->privacy, &act, &thread->scratch, &seq);
	if (rc == ERR_BUSY) return answer_fail(answer, PROBLEM_OVERLOADED, STR_NONE);
	if (rc == ERR_CLOSED) return answer_fail(answer, PROBLEM_SHUTTING_DOWN, STR_NONE);
	if (rc == ERR_FULL || rc == ERR_PANIC) return answer_fail(answer, PROBLEM_NOT_DURABLE, STR_NONE);
	if (rc) return rc;
	answer->applied = seq + 1;
	jo_object(out);
	jo_key(out, STR("id"));
	profile_write_id(out, act.owner.bytes);
	jo_key(out, STR("namespace"));
	jo_str(out, act.namespace_);
	jo_key(out, STR("suppressed"));
	jo_bool(out, !act.is_lifted);
	jo_key(out, STR("position"));
	jo_str(out, api_position_text(answer->api, seq + 1, position));
	jo_end_object(out);
	return OK;
}

static void write_row(struct answer *answer, const struct suppression_row *row)
{
	char position[POSITION_TEXT_SIZE];
	struct json_out *out = &answer->json;
	jo_object(out);
	jo_key(out, STR("id"));
	profile_write_id(out, row->owner.bytes);
	jo_key(out, STR("namespace"));
	jo_str(out, row->namespace_);
	jo_key(out, STR("fragments"));
	jo_uint(out, row->member_count);
	jo_key(out, STR("at"));
	jo_time(out, row->t);
	jo_key(out, STR("position"));
	jo_str(out, api_position_text(answer->api, row->seq + 1, position));
	jo_key(out, STR("actor"));
	jo_str(out, row->actor);
	jo_key(out, STR("reason"));
	jo_str(out, row->reason);
	jo_end_object(out);
}

static int list(struct answer *answer, struct read_thread *thread)
{
	const struct suppress_query *query = answer->params;
	struct suppression_row *rows;
	size_t count;
	struct json_out *out = &answer->json;
	int rc = people_read_begin(thread->people, &answer->applied);
	if (rc) return rc;
	rc = people_suppressions(thread->people, query->has_after ? &query->after : NULL, query->limit,
				 &thread->scratch, &rows, &count);
	people_read_end(thread->people);
	if (rc) return rc;
	jo_object(out);
	jo_key(out, STR("suppressions"));
	jo_array(out);
	for (size_t i = 0; i < count; i++) write_row(answer, &rows[i]);
	jo_end_array(out);
	jo_key(out, STR("next"));
	if (count == query->limit)
		profile_write_id(out, rows[count - 1].owner.bytes);
	else
		jo_null(out);
	jo_end_object(out);
	return OK;
}

static int get(struct answer *answer, struct read_thread *thread)
{
	const struct suppress_query *query = answer->params;
	struct suppression_row row;
	struct fragment_id id;
	struct str namespace_;
	int rc = people_read_begin(thread->people, &answer->applied);
	if (rc) return rc;
	rc = people_ref(thread->people, query->ref, &thread->scratch, &id, &namespace_);
	if (!rc) rc = people_suppression(thread->people, &id, &thread->scratch, &row);
	people_read_end(thread->people);
	if (rc == ERR_NOT_FOUND) return answer_fail(answer, PROBLEM_NOT_FOUND, STR("that reference is not suppressed"));
	if (rc) return answer_fail_ref(answer, rc);
	write_row(answer, &row);
	return OK;
}

static void submit(struct api_worker *worker, struct http_request *req,
		   int (*work)(struct answer *answer, struct read_thread *thread), bool is_lifted)
{
	struct answer *answer = answer_new(worker, req, work, sizeof(struct suppress_query));
	if (!answer) return;
	struct suppress_query *query = answer->params;
	query->is_lifted = is_lifted;
	if (!param_text(req, STR("reason"), REASON_MAX, &answer->arena, &query->reason)) {
		answer_drop(answer);
		return;
	}
	int rc = arena_str(&answer->arena, http_path_param(req, 0), &query->ref);
	if (!rc) rc = arena_str(&answer->arena, auth_actor(worker, req), &query->actor);
	if (rc) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		answer_drop(answer);
		return;
	}
	answer_submit(answer);
}

static void put_suppression(struct api_worker *worker, struct http_request *req)
{
	submit(worker, req, change, false);
}

static void delete_suppression(struct api_worker *worker, struct http_request *req)
{
	submit(worker, req, change, true);
}

static void get_suppression(struct api_worker *worker, struct http_request *req)
{
	submit(worker, req, get, false);
}

static void get_suppressions(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, list, sizeof(struct suppress_query));
	struct str cursor;
	if (!answer) return;
	struct suppress_query *query = answer->params;
	if (!param_limit(req, &query->limit)) {
		answer_drop(answer);
		return;
	}
	query->has_after = http_query_get(req, STR("cursor"), &cursor);
	if (query->has_after && fragment_id_parse(cursor, &query->after) != OK) {
		param_refuse(req, STR("cursor"), "the 'next' of an earlier page");
		answer_drop(answer);
		return;
	}
	answer_submit(answer);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/suppressions", SCOPE_ERASE, false, true, 0, get_suppressions},
    {HTTP_GET, "/v1/suppressions/{ref}", SCOPE_ERASE, false, true, 0, get_suppression},
    {HTTP_PUT, "/v1/suppressions/{ref}", SCOPE_ERASE, false, false, 4096, put_suppression},
    {HTTP_DELETE, "/v1/suppressions/{ref}", SCOPE_ERASE, false, false, 4096, delete_suppression},
};

int suppressions_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
