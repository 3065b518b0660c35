/* Consent over HTTP: stating it, asking for it, a person's records with their proof, and the log's chain. */
#include "api/consents.h"
#include "api/answer.h"
#include "api/event_json.h"
#include "api/ingest_http.h"
#include "api/notice_json.h"
#include "api/params.h"
#include "api/profile_json.h"
#include "base/clock.h"
#include "base/encode.h"
#include "deliver/notice.h"

#define NAME_MAX_BYTES 64
#define REF_MAX        400
#define VERIFY_SLICE   500 /* rows in one read transaction */
#define BODY_CAP       (64u << 10)

/* ── who is meant ────────────────────────────────────────────────────────── */

int consents_resolve(struct api_worker *worker, struct str ref, struct arena *arena, struct str *out)
{
	struct profile profile;
	uint64_t applied;
	*out = ref;
	if (!str_starts(ref, STR("id:"))) return OK;
	arena_reset(&worker->scratch);
	int rc = people_read_begin(worker->reader, &applied);
	if (rc != OK) return rc;
	rc = people_get(worker->reader, ref, PROFILE_IDENTIFIERS, 0, &worker->scratch, &profile);
	people_read_end(worker->reader);
	for (size_t i = 0; rc == OK && i < profile.identifier_count; i++) {
		const struct profile_identifier *id = &profile.identifiers[i];
		if (memcmp(&id->fragment, &profile.requested_id, sizeof id->fragment) != 0) continue;
		return arena_printf(arena, out, "%.*s:%.*s", STR_ARG(id->namespace_), STR_ARG(id->value));
	}
	return rc == OK ? ERR_NOT_FOUND : rc;
}

enum problem consents_token_problem(enum person_verdict verdict)
{
	return verdict == PERSON_EXPIRED ? PROBLEM_TOKEN_EXPIRED : PROBLEM_INVALID_TOKEN;
}

enum problem consents_person(struct api_worker *worker, struct http_request *req, const struct person_claims *claims,
			     struct ingest_person *out)
{
	char hex[2 * PERSON_TOKEN_ID + 1];
	uint64_t applied, seq;
	*out = (struct ingest_person){.token_id = STR_NONE, .token_expires = claims->expires_us};
	int rc = consents_resolve(worker, claims->person, http_arena(req), &out->ref);
	if (rc == ERR_NOT_FOUND) return PROBLEM_NOT_FOUND;
	if (rc == OK && claims->is_single_use) {
		hex_encode(claims->id, sizeof claims->id, hex);
		rc = arena_str(http_arena(req), str_from(hex), &out->token_id);
		if (rc == OK) rc = people_read_begin(worker->reader, &applied);
		if (rc != OK) return PROBLEM_INTERNAL;
		rc = people_token_used(worker->reader, claims->expires_us, claims->id, &seq);
		people_read_end(worker->reader);
		if (rc == OK) return PROBLEM_TOKEN_USED;
		if (rc == ERR_NOT_FOUND) rc = OK;
	}
	return rc == OK ? PROBLEM_NONE : PROBLEM_INTERNAL;
}

/* ── stating it ──────────────────────────────────────────────────────────── */

/* A body's person given by profile id, as a reference of its namespace. */
static enum problem resolve_body(struct api_worker *worker, struct http_request *req, struct ingest_request *request)
{
	struct json root, value;
	struct str ref;
	const char *why;
	if (!memmem(request->body.ptr, request->body.len, "\"id:", 4)) return PROBLEM_NONE;
	if (json_parse(worker->json, request->body, &root, &why) != OK) return PROBLEM_NONE; /* ingest tells */
	if (!json_get(root, STR("person"), &value) || !json_str(value, &ref) || !str_starts(ref, STR("id:")))
		return PROBLEM_NONE;
	int rc = consents_resolve(worker, ref, http_arena(req), &request->person_ref);
	if (rc == ERR_NOT_FOUND) return PROBLEM_NOT_FOUND;
	if (rc == ERR_INVALID) return PROBLEM_INVALID_IDENTIFIER;
	return rc == OK ? PROBLEM_NONE : PROBLEM_INTERNAL;
}

static enum problem read_person_token(struct api_worker *worker, struct http_request *req, struct str token,
				      struct ingest_request *request)
{
	struct person_claims claims;
	struct ingest_person *person = arena_new(http_arena(req), struct ingest_person);
	if (!person) return PROBLEM_INTERNAL;
	enum person_verdict verdict =
	    person_token_read(api_worker_live(worker)->keys, token, PERSON_CONSENT | PERSON_PREFERENCES,
			      http_received_at_us(req), http_arena(req), &claims);
	if (verdict != PERSON_OK) return consents_token_problem(verdict);
	if (claims.consent.len) return PROBLEM_INVALID_TOKEN; /* confirms one consent and states no other */
	request->person = person;
	return consents_person(worker, req, &claims, person);
}

static void post_consents(struct http_request *req, void *ctx)
{
	(void)ctx;
	struct api_worker *worker = http_worker(req);
	struct ingest_request request;
	enum problem problem = PROBLEM_NONE;
	struct str pointer = STR_NONE;
	ingest_http_fill(req, DIALECT_CONSENT, &request);
	struct str secret = bearer_secret(request.authorization);
	if (person_token_looks_like(secret)) problem = read_person_token(worker, req, secret, &request);
	if (problem == PROBLEM_NONE) {
		problem = resolve_body(worker, req, &request);
		if (problem != PROBLEM_NONE) pointer = STR("/person");
	}
	if (problem == PROBLEM_NONE)
		ingest_http_submit(req, &request, ingest_http_on_done);
	else
		http_reply_problem(req, problem, STR_NONE, pointer);
}

/* ── may one? ────────────────────────────────────────────────────────────── */

static struct str reason_of(const struct consent_answer *answer)
{
	if (answer->state == CONSENT_NONE) return answer->is_person_known ? STR("default") : STR("unknown_person");
	return answer->state == CONSENT_PENDING ? STR("awaiting_confirmation")
						: str_from(consent_state_name(answer->state));
}

static int write_check(struct api_worker *worker, const struct consent_answer *answer, uint64_t applied)
{
	struct json_out out;
	buf_clear(&worker->out);
	json_out_init(&out, &worker->out);
	jo_object(&out);
	jo_key(&out, STR("allowed"));
	jo_bool(&out, answer->is_allowed);
	jo_key(&out, STR("state"));
	jo_str(&out, str_from(consent_state_name(answer->state)));
	jo_key(&out, STR("reason"));
	jo_str(&out, reason_of(answer));
	jo_key(&out, STR("since"));
	if (answer->state == CONSENT_NONE) {
		jo_null(&out);
	} else {
		jo_time(&out, answer->record.time);
		jo_key(&out, STR("basis"));
		jo_str(&out, str_from(lawful_basis_name(answer->record.basis)));
		if (answer->record.expires) {
			jo_key(&out, STR("expiresAt"));
			jo_time(&out, answer->record.expires);
		}
	}
	event_json_position(&out, worker->api, STR("position"), applied ? applied - 1 : 0);
	jo_end_object(&out);
	return out.status;
}

static bool take_query(struct http_request *req, struct str name, size_t max, bool is_needed, struct str *out)
{
	if (http_query_get(req, name, out) && out->len <= max && (out->len || !is_needed)) return true;
	if (!is_needed && !http_query_get(req, name, out)) {
		*out = STR_NONE;
		return true;
	}
	param_refuse(req, name, is_needed ? "is needed" : "is too long");
	return false;
}

/* `is_configured`: the purpose is new, and the fold has not come to its definition yet. */
static void refuse_check(struct http_request *req, int rc, bool is_configured)
{
	enum problem unknown = is_configured ? PROBLEM_NOT_YET_APPLIED : PROBLEM_UNKNOWN_PURPOSE;
	switch (rc) {
	case ERR_REFUSED: http_reply_problem(req, unknown, STR_NONE, STR_NONE); return;
	case ERR_EXISTS: http_reply_problem(req, PROBLEM_UNKNOWN_CHANNEL, STR_NONE, STR_NONE); return;
	case ERR_INVALID:
		http_reply_problem(req, PROBLEM_INVALID_PARAMETER,
				   STR("a person is 'namespace:value' or 'id:<profile id>'"), STR_NONE);
		return;
	default:
		log_error(LOG_API, "a consent cannot be read, answered 500 (%s)", status_str(rc));
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	}
}

static void get_check(struct api_worker *worker, struct http_request *req)
{
	struct str person, purpose, channel;
	struct consent_answer answer;
	uint64_t applied = 0;
	char text[POSITION_TEXT_SIZE];
	if (!take_query(req, STR("person"), REF_MAX, true, &person)) return;
	if (!take_query(req, STR("purpose"), NAME_MAX_BYTES, true, &purpose)) return;
	if (!take_query(req, STR("channel"), NAME_MAX_BYTES, false, &channel)) return;
	arena_reset(&worker->scratch);
	int rc = people_read_begin(worker->reader, &applied);
	if (rc == OK) {
		rc = people_consent_check(worker->reader, person, purpose, channel, clock_wall_us(), &worker->scratch,
					  &answer);
		people_read_end(worker->reader);
	}
	http_set_header(req, STR("X-Cdpd-Position"), api_position_text(worker->api, applied, text));
	if (rc == OK) rc = write_check(worker, &answer, applied);
	if (rc == OK)
		http_reply(req, 200, MIME_JSON, buf_str(&worker->out));
	else
		refuse_check(req, rc, config_purpose(api_worker_live(worker)->config, purpose) != NULL);
	buf_clear(&worker->out);
}

/* ── a person's, with proof ──────────────────────────────────────────────── */

static int write_evidence(struct answer *answer, struct read_thread *thread, uint64_t log)
{
	struct str text;
	int rc = people_consent_proof(thread->people, log, &thread->scratch, &text);
	if (rc != OK && rc != ERR_NOT_FOUND) return rc;
	jo_key(&answer->json, STR("evidence"));
	if (rc == OK)
		jo_raw(&answer->json, text);
	else
		jo_null(&answer->json); /* erased */
	return OK;
}

/* What the destinations that the purpose gates answered when they were told that it was taken back. One that is past it without an answer was
 * not told: it had nothing to lose. */
static int write_destinations(struct answer *answer, struct read_thread *thread, const struct consent *consent)
{
	struct notice_question question = {.seq = consent->position};
	struct notice_status *list = NULL;
	size_t count = 0;
	if (!answer->api->deliver || consent->channel.len) return OK; /* gates ask for the purpose as a whole */
	if (consent->state != CONSENT_WITHDRAWN && consent->state != CONSENT_DENIED) return OK;
	notice_id_of_withdrawal(consent->position, consent->purpose, question.id);
	int rc = deliver_notice_status(answer->api->deliver, &question, &thread->scratch, &list, &count);
	jo_key(&answer->json, STR("destinations"));
	jo_array(&answer->json);
	for (size_t i = 0; i < count; i++)
		if (list[i].state != NOTICE_STATE_PASSED_BY &&
		    people_purpose_gates(thread->people, consent->purpose, list[i].destination))
			notice_json_write(&answer->json, &list[i]);
	jo_end_array(&answer->json);
	return rc;
}

static int write_records(struct answer *answer, struct read_thread *thread, const struct profile *profile)
{
	struct json_out *out = &answer->json;
	jo_key(out, STR("consents"));
	jo_array(out);
	for (size_t i = 0; i < profile->consent_count; i++) {
		jo_object(out);
		profile_write_consent(out, &profile->consents[i]);
		event_json_position(out, answer->api, STR("position"), profile->consents[i].record.position);
		int rc = write_evidence(answer, thread, profile->consents[i].record.log);
		if (rc == OK) rc = write_destinations(answer, thread, &profile->consents[i].record);
		if (rc != OK) return rc;
		jo_end_object(out);
	}
	jo_end_array(out);
	return OK;
}

static int list_consents(struct answer *answer, struct read_thread *thread)
{
	const struct str *ref = answer->params;
	struct profile profile;
	int64_t now = clock_wall_us();
	arena_reset(&thread->scratch);
	int rc = people_read_begin(thread->people, &answer->applied);
	if (rc != OK) return rc;
	rc = people_get(thread->people, *ref, PROFILE_CONSENTS, now, &thread->scratch, &profile);
	if (rc == OK) {
		jo_object(&answer->json);
		profile_write_ids(&answer->json, &profile);
		rc = write_records(answer, thread, &profile);
	} else {
		rc = answer_fail_ref(answer, rc);
	}
	people_read_end(thread->people);
	if (rc != OK || answer->is_failed) return rc;
	jo_key(&answer->json, STR("now"));
	jo_time(&answer->json, now);
	event_json_position(&answer->json, answer->api, STR("position"), answer->applied ? answer->applied - 1 : 0);
	jo_end_object(&answer->json);
	return OK;
}

static void get_consents(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, list_consents, sizeof(struct str));
	if (!answer) return;
	if (arena_str(&answer->arena, http_path_param(req, 0), answer->params) != OK) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		answer_drop(answer);
		return;
	}
	answer_submit(answer);
}

/* ── the chain ───────────────────────────────────────────────────────────── */

static int verify_log(struct answer *answer, struct read_thread *thread)
{
	struct consent_verify verify = {0};
	char head[2 * sizeof verify.head + 1];
	while (!verify.is_done && !answer_is_cancelled(answer)) {
		int rc = people_read_begin(thread->people, &answer->applied);
		if (rc != OK) return rc;
		rc = people_consent_verify(thread->people, VERIFY_SLICE, &verify);
		people_read_end(thread->people);
		if (rc != OK) return rc;
	}
	struct json_out *out = &answer->json;
	hex_encode(verify.head, sizeof verify.head, head);
	jo_object(out);
	jo_key(out, STR("intact"));
	jo_bool(out, verify.broken_at == 0);
	jo_key(out, STR("rows"));
	jo_uint(out, verify.rows);
	jo_key(out, STR("erased"));
	jo_uint(out, verify.erased);
	jo_key(out, STR("head"));
	jo_str(out, str_from(head));
	if (verify.broken_at) {
		jo_key(out, STR("brokenAt"));
		jo_uint(out, verify.broken_at);
		jo_key(out, STR("why"));
		jo_str(out, str_from(verify.why));
	}
	jo_end_object(out);
	return OK;
}

static void get_verify(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, verify_log, 0);
	if (answer) answer_submit(answer);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/consents/check", SCOPE_PROFILES_READ, false, true, 0, get_check},
    {HTTP_GET, "/v1/profiles/{ref}/consents", SCOPE_PROFILES_READ, false, true, 0, get_consents},
    {HTTP_GET, "/v1/admin/consents/verify", SCOPE_ADMIN, true, false, 0, get_verify},
};

int consents_register(struct router *router)
{
	const struct route statement = {.methods = HTTP_POST,
					.path = "/v1/consents",
					.cors = CORS_PERSON,
					.body_cap = BODY_CAP,
					.handler = post_consents,
					.scope = "person"};
	int rc = router_add(router, &statement);
	return rc == OK ? api_add_routes(router, ROUTES, COUNT_OF(ROUTES)) : rc;
}
