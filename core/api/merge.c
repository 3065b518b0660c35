/* POST /v1/profiles/{merge,unmerge}: what a person says about two others. The word becomes a record of the journal; the fold decides, and
 * the answer tells what came of it. ?dry_run=1 asks a snapshot what would, on the read pool. */
#include <stddef.h>

#include "api/act.h"
#include "api/answer.h"
#include "api/event_json.h"
#include "api/params.h"
#include "base/clock.h"

#define MERGE_BODY_BYTES (8u << 10)

struct refs {
	struct str a, b, note;
	enum people_act_kind kind;
};

/* ── the request ─────────────────────────────────────────────────────────── */

static bool refuse_body(struct http_request *req, enum problem problem, const char *why, const char *pointer)
{
	http_reply_problem(req, problem, str_from(why), str_from(pointer));
	return false;
}

static bool take_ref(struct http_request *req, struct json root, const char *name, const char *pointer, struct str *out)
{
	struct json value;
	struct str text;
	if (!json_get(root, str_from(name), &value) || !json_str(value, &text) || text.len == 0 ||
	    text.len > ACT_REF_MAX)
		return refuse_body(req, PROBLEM_SCHEMA_VIOLATION,
				   "expected {\"a\":\"namespace:value\",\"b\":\"namespace:value\",\"reason\":\"…\"}",
				   pointer);
	if (arena_str(http_arena(req), text, out) == OK) return true;
	return refuse_body(req, PROBLEM_INTERNAL, "", "");
}

static bool take_note(struct http_request *req, struct json root, struct str *out)
{
	struct json value;
	struct str text;
	*out = STR_NONE;
	if (!json_get(root, STR("reason"), &value) || json_type(value) == JSON_NULL) return true;
	if (!json_str(value, &text) || text.len > PEOPLE_NOTE_MAX)
		return refuse_body(req, PROBLEM_SCHEMA_VIOLATION, "reason: a text of at most 500 bytes", "/reason");
	if (arena_str(http_arena(req), text, out) == OK) return true;
	return refuse_body(req, PROBLEM_INTERNAL, "", "");
}

static bool take_refs(struct api_worker *worker, struct http_request *req, struct refs *out)
{
	struct json root;
	const char *why;
	if (json_parse(worker->json, http_body(req), &root, &why) != OK)
		return refuse_body(req, PROBLEM_INVALID_JSON, why, "");
	return take_ref(req, root, "a", "/a", &out->a) && take_ref(req, root, "b", "/b", &out->b) &&
	       take_note(req, root, &out->note);
}

/* False: answered. */
static bool take_dry_run(struct http_request *req, bool *out)
{
	struct str text;
	*out = false;
	if (!http_query(req).len || !http_query_get(req, STR("dry_run"), &text)) return true;
	*out = str_eq(text, STR("1")) || str_eq(text, STR("true"));
	if (*out || str_eq(text, STR("0")) || str_eq(text, STR("false"))) return true;
	param_refuse(req, STR("dry_run"), "must be 1 or 0");
	return false;
}

/* ── dry run ─────────────────────────────────────────────────────────────── */

static void write_key(struct json_out *out, struct str key, struct str value)
{
	jo_key(out, key);
	jo_str(out, value);
}

static void write_id(struct json_out *out, struct str key, const struct fragment_id *id)
{
	char text[FRAGMENT_ID_TEXT_SIZE];
	fragment_id_format(id, text);
	write_key(out, key, str_from(text));
}

static void write_identifiers(struct json_out *out, const struct str *identifiers, size_t count)
{
	jo_key(out, STR("identifiers"));
	jo_array(out);
	for (size_t i = 0; i < count; i++) jo_str(out, identifiers[i]);
	jo_end_array(out);
}

static void open_preview(struct json_out *out, struct str a, struct str b, bool is_allowed, struct str reason)
{
	jo_object(out);
	jo_raw(out, STR("\"ok\":true,\"dryRun\":true"));
	write_key(out, STR("a"), a);
	write_key(out, STR("b"), b);
	jo_key(out, STR("allowed"));
	jo_bool(out, is_allowed);
	if (!is_allowed) write_key(out, STR("reason"), reason);
}

static void write_merge(struct json_out *out, const struct preview_merge *preview)
{
	open_preview(out, preview->a, preview->b, preview->is_allowed, preview->reason);
	jo_key(out, STR("alreadyOne"));
	jo_bool(out, preview->was_one);
	write_id(out, STR("id"), &preview->id);
	write_identifiers(out, preview->identifiers, preview->identifier_count);
	jo_key(out, STR("conflicts"));
	jo_array(out);
	for (size_t i = 0; i < preview->conflict_count; i++) {
		jo_object(out);
		write_key(out, STR("trait"), preview->conflicts[i].name);
		jo_key(out, STR("winner"));
		jo_raw(out, preview->conflicts[i].winner);
		jo_key(out, STR("loser"));
		jo_raw(out, preview->conflicts[i].loser);
		jo_end_object(out);
	}
	jo_end_array(out);
	jo_key(out, STR("limits"));
	jo_array(out);
	for (size_t i = 0; i < preview->limit_count; i++) {
		jo_object(out);
		write_key(out, STR("reason"), preview->limits[i].reason);
		if (preview->limits[i].namespace_.len) write_key(out, STR("namespace"), preview->limits[i].namespace_);
		jo_end_object(out);
	}
	jo_end_array(out);
	jo_end_object(out);
}

static void write_links(struct answer *answer, struct str key, const struct link_row *rows, size_t count)
{
	struct json_out *out = &answer->json;
	jo_key(out, key);
	jo_array(out);
	for (size_t i = 0; i < count; i++) {
		jo_object(out);
		write_key(out, STR("a"), rows[i].a);
		write_key(out, STR("b"), rows[i].b);
		write_key(out, STR("rule"), rows[i].rule);
		event_json_position(out, answer->api, STR("position"), rows[i].seq);
		jo_key(out, STR("at"));
		jo_time(out, rows[i].t);
		jo_end_object(out);
	}
	jo_end_array(out);
}

static void write_unmerge(struct answer *answer, const struct preview_unmerge *preview)
{
	struct json_out *out = &answer->json;
	open_preview(out, preview->a, preview->b, preview->is_allowed, preview->reason);
	write_links(answer, STR("cut"), preview->cut, preview->cut_count);
	write_links(answer, STR("linked"), preview->made, preview->made_count);
	jo_key(out, STR("profiles"));
	jo_array(out);
	for (size_t i = 0; i < preview->group_count; i++) {
		jo_object(out);
		write_id(out, STR("id"), &preview->groups[i].id);
		write_identifiers(out, preview->groups[i].identifiers, preview->groups[i].count);
		jo_end_object(out);
	}
	jo_end_array(out);
	jo_end_object(out);
}

static int preview(struct answer *answer, struct read_thread *thread)
{
	const struct refs *refs = answer->params;
	struct act_preview found;
	int rc = act_preview(thread, refs->kind, refs->a, refs->b, &answer->applied, &found);
	if (rc != OK) return answer_fail_ref(answer, rc);
	if (refs->kind == PEOPLE_MERGE)
		write_merge(&answer->json, &found.merge);
	else
		write_unmerge(answer, &found.unmerge);
	return OK;
}

static void start_preview(struct api_worker *worker, struct http_request *req, const struct refs *refs)
{
	struct answer *answer = answer_new(worker, req, preview, sizeof *refs);
	if (!answer) return;
	struct refs *copy = answer->params;
	*copy = *refs;
	int rc = arena_str(&answer->arena, refs->a, &copy->a);
	if (rc == OK) rc = arena_str(&answer->arena, refs->b, &copy->b);
	if (rc == OK) {
		answer_submit(answer);
		return;
	}
	http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	answer_drop(answer);
}

/* ── the act ─────────────────────────────────────────────────────────────── */

struct pending { /* lies in the request's arena */
	struct http_request *req;
	struct act *act;
};

static void reply_json(struct api_worker *worker, struct http_request *req, int status, const struct json_out *out)
{
	if (out->status == OK)
		http_reply(req, status, MIME_JSON, buf_str(&worker->out));
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	buf_clear(&worker->out);
	buf_shrink(&worker->out, API_BUF_KEEP);
}

static struct str status_of(const struct act_result *result)
{
	if (result->is_pending) return STR("pending");
	if (result->kind == PEOPLE_UNMERGE) return STR("unmerged");
	return result->was_one ? STR("already_one") : STR("merged");
}

static void write_result(struct json_out *out, const struct api *api, const struct act_result *result)
{
	jo_object(out);
	jo_raw(out, STR("\"ok\":true"));
	write_key(out, STR("status"), status_of(result));
	write_key(out, STR("a"), result->a);
	write_key(out, STR("b"), result->b);
	event_json_position(out, api, STR("position"), result->seq);
	if (!result->is_pending) {
		if (result->kind == PEOPLE_MERGE) write_id(out, STR("id"), &result->profile_a);
		jo_key(out, STR("profiles"));
		jo_object(out);
		write_id(out, STR("a"), &result->profile_a);
		write_id(out, STR("b"), &result->profile_b);
		jo_end_object(out);
	}
	jo_end_object(out);
}

static void on_act(struct api_worker *worker, const struct act_result *result, void *ctx)
{
	struct http_request *req = ((struct pending *)ctx)->req;
	struct json_out out;
	char text[POSITION_TEXT_SIZE];
	http_on_abort(req, NULL, NULL);
	if (result->seq)
		http_set_header(req, STR("X-Cdpd-Position"), api_position_text(worker->api, result->seq + 1, text));
	if (result->problem != PROBLEM_NONE) {
		http_reply_problem(req, result->problem, result->message, result->pointer);
		return;
	}
	buf_clear(&worker->out);
	json_out_init(&out, &worker->out);
	write_result(&out, worker->api, result);
	reply_json(worker, req, result->is_pending ? 202 : 200, &out);
}

static void on_client_left(void *ctx)
{
	act_leave(((struct pending *)ctx)->act);
}

static void start_act(struct api_worker *worker, struct http_request *req, const struct refs *refs)
{
	struct pending *pending = arena_new(http_arena(req), struct pending);
	if (!pending) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	pending->req = req;
	const struct act_request request = {
	    .kind = refs->kind, .a = refs->a, .b = refs->b, .note = refs->note, .actor = auth_actor(worker, req)};
	struct act *act = act_start(worker, &request, on_act, pending);
	if (!act) return; /* answered, the request is gone */
	pending->act = act;
	http_on_abort(req, on_client_left, pending);
}

static void take(struct api_worker *worker, struct http_request *req, enum people_act_kind kind)
{
	struct refs refs = {.kind = kind};
	bool is_dry;
	if (!take_dry_run(req, &is_dry) || !take_refs(worker, req, &refs)) return;
	if (is_dry)
		start_preview(worker, req, &refs);
	else
		start_act(worker, req, &refs);
}

static void post_merge(struct api_worker *worker, struct http_request *req)
{
	take(worker, req, PEOPLE_MERGE);
}

static void post_unmerge(struct api_worker *worker, struct http_request *req)
{
	take(worker, req, PEOPLE_UNMERGE);
}

static const struct api_route ROUTES[] = {
    {HTTP_POST, "/v1/profiles/merge", SCOPE_MERGE, false, true, MERGE_BODY_BYTES, post_merge},
    {HTTP_POST, "/v1/profiles/unmerge", SCOPE_MERGE, false, true, MERGE_BODY_BYTES, post_unmerge},
};

int merge_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
