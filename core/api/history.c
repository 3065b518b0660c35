/* GET /v1/profiles/{ref}/history: every link attempt, merge and unmerge of a person with its evidence, oldest first, on the read pool. */
#include "api/answer.h"
#include "api/event_json.h"
#include "api/internal.h"
#include "api/params.h"
#include "api/profile_json.h"
#include "base/clock.h"

struct history_query {
	struct str ref;
	size_t limit;
	uint64_t after;
};

/* What somebody said, and why. An unmerge is a cannot-link while it is in force. */
static void write_act(struct json_out *out, const struct link_row *row)
{
	if (row->is_unmerge) {
		jo_key(out, STR("cannotLink"));
		jo_bool(out, row->is_linked && !row->is_lifted);
	}
	jo_key(out, STR("actor"));
	jo_str(out, row->actor);
	jo_key(out, STR("note"));
	jo_str(out, row->note);
}

static void write_row(struct answer *answer, const struct link_row *row)
{
	struct json_out *out = &answer->json;
	jo_object(out);
	jo_key(out, STR("a"));
	jo_str(out, row->a);
	jo_key(out, STR("b"));
	jo_str(out, row->b);
	jo_key(out, STR("linked"));
	jo_bool(out, row->is_linked && !row->is_unmerge);
	if (!row->is_linked) {
		jo_key(out, STR("reason"));
		jo_str(out, row->reason);
	}
	jo_key(out, STR("rule"));
	jo_str(out, row->rule);
	if (row->is_act) write_act(out, row);
	event_json_position(out, answer->api, STR("position"), row->seq);
	jo_key(out, STR("at"));
	jo_time(out, row->t);
	jo_end_object(out);
}

/* One event may try several links: a page ends between positions, never inside one. Returns the cursor; 0: that was all. */
static uint64_t write_rows(struct answer *answer, const struct history_query *query, const struct link_row *rows,
			   size_t count)
{
	size_t written = 0;
	uint64_t last = 0;
	for (size_t i = 0; i < count; i++) {
		if (rows[i].seq <= query->after) continue;
		if (written >= query->limit && rows[i].seq != last) return last;
		write_row(answer, &rows[i]);
		last = rows[i].seq;
		written++;
	}
	return 0;
}

static int read_links(struct answer *answer, struct read_thread *thread, struct profile *profile,
		      struct link_row **rows, size_t *count)
{
	const struct history_query *query = answer->params;
	int rc = people_read_begin(thread->people, &answer->applied);
	if (rc != OK) return rc;
	rc = people_get(thread->people, query->ref, PROFILE_IDENTIFIERS, clock_wall_us(), &thread->scratch, profile);
	if (rc == OK) rc = people_links(thread->people, profile, &thread->scratch, rows, count);
	people_read_end(thread->people);
	return rc;
}

static int list_history(struct answer *answer, struct read_thread *thread)
{
	struct profile profile;
	struct link_row *rows;
	size_t count;
	int rc = read_links(answer, thread, &profile, &rows, &count);
	if (rc != OK) return answer_fail_ref(answer, rc);
	struct json_out *out = &answer->json;
	jo_object(out);
	profile_write_ids(out, &profile);
	jo_key(out, STR("links"));
	jo_array(out);
	uint64_t cursor = write_rows(answer, answer->params, rows, count);
	jo_end_array(out);
	param_write_next(out, answer->api, cursor != 0, cursor);
	jo_end_object(out);
	return OK;
}

static void get_history(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, list_history, sizeof(struct history_query));
	if (!answer) return;
	struct history_query *query = answer->params;
	if (!param_limit(req, &query->limit) || !param_cursor(worker->api, req, &query->after)) {
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
    {HTTP_GET, "/v1/profiles/{ref}/history", SCOPE_PROFILES_READ, false, true, 0, get_history},
};

int history_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
