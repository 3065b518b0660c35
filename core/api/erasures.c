/* DELETE /v1/profiles/{ref} and /v1/erasures, on the read pool: a request waits for two small fsyncs. */
#include "api/answer.h"
#include "api/erase.h"
#include "api/internal.h"
#include "api/notice_json.h"
#include "api/params.h"
#include "api/profile_json.h"
#include "base/clock.h"
#include "base/encode.h"

struct erase_query {
	struct erasure_request request;
	bool is_dry_run;
};

static void write_time(struct json_out *out, struct str key, int64_t us)
{
	jo_key(out, key);
	if (us)
		jo_time(out, us);
	else
		jo_null(out);
}

static void write_count(struct json_out *out, struct str key, uint64_t count)
{
	jo_key(out, key);
	jo_uint(out, count);
}

/* ── receipts ────────────────────────────────────────────────────────────── */

static void write_progress(struct json_out *out, const struct erasure *erasure)
{
	jo_key(out, STR("counts"));
	jo_object(out);
	write_count(out, STR("fragments"), erasure->fragment_count);
	write_count(out, STR("events"), erasure->events);
	write_count(out, STR("rejects"), erasure->rejects);
	write_count(out, STR("changes"), erasure->changes);
	write_count(out, STR("segments"), erasure->segments);
	write_count(out, STR("segmentsTotal"), erasure->segments_total);
	write_count(out, STR("segmentsRewritten"), erasure->segments_rewritten);
	jo_end_object(out);
}

/* What each destination answered to the notice. */
static int write_destinations(struct answer *answer, struct read_thread *thread, const struct erasure *erasure)
{
	struct json_out *out = &answer->json;
	struct notice_question question = {.seq = erasure->seq, .is_erasure = true};
	struct notice_status *list = NULL;
	size_t count = 0;
	int rc = OK;
	memcpy(question.id, erasure->receipt, sizeof question.id);
	if (answer->api->deliver)
		rc = deliver_notice_status(answer->api->deliver, &question, &thread->scratch, &list, &count);
	jo_key(out, STR("destinations"));
	jo_array(out);
	for (size_t i = 0; i < count; i++) notice_json_write(out, &list[i]);
	jo_end_array(out);
	return rc;
}

static int write_receipt(struct answer *answer, struct read_thread *thread, const struct erasure *erasure)
{
	char id[RECEIPT_TEXT_SIZE], position[POSITION_TEXT_SIZE];
	struct json_out *out = &answer->json;
	hex_encode(erasure->receipt, RECEIPT_SIZE, id);
	jo_object(out);
	jo_key(out, STR("id"));
	jo_str(out, str_from(id));
	jo_key(out, STR("state"));
	jo_str(out, str_from(erasure_state_name(erasure->state)));
	jo_key(out, STR("scope"));
	jo_str(out, erasure->is_whole ? STR("profile") : STR("identifier"));
	jo_key(out, STR("fragments"));
	jo_array(out);
	for (size_t i = 0; i < erasure->fragment_count; i++) profile_write_id(out, erasure->fragments[i].bytes);
	jo_end_array(out);
	write_progress(out, erasure);
	write_time(out, STR("requestedAt"), erasure->requested_us);
	write_time(out, STR("foldedAt"), erasure->folded_us);
	write_time(out, STR("doneAt"), erasure->done_us);
	jo_key(out, STR("position"));
	if (erasure->seq)
		jo_str(out, api_position_text(answer->api, erasure->seq + 1, position));
	else
		jo_null(out);
	write_count(out, STR("repeats"), erasure->repeats);
	jo_key(out, STR("actor"));
	jo_str(out, erasure->actor);
	jo_key(out, STR("reason"));
	jo_str(out, erasure->reason);
	int rc = write_destinations(answer, thread, erasure);
	jo_end_object(out);
	return rc;
}

/* ── asking ──────────────────────────────────────────────────────────────── */

static int fail(struct answer *answer, int status)
{
	struct str message;
	enum problem problem = erase_problem(status, &message);
	return problem == PROBLEM_INTERNAL ? status : answer_fail(answer, problem, message);
}

/* Those of destinations. */
static int count_letters(struct answer *answer, struct read_thread *thread, const struct erasure_preview *found,
			 bool is_whole, uint64_t *count)
{
	const struct profile *profile = &found->profile;
	size_t total = is_whole ? profile->identifier_count : 1;
	struct fragment_id *ids = arena_array(&thread->scratch, struct fragment_id, total + 1);
	*count = 0;
	if (!ids) return ERR_NOMEM;
	ids[0] = profile->requested_id;
	for (size_t i = 0; is_whole && i < total; i++) ids[i] = profile->identifiers[i].fragment;
	return answer->api->deliver ? deliver_letters_of(answer->api->deliver, ids, total, count) : OK;
}

static int preview(struct answer *answer, struct read_thread *thread)
{
	const struct erase_query *query = answer->params;
	struct erasure_preview found;
	uint64_t letters = 0;
	struct json_out *out = &answer->json;
	int rc = privacy_preview(answer->api->privacy, thread->people, query->request.ref, query->request.is_whole,
				 &thread->scratch, &found);
	if (rc) return fail(answer, rc);
	if ((rc = count_letters(answer, thread, &found, query->request.is_whole, &letters))) return rc;
	struct str *identifiers;
	size_t identifier_count;
	rc = erase_preview_identifiers(&found, query->request.is_whole, &thread->scratch, &identifiers,
				       &identifier_count);
	if (rc) return rc;
	jo_object(out);
	jo_key(out, STR("dryRun"));
	jo_bool(out, true);
	jo_key(out, STR("scope"));
	jo_str(out, query->request.is_whole ? STR("profile") : STR("identifier"));
	profile_write_ids(out, &found.profile);
	jo_key(out, STR("identifiers"));
	jo_array(out);
	for (size_t i = 0; i < identifier_count; i++) jo_str(out, identifiers[i]);
	jo_end_array(out);
	jo_key(out, STR("counts"));
	jo_object(out);
	write_count(out, STR("fragments"), found.fragments);
	write_count(out, STR("remaining"), found.remaining);
	write_count(out, STR("events"), found.events);
	write_count(out, STR("links"), found.links);
	write_count(out, STR("changes"), found.changes);
	write_count(out, STR("segments"), found.segments);
	write_count(out, STR("deadLetters"), letters);
	jo_end_object(out);
	jo_key(out, STR("complete"));
	jo_bool(out, !found.is_cut);
	jo_end_object(out);
	return OK;
}

static int erase(struct answer *answer, struct read_thread *thread)
{
	const struct erase_query *query = answer->params;
	struct erasure erasure;
	if (query->is_dry_run) return preview(answer, thread);
	int rc = privacy_erase(answer->api->privacy, thread->people, &query->request, &thread->scratch, &erasure);
	if (rc) return fail(answer, rc);
	answer->status = 202;
	return write_receipt(answer, thread, &erasure);
}

static bool read_scope(struct http_request *req, bool *is_whole)
{
	struct str scope;
	*is_whole = true;
	if (!http_query_get(req, STR("scope"), &scope) || str_eq(scope, STR("profile"))) return true;
	*is_whole = false;
	if (str_eq(scope, STR("identifier"))) return true;
	param_refuse(req, STR("scope"), "profile or identifier");
	return false;
}

static bool read_dry_run(struct http_request *req, bool *is_dry_run)
{
	struct str text;
	*is_dry_run = false;
	if (!http_query_get(req, STR("dry_run"), &text) || str_eq(text, STR("0")) || str_eq(text, STR("false")))
		return true;
	*is_dry_run = true;
	if (str_eq(text, STR("1")) || str_eq(text, STR("true"))) return true;
	param_refuse(req, STR("dry_run"), "1 or 0");
	return false;
}

static void delete_profile(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, erase, sizeof(struct erase_query));
	if (!answer) return;
	struct erase_query *query = answer->params;
	if (!read_scope(req, &query->request.is_whole) || !read_dry_run(req, &query->is_dry_run) ||
	    !param_text(req, STR("reason"), ERASE_REASON_MAX, &answer->arena, &query->request.reason)) {
		answer_drop(answer);
		return;
	}
	int rc = arena_str(&answer->arena, http_path_param(req, 0), &query->request.ref);
	if (!rc) rc = arena_str(&answer->arena, auth_actor(worker, req), &query->request.actor);
	if (rc) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		answer_drop(answer);
		return;
	}
	answer_submit(answer);
}

/* ── looking ─────────────────────────────────────────────────────────────── */

struct list_query {
	struct str id;
	size_t limit;
	bool has_below;
	uint8_t below[RECEIPT_SIZE];
};

static int get_one(struct answer *answer, struct read_thread *thread)
{
	const struct list_query *query = answer->params;
	struct erasure erasure;
	int rc = privacy_get(answer->api->privacy, query->id, &thread->scratch, &erasure);
	if (rc == ERR_NOT_FOUND) return answer_fail(answer, PROBLEM_NOT_FOUND, STR("no erasure has that id"));
	if (rc) return rc;
	return write_receipt(answer, thread, &erasure);
}

static int get_list(struct answer *answer, struct read_thread *thread)
{
	const struct list_query *query = answer->params;
	struct erasure *list;
	size_t count;
	struct json_out *out = &answer->json;
	int rc = erasure_list_read(privacy_list(answer->api->privacy), query->has_below ? query->below : NULL,
				   query->limit, &thread->scratch, &list, &count);
	if (rc) return rc;
	jo_object(out);
	jo_key(out, STR("erasures"));
	jo_array(out);
	for (size_t i = 0; i < count && rc == OK; i++) rc = write_receipt(answer, thread, &list[i]);
	if (rc) return rc;
	jo_end_array(out);
	jo_key(out, STR("next"));
	if (count == query->limit) {
		char id[RECEIPT_TEXT_SIZE];
		hex_encode(list[count - 1].receipt, RECEIPT_SIZE, id);
		jo_str(out, str_from(id));
	} else {
		jo_null(out);
	}
	jo_end_object(out);
	return OK;
}

static void get_erasure(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, get_one, sizeof(struct list_query));
	if (!answer) return;
	struct list_query *query = answer->params;
	if (arena_str(&answer->arena, http_path_param(req, 0), &query->id)) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		answer_drop(answer);
		return;
	}
	answer_submit(answer);
}

static void get_erasures(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, get_list, sizeof(struct list_query));
	struct str cursor;
	if (!answer) return;
	struct list_query *query = answer->params;
	if (!param_limit(req, &query->limit)) {
		answer_drop(answer);
		return;
	}
	query->has_below = http_query_get(req, STR("cursor"), &cursor);
	if (query->has_below && hex_decode(cursor, query->below, sizeof query->below) != OK) {
		param_refuse(req, STR("cursor"), "the 'next' of an earlier page");
		answer_drop(answer);
		return;
	}
	answer_submit(answer);
}

static const struct api_route ROUTES[] = {
    {HTTP_DELETE, "/v1/profiles/{ref}", SCOPE_ERASE, false, false, 4096, delete_profile},
    {HTTP_GET, "/v1/erasures", SCOPE_ERASE, false, false, 0, get_erasures},
    {HTTP_GET, "/v1/erasures/{id}", SCOPE_ERASE, false, false, 0, get_erasure},
};

int erasures_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
