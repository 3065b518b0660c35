/* /v1/admin/destinations/{name}/… and /v1/admin/deadletters: operating destinations, on the read pool. */
#include <stdio.h>

#include "api/answer.h"
#include "api/event_json.h"
#include "api/params.h"
#include "api/profile_json.h"
#include "base/clock.h"
#include "deliver/letter.h"
#include "deliver/preview.h"
#include "deliver/rehearsal.h"

#define NAME_MAX_BYTES 64
#define BODY_BYTES     (128u << 10)
#define REF_MAX        ((size_t)400)

struct order_query {
	struct str name;
	uint64_t seq;
	int64_t since;
	bool has_seq, has_since, is_paused;
	struct str actor;
};

/* ── bodies ──────────────────────────────────────────────────────────────── */

static bool refuse(struct http_request *req, enum problem problem, const char *why, const char *pointer)
{
	http_reply_problem(req, problem, str_from(why), str_from(pointer));
	return false;
}

/* An empty body is an empty object. False: answered. */
static bool read_body(struct api_worker *worker, struct http_request *req, struct json *root)
{
	const char *why;
	struct str body = http_body(req);
	root->doc = NULL;
	if (body.len == 0) return true;
	if (json_parse(worker->json, body, root, &why) != OK) return refuse(req, PROBLEM_INVALID_JSON, why, "");
	if (json_type(*root) != JSON_OBJECT) return refuse(req, PROBLEM_SCHEMA_VIOLATION, "expected an object", "");
	return true;
}

/* *out empty: it is not there. False: answered. */
static bool take_text(struct http_request *req, struct json root, const char *name, size_t max, struct arena *arena,
		      struct str *out)
{
	struct json value;
	struct str text;
	char pointer[40];
	*out = STR_NONE;
	if (!root.doc || !json_get(root, str_from(name), &value) || json_type(value) == JSON_NULL) return true;
	(void)snprintf(pointer, sizeof pointer, "/%s", name);
	if (!json_str(value, &text) || text.len > max || text.len == 0)
		return refuse(req, PROBLEM_SCHEMA_VIOLATION, "expected a text that is not too long", pointer);
	if (arena_str(arena, text, out) == OK) return true;
	return refuse(req, PROBLEM_INTERNAL, "", "");
}

static bool take_position(struct api_worker *worker, struct http_request *req, struct json root, struct arena *arena,
			  bool *has, uint64_t *seq)
{
	struct str text;
	if (!take_text(req, root, "position", POSITION_TEXT_SIZE, arena, &text)) return false;
	*has = text.len > 0;
	return !*has || param_position(worker->api, req, POSITION_JOURNAL, STR("position"), text, seq);
}

/* ── pause, resume, replay ───────────────────────────────────────────────── */

static int fail_order(struct answer *answer, int rc)
{
	switch (rc) {
	case ERR_NOT_FOUND: return answer_fail(answer, PROBLEM_NOT_FOUND, STR("there is no such destination"));
	case ERR_INVALID:
		return answer_fail(answer, PROBLEM_INVALID_PARAMETER,
				   STR("the destination is not that far yet: a replay only goes back"));
	case ERR_REFUSED:
		return answer_fail(answer, PROBLEM_INVALID_PARAMETER,
				   STR("it takes no events: only those are replayed"));
	case ERR_GONE: return answer_fail(answer, PROBLEM_GONE, STR("retention has trimmed that record"));
	case ERR_FULL:
	case ERR_PANIC: return answer_fail(answer, PROBLEM_NOT_DURABLE, STR_NONE);
	default: return rc;
	}
}

static void write_name(struct json_out *out, struct str name)
{
	jo_object(out);
	jo_key(out, STR("destination"));
	jo_str(out, name);
}

static int pause(struct answer *answer, struct read_thread *thread)
{
	const struct order_query *query = answer->params;
	(void)thread;
	int rc = deliver_pause(answer->api->deliver, query->name, query->is_paused);
	if (rc) return fail_order(answer, rc);
	write_name(&answer->json, query->name);
	jo_key(&answer->json, STR("paused"));
	jo_bool(&answer->json, query->is_paused);
	jo_end_object(&answer->json);
	log_info(LOG_API, "destination %.*s was %s by %.*s", STR_ARG(query->name),
		 query->is_paused ? "paused" : "resumed", STR_ARG(query->actor));
	return OK;
}

static int replay(struct answer *answer, struct read_thread *thread)
{
	const struct order_query *query = answer->params;
	uint64_t seq = query->seq, from = 0;
	(void)thread;
	int rc = query->has_since ? deliver_seq_at(answer->api->deliver, query->since, &seq) : OK;
	if (rc == OK) rc = deliver_replay(answer->api->deliver, query->name, seq, &from);
	if (rc) return fail_order(answer, rc);
	write_name(&answer->json, query->name);
	event_json_position(&answer->json, answer->api, STR("from"), from);
	jo_key(&answer->json, STR("complete"));
	jo_bool(&answer->json, from == seq);
	jo_end_object(&answer->json);
	log_info(LOG_API, "destination %.*s goes back by order of %.*s", STR_ARG(query->name), STR_ARG(query->actor));
	return OK;
}

static struct answer *new_order(struct api_worker *worker, struct http_request *req,
				int (*work)(struct answer *answer, struct read_thread *thread))
{
	struct answer *answer = answer_new(worker, req, work, sizeof(struct order_query));
	if (!answer) return NULL;
	struct order_query *query = answer->params;
	if (arena_str(&answer->arena, http_path_param(req, 0), &query->name) == OK &&
	    arena_str(&answer->arena, auth_actor(worker, req), &query->actor) == OK)
		return answer;
	(void)refuse(req, PROBLEM_INTERNAL, "", "");
	answer_drop(answer);
	return NULL;
}

static void post_pause(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = new_order(worker, req, pause);
	if (!answer) return;
	((struct order_query *)answer->params)->is_paused = true;
	answer_submit(answer);
}

static void post_resume(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = new_order(worker, req, pause);
	if (answer) answer_submit(answer);
}

static bool read_replay(struct api_worker *worker, struct http_request *req, struct answer *answer)
{
	struct order_query *query = answer->params;
	struct json root;
	struct str since;
	int16_t offset;
	if (!read_body(worker, req, &root) ||
	    !take_position(worker, req, root, &answer->arena, &query->has_seq, &query->seq) ||
	    !take_text(req, root, "since", 64, &answer->arena, &since))
		return false;
	query->has_since = since.len > 0;
	if (query->has_since && clock_parse(since, &query->since, &offset) != OK)
		return refuse(req, PROBLEM_SCHEMA_VIOLATION, "expected a time such as 2026-11-21T10:00:00Z", "/since");
	if (query->has_since != query->has_seq) return true;
	return refuse(req, PROBLEM_SCHEMA_VIOLATION, "expected either {\"position\": …} or {\"since\": time}", "");
}

static void post_replay(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = new_order(worker, req, replay);
	if (!answer) return;
	if (read_replay(worker, req, answer))
		answer_submit(answer);
	else
		answer_drop(answer);
}

/* ── test ────────────────────────────────────────────────────────────────── */

#define REHEARSAL_US (10 * US_PER_SECOND)

static int rehearse(struct answer *answer, struct read_thread *thread)
{
	const struct order_query *query = answer->params;
	struct json_out *out = &answer->json;
	struct rehearsal_result result;
	(void)thread;
	int rc = deliver_rehearse(answer->api->deliver, query->name, REHEARSAL_US, &answer->arena, &result);
	if (rc == ERR_BUSY)
		return answer_fail(answer, PROBLEM_RATE_LIMITED, STR("another test of this destination is under way"));
	if (rc) return fail_order(answer, rc);
	write_name(out, query->name);
	jo_key(out, STR("verdict"));
	jo_str(out, str_from(result.verdict));
	if (result.reason.len) {
		jo_key(out, STR("reason"));
		jo_str(out, result.reason);
	}
	if (result.retry_after_us) {
		jo_key(out, STR("retryAfterSeconds"));
		jo_double(out, (double)result.retry_after_us / US_PER_SECOND);
	}
	jo_key(out, STR("tookMs"));
	jo_int(out, result.took_us / US_PER_MS);
	if (result.json.len) {
		jo_key(out, STR("record"));
		jo_raw(out, result.json);
	}
	jo_end_object(out);
	log_info(LOG_API, "destination %.*s was tested by %.*s: %s", STR_ARG(query->name), STR_ARG(query->actor),
		 result.verdict);
	return OK;
}

static void post_test(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = new_order(worker, req, rehearse);
	if (answer) answer_submit(answer);
}

/* ── preview ─────────────────────────────────────────────────────────────── */

struct preview_query {
	struct str name, ref, record; /* record: JSON of an event that never was; empty: of the one at seq */
	uint64_t seq;
	bool has_seq;            /* else, without a record: the person's profile */
	struct cdpd_event event; /* type and name */
};

static const struct conf_instance *find_conf(const struct config *config, struct str name)
{
	for (size_t i = 0; i < config->destination_count; i++)
		if (str_eq(config->destinations[i].name, name)) return &config->destinations[i];
	return NULL;
}

static int write_preview(struct answer *answer, const struct preview_query *query, const struct preview *found)
{
	struct json_out *out = &answer->json;
	write_name(out, query->name);
	jo_key(out, STR("verdict"));
	jo_str(out, str_from(preview_verdict_name(found->verdict)));
	if (found->why.len) {
		jo_key(out, STR("reason"));
		jo_str(out, found->why);
	}
	if (found->profile_id.len) {
		jo_key(out, STR("profileId"));
		jo_str(out, found->profile_id);
	}
	if (found->json.len) {
		jo_key(out, STR("record"));
		jo_raw(out, found->json);
	}
	jo_end_object(out);
	return OK;
}

static int preview(struct answer *answer, struct read_thread *thread)
{
	const struct preview_query *query = answer->params;
	const struct config *config = api_config(answer->api);
	const struct conf_instance *conf = find_conf(config, query->name);
	struct preview found;
	int rc = ERR_NOT_FOUND;
	if (conf && query->record.len)
		rc = preview_event(conf, thread->people, thread->json, &query->event, query->record, query->ref,
				   &answer->arena, &found);
	else if (conf && !query->has_seq)
		rc = preview_profile(answer->api->deliver, conf, thread->people, thread->json, query->ref,
				     &answer->arena, &found);
	else if (conf)
		rc = preview_position(answer->api->deliver, config, conf, thread->people, query->seq, &answer->arena,
				      &found);
	config_unref(config);
	if (!conf) return fail_order(answer, ERR_NOT_FOUND);
	if (rc == ERR_INVALID || (rc == ERR_NOT_FOUND && !query->has_seq)) return answer_fail_ref(answer, rc);
	if (rc == ERR_NOT_FOUND)
		return answer_fail(answer, PROBLEM_NOT_FOUND, STR("there is no event at that position"));
	return rc ? fail_order(answer, rc) : write_preview(answer, query, &found);
}

/* The event's own text, and what decides about it. */
static bool take_event(struct http_request *req, struct json event, struct arena *arena, struct preview_query *query)
{
	struct json value;
	struct str text;
	struct buf buf;
	if (json_type(event) != JSON_OBJECT || !json_get(event, STR("type"), &value) || !json_str(value, &text) ||
	    !event_type_from_name(text, &query->event.type))
		return refuse(req, PROBLEM_SCHEMA_VIOLATION,
			      "expected an event: an object with a `type` such as track or identify", "/event");
	query->event.event = STR_NONE;
	if (json_get(event, STR("event"), &value) && json_str(value, &text) &&
	    arena_str(arena, text, &query->event.event) != OK)
		return refuse(req, PROBLEM_INTERNAL, "", "");
	buf_init(&buf, (size_t)2 * BODY_BYTES);
	int rc = json_write(&buf, event);
	if (rc == OK) rc = arena_str(arena, buf_str(&buf), &query->record);
	buf_fini(&buf);
	return rc == OK || refuse(req, PROBLEM_INTERNAL, "", "");
}

static bool read_preview(struct api_worker *worker, struct http_request *req, struct answer *answer)
{
	struct preview_query *query = answer->params;
	struct json root, event;
	if (!read_body(worker, req, &root) ||
	    !take_position(worker, req, root, &answer->arena, &query->has_seq, &query->seq) ||
	    !take_text(req, root, "profile", REF_MAX, &answer->arena, &query->ref))
		return false;
	bool has_event = root.doc && json_get(root, STR("event"), &event);
	if (query->has_seq ? has_event : !has_event && !query->ref.len)
		return refuse(req, PROBLEM_SCHEMA_VIOLATION,
			      "expected one of {\"position\": …}, {\"event\": {…}} and {\"profile\": …}", "");
	return !has_event || take_event(req, event, &answer->arena, query);
}

static void post_preview(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, preview, sizeof(struct preview_query));
	if (!answer) return;
	struct preview_query *query = answer->params;
	query->record = query->ref = STR_NONE;
	bool is_good = arena_str(&answer->arena, http_path_param(req, 0), &query->name) == OK ||
		       refuse(req, PROBLEM_INTERNAL, "", "");
	if (is_good && read_preview(worker, req, answer))
		answer_submit(answer);
	else
		answer_drop(answer);
}

/* ── dead letters ────────────────────────────────────────────────────────── */

struct letters_query {
	struct str name;
	size_t limit;
	struct letter_place after;
	bool has_after;
	enum letter_deed deed;
	enum stream_id stream;
	uint64_t seq;
};

static bool param_place(struct api_worker *worker, struct http_request *req, struct str name, struct str text,
			enum stream_id *id, uint64_t *position)
{
	const struct stream *stream;
	if (stream_place_parse(journal_epoch(worker->api->journal), text, &stream, position) != OK)
		return param_position(worker->api, req, POSITION_JOURNAL, name, text,
				      position); /* which says why not */
	*id = stream->id;
	return true;
}

/* What the journal still holds of it. */
static int write_letter_event(struct answer *answer, struct read_thread *thread, uint64_t seq)
{
	struct json_out *out = &answer->json;
	struct record record;
	struct cdpd_event event;
	int rc = journal_get(answer->api->journal, seq, &thread->scratch, &record);
	if (rc == ERR_GONE || rc == ERR_NOT_FOUND || (rc == OK && record.kind != RECORD_EVENT)) {
		jo_key(out, STR("event"));
		jo_null(out);
		return OK;
	}
	if (rc == OK) rc = event_decode(record.payload, &thread->scratch, &event);
	if (rc) return rc;
	jo_key(out, STR("event"));
	jo_raw(out, STR_NONE);
	rc = event_write_json(out->buf, &event, false);
	out->need_comma = true;
	return rc;
}

static size_t place_text(struct answer *answer, enum stream_id stream, uint64_t position, char out[POSITION_TEXT_SIZE])
{
	const struct stream *source = stream_get(stream) ? stream_get(stream) : &stream_events;
	return stream_place_format(source, journal_epoch(answer->api->journal), position, out);
}

static void write_place(struct answer *answer, struct str key, const struct letter *letter)
{
	char text[POSITION_TEXT_SIZE];
	size_t len = place_text(answer, letter->stream, letter->seq, text);
	jo_key(&answer->json, key);
	jo_str(&answer->json, str_of(text, len));
}

static int write_letter(struct answer *answer, struct read_thread *thread, const struct letter_row *row)
{
	struct json_out *out = &answer->json;
	write_name(out, row->destination);
	write_place(answer, STR("position"), &row->letter);
	jo_key(out, STR("cause"));
	jo_str(out, str_from(letter_cause_name(row->letter.cause)));
	jo_key(out, STR("reason"));
	jo_str(out, str_from(row->letter.reason));
	jo_key(out, STR("attempts"));
	jo_uint(out, row->letter.attempts);
	jo_key(out, STR("queued"));
	jo_bool(out, row->letter.is_queued);
	jo_key(out, STR("at"));
	jo_time(out, row->letter.at_us);
	int rc = write_letter_event(answer, thread, row->letter.journal_seq);
	jo_end_object(out);
	return rc;
}

static int list_letters(struct answer *answer, struct read_thread *thread)
{
	const struct letters_query *query = answer->params;
	struct json_out *out = &answer->json;
	struct letter_row *rows;
	size_t count;
	int rc = deliver_letters(answer->api->deliver, query->name, query->has_after ? &query->after : NULL,
				 query->limit, &thread->scratch, &rows, &count);
	if (rc) return rc;
	jo_object(out);
	jo_key(out, STR("deadLetters"));
	jo_array(out);
	for (size_t i = 0; i < count && rc == OK; i++) rc = write_letter(answer, thread, &rows[i]);
	jo_end_array(out);
	jo_key(out, STR("next"));
	if (rc == OK && count == query->limit) {
		char position[POSITION_TEXT_SIZE];
		struct str next;
		const struct letter_row *last = &rows[count - 1];
		(void)place_text(answer, last->letter.stream, last->letter.seq, position);
		rc = arena_printf(&thread->scratch, &next, "%.*s:%s", STR_ARG(last->destination), position);
		if (rc == OK) jo_str(out, next);
	} else {
		jo_null(out);
	}
	jo_end_object(out);
	return rc;
}

/* "destination:position", as `next` said. */
static bool read_after(struct api_worker *worker, struct http_request *req, struct answer *answer)
{
	struct letters_query *query = answer->params;
	struct str text;
	if (!param_text(req, STR("cursor"), NAME_MAX_BYTES + 1 + POSITION_TEXT_SIZE, &answer->arena, &text))
		return false;
	if (!text.len) return true;
	const char *colon = memchr(text.ptr, ':', text.len);
	if (!colon) {
		param_refuse(req, STR("cursor"), "not a cursor of this list");
		return false;
	}
	query->has_after = true;
	query->after.destination = str_of(text.ptr, (size_t)(colon - text.ptr));
	struct str position = str_of(colon + 1, text.len - query->after.destination.len - 1);
	return param_place(worker, req, STR("cursor"), position, &query->after.stream, &query->after.seq);
}

static void get_letters(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, list_letters, sizeof(struct letters_query));
	if (!answer) return;
	struct letters_query *query = answer->params;
	if (param_limit(req, &query->limit) &&
	    param_text(req, STR("destination"), NAME_MAX_BYTES, &answer->arena, &query->name) &&
	    read_after(worker, req, answer))
		answer_submit(answer);
	else
		answer_drop(answer);
}

static int act_on_letters(struct answer *answer, struct read_thread *thread)
{
	const struct letters_query *query = answer->params;
	struct deliver *deliver = answer->api->deliver;
	bool is_redrive = query->deed == LETTER_REDRIVE;
	uint64_t count;
	(void)thread;
	int rc = is_redrive ? deliver_redrive(deliver, query->name, query->stream, query->seq, &count)
			    : deliver_discard(deliver, query->name, query->stream, query->seq, &count);
	if (rc) return fail_order(answer, rc);
	if (count == 0 && query->seq)
		return answer_fail(answer, PROBLEM_NOT_FOUND,
				   STR("the destination has no dead letter at that position"));
	write_name(&answer->json, query->name);
	jo_key(&answer->json, is_redrive ? STR("queued") : STR("discarded"));
	jo_uint(&answer->json, count);
	jo_end_object(&answer->json);
	return OK;
}

static bool read_act(struct api_worker *worker, struct http_request *req, struct answer *answer)
{
	struct letters_query *query = answer->params;
	struct json root;
	struct str place;
	if (!read_body(worker, req, &root) ||
	    !take_text(req, root, "destination", NAME_MAX_BYTES, &answer->arena, &query->name) ||
	    !take_text(req, root, "position", POSITION_TEXT_SIZE, &answer->arena, &place) ||
	    (place.len && !param_place(worker, req, STR("position"), place, &query->stream, &query->seq)))
		return false;
	if (query->name.len) return true;
	return refuse(req, PROBLEM_SCHEMA_VIOLATION, "say of which destination", "/destination");
}

static void post_act(struct api_worker *worker, struct http_request *req, enum letter_deed deed)
{
	struct answer *answer = answer_new(worker, req, act_on_letters, sizeof(struct letters_query));
	if (!answer) return;
	((struct letters_query *)answer->params)->deed = deed;
	if (read_act(worker, req, answer))
		answer_submit(answer);
	else
		answer_drop(answer);
}

static void post_redrive(struct api_worker *worker, struct http_request *req)
{
	post_act(worker, req, LETTER_REDRIVE);
}

static void post_discard(struct api_worker *worker, struct http_request *req)
{
	post_act(worker, req, LETTER_DISCARD);
}

static const struct api_route ROUTES[] = {
    {HTTP_POST, "/v1/admin/destinations/{name}/pause", SCOPE_ADMIN, true, false, 4096, post_pause},
    {HTTP_POST, "/v1/admin/destinations/{name}/resume", SCOPE_ADMIN, true, false, 4096, post_resume},
    {HTTP_POST, "/v1/admin/destinations/{name}/replay", SCOPE_ADMIN, true, false, 4096, post_replay},
    {HTTP_POST, "/v1/admin/destinations/{name}/test", SCOPE_ADMIN, true, false, 4096, post_test},
    {HTTP_POST, "/v1/admin/destinations/{name}/preview", SCOPE_ADMIN, true, false, BODY_BYTES, post_preview},
    {HTTP_GET, "/v1/admin/deadletters", SCOPE_ADMIN, true, false, 0, get_letters},
    {HTTP_POST, "/v1/admin/deadletters/redrive", SCOPE_ADMIN, true, false, 4096, post_redrive},
    {HTTP_POST, "/v1/admin/deadletters/discard", SCOPE_ADMIN, true, false, 4096, post_discard},
};

int operate_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
