/* POST /v1/profiles/{merge,unmerge}: what a person says about two others. The word becomes a record of the journal; the fold decides, and
 * the answer tells what came of it. ?dry_run=1 asks a snapshot what would, on the read pool. */
#include <stddef.h>

#include "api/answer.h"
#include "api/event_json.h"
#include "api/params.h"
#include "api/position_wait.h"
#include "base/clock.h"
#include "fold/payload.h"

#define MERGE_BODY_BYTES (8u << 10)
#define REF_MAX          ((size_t)400)

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
	if (!json_get(root, str_from(name), &value) || !json_str(value, &text) || text.len == 0 || text.len > REF_MAX)
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
	struct preview_merge merge;
	struct preview_unmerge unmerge;
	int rc = people_read_begin(thread->people, &answer->applied);
	if (rc != OK) return rc;
	if (refs->kind == PEOPLE_MERGE)
		rc = people_preview_merge(thread->people, refs->a, refs->b, clock_wall_us(), &thread->scratch, &merge);
	else
		rc = people_preview_unmerge(thread->people, refs->a, refs->b, &thread->scratch, &unmerge);
	/* Texts borrow the scratch, which holds copies: the snapshot may go. */
	people_read_end(thread->people);
	if (rc != OK) return answer_fail_ref(answer, rc);
	if (refs->kind == PEOPLE_MERGE)
		write_merge(&answer->json, &merge);
	else
		write_unmerge(answer, &unmerge);
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

struct act { /* lies in the request's arena, which stays until the answer */
	struct api_worker *worker;
	struct http_request *req;
	enum people_act_kind kind;
	struct people_act what;
	struct journal_entry entry;
	struct journal_append append;
};

static void fail(struct http_request *req, int status)
{
	log_error(LOG_API, "a merge or unmerge cannot be carried out, answered 500 (%s)", status_str(status));
	http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static void reply_json(struct act *act, int status, const struct json_out *out)
{
	struct api_worker *worker = act->worker;
	if (out->status == OK)
		http_reply(act->req, status, MIME_JSON, buf_str(&worker->out));
	else
		fail(act->req, out->status);
	buf_clear(&worker->out);
	buf_shrink(&worker->out, API_BUF_KEEP);
}

static void open_reply(struct act *act, struct json_out *out, struct str status)
{
	buf_clear(&act->worker->out);
	json_out_init(out, &act->worker->out);
	jo_object(out);
	jo_raw(out, STR("\"ok\":true"));
	write_key(out, STR("status"), status);
	write_key(out, STR("a"), act->what.a);
	write_key(out, STR("b"), act->what.b);
	event_json_position(out, act->worker->api, STR("position"), act->append.first_seq);
}

struct result {
	struct link_row row;
	struct fragment_id a, b; /* profiles */
};

static int read_result(struct act *act, struct result *out)
{
	struct api_worker *worker = act->worker;
	uint64_t applied;
	arena_reset(&worker->scratch);
	int rc = people_read_begin(worker->reader, &applied);
	if (rc != OK) return rc;
	rc = people_find_act(worker->reader, act->kind, act->what.a, act->what.b, act->append.first_seq,
			     &worker->scratch, &out->row);
	if (rc == OK) rc = people_profile_of(worker->reader, act->what.a, &worker->scratch, &out->a);
	if (rc == OK) rc = people_profile_of(worker->reader, act->what.b, &worker->scratch, &out->b);
	people_read_end(worker->reader);
	return rc;
}

static void refuse_act(struct act *act, struct str reason)
{
	enum problem problem;
	if (!problem_from_code(reason, &problem)) problem = PROBLEM_INTERNAL;
	http_reply_problem(act->req, problem, STR_NONE, STR_NONE);
}

static void on_applied(struct api_worker *worker, struct http_request *req, bool is_applied, void *ctx)
{
	struct act *act = ctx;
	struct json_out out;
	struct result result;
	char text[POSITION_TEXT_SIZE];
	http_set_header(req, STR("X-Cdpd-Position"), api_position_text(worker->api, act->append.first_seq + 1, text));
	if (!is_applied) { /* durable, and it will be decided: the position can be waited for */
		open_reply(act, &out, STR("pending"));
		jo_end_object(&out);
		reply_json(act, 202, &out);
		return;
	}
	int rc = read_result(act, &result);
	if (rc == ERR_NOT_FOUND) {
		http_reply_problem(req, PROBLEM_TOO_MANY_ACTS, STR_NONE, STR_NONE);
		return;
	}
	if (rc != OK) {
		fail(req, rc);
		return;
	}
	if (!result.row.is_linked) {
		refuse_act(act, result.row.reason);
		return;
	}
	bool is_merge = act->kind == PEOPLE_MERGE;
	open_reply(act, &out, !is_merge ? STR("unmerged") : result.row.was_one ? STR("already_one") : STR("merged"));
	if (is_merge) write_id(&out, STR("id"), &result.a);
	jo_key(&out, STR("profiles"));
	jo_object(&out);
	write_id(&out, STR("a"), &result.a);
	write_id(&out, STR("b"), &result.b);
	jo_end_object(&out);
	jo_end_object(&out);
	reply_json(act, 200, &out);
}

static enum problem problem_of_append(int status)
{
	switch (status) {
	case ERR_BUSY: return PROBLEM_OVERLOADED;
	case ERR_CLOSED: return PROBLEM_SHUTTING_DOWN;
	default: return PROBLEM_NOT_DURABLE;
	}
}

static void on_settled(struct loop_task *task)
{
	struct act *act = (struct act *)((char *)task - offsetof(struct act, append.settled));
	if (act->append.status == OK)
		position_wait(act->worker, act->req, act->append.first_seq, on_applied, act);
	else
		http_reply_problem(act->req, problem_of_append(act->append.status), STR_NONE, STR_NONE);
}

/* Both must exist before anything is written. False: answered. */
static bool resolve(struct act *act, const struct refs *refs)
{
	const struct {
		struct str ref, *out;
		const char *pointer;
	} sides[] = {{refs->a, &act->what.a, "/a"}, {refs->b, &act->what.b, "/b"}};
	struct api_worker *worker = act->worker;
	uint64_t applied;
	arena_reset(&worker->scratch);
	int rc = people_read_begin(worker->reader, &applied);
	for (size_t i = 0; i < COUNT_OF(sides) && rc == OK; i++) {
		struct str text;
		rc = people_resolve(worker->reader, sides[i].ref, &worker->scratch, &text);
		if (rc == OK) rc = arena_str(http_arena(act->req), text, sides[i].out);
		if (rc == OK) continue;
		people_read_end(worker->reader);
		if (rc == ERR_NOT_FOUND)
			return refuse_body(act->req, PROBLEM_NOT_FOUND, "nobody is known by that reference",
					   sides[i].pointer);
		if (rc == ERR_INVALID)
			return refuse_body(act->req, PROBLEM_INVALID_PARAMETER,
					   "a reference is 'namespace:value' or 'id:<profile id>'", sides[i].pointer);
	}
	if (rc != OK) {
		fail(act->req, rc);
		return false;
	}
	people_read_end(worker->reader);
	if (!str_eq(act->what.a, act->what.b)) return true;
	return refuse_body(act->req, PROBLEM_INVALID_PARAMETER, "a and b are the same identifier", "/b");
}

static void start_act(struct api_worker *worker, struct http_request *req, const struct refs *refs)
{
	struct act *act = arena_new(http_arena(req), struct act);
	if (!act) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	act->worker = worker;
	act->req = req;
	act->kind = refs->kind;
	if (!resolve(act, refs)) return;
	act->what.actor = auth_actor(worker, req);
	act->what.note = refs->note;
	act->entry.kind = refs->kind == PEOPLE_MERGE ? RECORD_MERGE : RECORD_UNMERGE;
	int rc = payload_write_act(http_arena(req), &act->what, &act->entry.payload);
	if (rc != OK) {
		fail(req, rc);
		return;
	}
	act->append = (struct journal_append){.entries = &act->entry, .entry_count = 1, .loop = worker->loop};
	act->append.settled.run = on_settled;
	rc = journal_submit(worker->api->journal, &act->append);
	if (rc != OK) http_reply_problem(req, problem_of_append(rc), STR_NONE, STR_NONE);
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
