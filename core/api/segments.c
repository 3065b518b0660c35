/* GET /v1/segments, /v1/segments/{name} and its members, on the read pool. */
#include "api/segments.h"

#include "api/answer.h"
#include "api/event_json.h"
#include "api/params.h"
#include "api/profile_json.h"
#include "profile/segment.h"

#define NAME_MAX_BYTES 64

struct segment_query {
	struct str name;
	size_t limit;
	struct fragment_id after;
	bool has_after;
};

/* ── progress ────────────────────────────────────────────────────────────── */

void segments_write_progress(struct json_out *out, const struct api *api)
{
	struct segment_progress progress;
	people_segment_progress(api->people, &progress);
	jo_key(out, STR("defined"));
	jo_uint(out, progress.defined);
	jo_key(out, STR("nextDueAt"));
	if (progress.next_due == INT64_MAX)
		jo_null(out);
	else
		jo_time(out, progress.next_due);
	jo_key(out, STR("held"));
	jo_bool(out, progress.is_held);
	jo_key(out, STR("evaluating"));
	if (!progress.scan_seq) {
		jo_null(out);
		return;
	}
	jo_object(out);
	event_json_position(out, api, STR("position"), progress.scan_seq);
	jo_key(out, STR("evaluated"));
	jo_uint(out, progress.scan_count);
	jo_key(out, STR("percent"));
	jo_double(out, progress.scan_permille / 10.0);
	jo_end_object(out);
}

/* ── definitions ─────────────────────────────────────────────────────────── */

static void write_info(struct json_out *out, const struct segment_info *info)
{
	jo_key(out, STR("name"));
	jo_str(out, info->name);
	jo_key(out, STR("when"));
	jo_raw(out, info->when);
	jo_key(out, STR("members"));
	jo_uint(out, info->members);
}

static int list_segments(struct answer *answer, struct read_thread *thread)
{
	struct segment_info *items;
	struct json_out *out = &answer->json;
	size_t count;
	int rc = people_read_begin(thread->people, &answer->applied);
	if (rc != OK) return rc;
	rc = people_segments(thread->people, &thread->scratch, &items, &count);
	people_read_end(thread->people);
	if (rc != OK) return rc;
	jo_object(out);
	jo_key(out, STR("segments"));
	jo_array(out);
	for (size_t i = 0; i < count; i++) {
		jo_object(out);
		write_info(out, &items[i]);
		jo_end_object(out);
	}
	jo_end_array(out);
	segments_write_progress(out, answer->api);
	jo_key(out, STR("next"));
	jo_null(out);
	jo_end_object(out);
	return OK;
}

static int fail_name(struct answer *answer, int rc)
{
	return rc == ERR_NOT_FOUND ? answer_fail(answer, PROBLEM_NOT_FOUND, STR("there is no segment of that name"))
				   : rc;
}

static int show_segment(struct answer *answer, struct read_thread *thread)
{
	const struct segment_query *query = answer->params;
	struct segment_info info;
	int rc = people_read_begin(thread->people, &answer->applied);
	if (rc != OK) return rc;
	rc = people_segment(thread->people, query->name, &thread->scratch, &info);
	people_read_end(thread->people);
	if (rc != OK) return fail_name(answer, rc);
	jo_object(&answer->json);
	write_info(&answer->json, &info);
	segments_write_progress(&answer->json, answer->api);
	jo_end_object(&answer->json);
	return OK;
}

/* ── members ─────────────────────────────────────────────────────────────── */

static void write_member(struct json_out *out, const struct segment_member *member)
{
	jo_object(out);
	jo_key(out, STR("id"));
	profile_write_id(out, member->id.bytes);
	jo_key(out, STR("identifier"));
	jo_str(out, member->identifier);
	jo_key(out, STR("since"));
	jo_time(out, member->since);
	jo_end_object(out);
}

static int list_members(struct answer *answer, struct read_thread *thread)
{
	const struct segment_query *query = answer->params;
	struct json_out *out = &answer->json;
	struct segment_member *members;
	size_t count;
	int rc = people_read_begin(thread->people, &answer->applied);
	if (rc != OK) return rc;
	/* One more than asked for: is there a next page? */
	rc = people_segment_members(thread->people, query->name, query->has_after ? &query->after : NULL,
				    query->limit + 1, &thread->scratch, &members, &count);
	people_read_end(thread->people);
	if (rc != OK) return fail_name(answer, rc);
	size_t shown = count > query->limit ? query->limit : count;
	jo_object(out);
	jo_key(out, STR("members"));
	jo_array(out);
	for (size_t i = 0; i < shown; i++) write_member(out, &members[i]);
	jo_end_array(out);
	jo_key(out, STR("next"));
	if (count > shown)
		profile_write_id(out, members[shown - 1].id.bytes);
	else
		jo_null(out);
	jo_end_object(out);
	return OK;
}

/* ── requests ────────────────────────────────────────────────────────────── */

static bool read_after(struct http_request *req, struct segment_query *query)
{
	struct str text;
	if (!http_query_get(req, STR("cursor"), &text)) return true;
	query->has_after = fragment_id_parse(text, &query->after) == OK;
	if (!query->has_after) param_refuse(req, STR("cursor"), "not the next of a page before");
	return query->has_after;
}

static void submit_named(struct api_worker *worker, struct http_request *req,
			 int (*work)(struct answer *answer, struct read_thread *thread))
{
	struct answer *answer = answer_new(worker, req, work, sizeof(struct segment_query));
	if (!answer) return;
	struct segment_query *query = answer->params;
	struct str name = http_path_param(req, 0);
	if (!param_limit(req, &query->limit) || !read_after(req, query)) {
		answer_drop(answer);
	} else if (name.len > NAME_MAX_BYTES || arena_str(&answer->arena, name, &query->name) != OK) {
		http_reply_problem(req, PROBLEM_NOT_FOUND, STR("there is no segment of that name"), STR_NONE);
		answer_drop(answer);
	} else {
		answer_submit(answer);
	}
}

static void get_segments(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, list_segments, 0);
	if (answer) answer_submit(answer);
}

static void get_segment(struct api_worker *worker, struct http_request *req)
{
	submit_named(worker, req, show_segment);
}

static void get_members(struct api_worker *worker, struct http_request *req)
{
	submit_named(worker, req, list_members);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/segments", SCOPE_PROFILES_READ, false, true, 0, get_segments},
    {HTTP_GET, "/v1/segments/{name}", SCOPE_PROFILES_READ, false, true, 0, get_segment},
    {HTTP_GET, "/v1/segments/{name}/members", SCOPE_PROFILES_READ, false, true, 0, get_members},
};

int segments_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
