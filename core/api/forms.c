/* Zero-party data: forms are read by anybody, answered with person tokens or by sources that may, and what was answered
 * becomes one event of declared traits (core/ingest/form_event.c). The preference centre is the form "preferences". */
#include "api/forms.h"
#include "api/form_credentials.h"
#include "api/form_person.h"
#include "api/form_results.h"
#include "api/ingest_http.h"
#include "api/params.h"
#include "api/position_wait.h"

#define RESPONSE_BYTES (256u << 10)
#define NEXT_MAX       20
#define PREFERENCES    STR("preferences")

/* ── the definition ────────────────────────────────────────────────────────── */

const struct conf_form *form_of_live(const struct live *live, struct str name)
{
	const struct conf_form *form = config_form(live->config, name);
	if (form) return form;
	const struct stored_form *stored = form_set_form(live->forms, name);
	return stored ? &stored->form : NULL;
}

bool form_hold(struct api_worker *worker, struct http_request *req, struct str name, struct form_held *out)
{
	const struct live *live = api_worker_live(worker);
	*out = (struct form_held){.form = form_of_live(live, name)};
	if (out->form) {
		bool is_stored = !config_form(live->config, name);
		if (is_stored) out->stored = stored_form_ref(form_set_form(live->forms, name));
		out->config = config_ref(live->config);
		return true;
	}
	http_reply_problem(req, PROBLEM_NOT_FOUND,
			   str_eq(name, PREFERENCES) ? STR("no preferences are configured")
						     : STR("there is no form of that name"),
			   STR_NONE);
	return false;
}

void form_release(struct form_held *held)
{
	config_unref(held->config);
	stored_form_unref(held->stored);
}

static void reply_form(struct http_request *req, const struct conf_form *form)
{
	struct str known = http_header(req, STR("If-None-Match"));
	bool is_known = str_eq(known, STR("*")) || memmem(known.ptr, known.len, form->etag.ptr, form->etag.len);
	http_set_header(req, STR("ETag"), form->etag);
	http_set_header(req, STR("Cache-Control"), STR("no-cache"));
	if (is_known)
		http_reply(req, 304, STR_NONE, STR_NONE);
	else
		http_reply(req, 200, MIME_JSON, form->json);
}

static void get_form(struct api_worker *worker, struct http_request *req)
{
	struct form_held held;
	if (!form_hold(worker, req, http_path_param(req, 0), &held)) return;
	reply_form(req, held.form);
	form_release(&held);
}

static void reply_json(struct api_worker *worker, struct http_request *req, const struct json_out *out)
{
	if (out->status == OK)
		http_reply(req, 200, MIME_JSON, buf_str(&worker->out));
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	buf_clear(&worker->out);
	buf_shrink(&worker->out, API_BUF_KEEP);
}

static void write_form(struct json_out *out, const struct conf_form *form)
{
	jo_object(out);
	jo_key(out, STR("name"));
	jo_str(out, form->name);
	jo_key(out, STR("version"));
	jo_uint(out, form->version);
	jo_key(out, STR("kind"));
	jo_str(out, str_from(form_kind_name(form->kind)));
	jo_key(out, STR("questions"));
	jo_uint(out, form->question_count);
	jo_end_object(out);
}

static void list_forms(struct api_worker *worker, struct http_request *req)
{
	const struct live *live = api_worker_live(worker);
	const struct config *config = live->config;
	struct json_out out;
	buf_clear(&worker->out);
	json_out_init(&out, &worker->out);
	jo_object(&out);
	jo_key(&out, STR("forms"));
	jo_array(&out);
	for (size_t i = 0; i < config->form_count; i++) write_form(&out, &config->forms[i]);
	for (size_t i = 0; i < live->forms->count; i++)
		if (!live->forms->items[i]->about.is_deleted) write_form(&out, &live->forms->items[i]->form);
	jo_end_array(&out);
	jo_end_object(&out);
	reply_json(worker, req, &out);
}

/* ── a response ────────────────────────────────────────────────────────────── */

/* One response while it is looked at. Memory is the worker's scratch; what the answer needs later lies in the request's arena. */
struct reception {
	struct api_worker *worker;
	struct http_request *req;
	const struct conf_form *form;
	struct str text;        /* the body, as JSON */
	struct str answers_key; /* its member that holds the answers */
	struct json body;
	struct form_caller caller;
	struct form_response response;
	struct form_person person;
	struct form_known known;
	struct form_verdict verdict;
	struct str response_id, sent_at;
	struct ingest_refusal refusal; /* problem NONE: none */
};

/* From ingest_submit to its answer; lives in the request's arena. */
struct form_call {
	struct http_request *req;
	struct ingest_batch *batch;
	struct str reply;
};

static int refuse(struct reception *r, enum problem problem, struct str pointer, struct str message)
{
	r->refusal = (struct ingest_refusal){problem, pointer, message};
	return ERR_REFUSED;
}

static bool text_member(struct reception *r, struct str key, struct str *out)
{
	struct json value;
	*out = STR_NONE;
	if (!json_get(r->body, key, &value) || json_type(value) == JSON_NULL) return true;
	return json_str(value, out);
}

static int read_text(struct reception *r, struct str key, struct str pointer, size_t max, struct str *out)
{
	if (!text_member(r, key, out)) return refuse(r, PROBLEM_SCHEMA_VIOLATION, pointer, STR("must be a text"));
	if (out->len <= max) return OK;
	return refuse(r, PROBLEM_TOO_LARGE, pointer, STR("is too long"));
}

static int read_version(struct reception *r)
{
	struct json value;
	int64_t version;
	if (!json_get(r->body, STR("version"), &value) || json_type(value) == JSON_NULL) return OK;
	if (!json_int(value, &version) || version < 1 || version > INT32_MAX)
		return refuse(r, PROBLEM_SCHEMA_VIOLATION, STR("/version"), STR("must be a number from 1 on"));
	r->response.version = (uint32_t)version;
	return OK;
}

static int read_partial(struct reception *r)
{
	struct json value;
	if (!json_get(r->body, STR("partial"), &value) || json_type(value) == JSON_NULL) return OK;
	if (json_bool(value, &r->response.is_partial)) return OK;
	return refuse(r, PROBLEM_SCHEMA_VIOLATION, STR("/partial"), STR("must be true or false"));
}

static int read_body(struct reception *r)
{
	const char *why = "";
	struct form_response *response = &r->response;
	if (json_parse(r->worker->json, r->text, &r->body, &why) != OK)
		return refuse(r, PROBLEM_INVALID_JSON, STR_NONE, str_from(why));
	if (json_type(r->body) != JSON_OBJECT)
		return refuse(r, PROBLEM_SCHEMA_VIOLATION, STR_NONE, STR("must be an object"));
	response->has_answers = json_get(r->body, r->answers_key, &response->answers);
	response->has_refused = json_get(r->body, STR("refused"), &response->refused);
	response->has_consents = json_get(r->body, STR("consents"), &response->consents);
	int rc = read_version(r);
	if (rc == OK) rc = read_partial(r);
	if (rc == OK) rc = read_text(r, STR("responseId"), STR("/responseId"), EVENT_ID_MAX, &r->response_id);
	if (rc == OK) rc = read_text(r, STR("sentAt"), STR("/sentAt"), 64, &r->sent_at);
	return rc;
}

static int resolve(struct reception *r, struct str ref)
{
	int rc = form_person_resolve(r->worker, ref, &r->worker->scratch, &r->person);
	if (rc == ERR_NOT_FOUND)
		return refuse(r, PROBLEM_NOT_FOUND, STR("/person"), STR("nobody is known by that reference"));
	if (rc == ERR_INVALID)
		return refuse(r, PROBLEM_INVALID_PARAMETER, STR("/person"),
			      STR("a reference is 'namespace:value' or 'id:<profile id>'"));
	return rc;
}

/* A single-use token names the response too: what it brings a second time is a duplicate. */
static int read_token_person(struct reception *r)
{
	const struct ingest_person *person = &r->caller.person;
	int rc = resolve(r, person->ref);
	r->person.token_id = person->token_id;
	r->person.token_expires = person->token_expires;
	if (person->token_id.len) r->response_id = person->token_id;
	return rc;
}

static int read_person(struct reception *r)
{
	struct str ref;
	if (r->caller.person.ref.len) return read_token_person(r);
	int rc = read_text(r, STR("person"), STR("/person"), 1024, &ref);
	if (rc == OK) rc = read_text(r, STR("userId"), STR("/userId"), EVENT_IDENTIFIER_MAX, &r->person.user_id);
	if (rc == OK)
		rc = read_text(r, STR("anonymousId"), STR("/anonymousId"), EVENT_IDENTIFIER_MAX,
			       &r->person.anonymous_id);
	if (rc != OK || ref.len == 0) return rc;
	if (r->caller.is_public)
		return refuse(
		    r, PROBLEM_FORBIDDEN, STR("/person"),
		    STR("a browser's key answers for its own visitor: give anonymousId or userId, or a person token"));
	struct form_person told = r->person;
	rc = resolve(r, ref);
	if (rc == OK && told.user_id.len && r->person.user_id.len == 0) r->person.user_id = told.user_id;
	if (rc == OK && told.anonymous_id.len) r->person.anonymous_id = told.anonymous_id;
	return rc;
}

/* A key that anybody can read learns nothing of what is known, not even through what is refused. */
static int read_known(struct reception *r)
{
	struct str ref;
	if (r->caller.is_public) return OK;
	const struct config *config = api_worker_live(r->worker)->config;
	int rc = form_person_ref(config, &r->person, &r->worker->scratch, &ref);
	if (rc == OK) rc = form_known_read(r->worker, ref, r->form, &r->worker->scratch, &r->known);
	r->response.has_known = rc == OK && r->known.is_found;
	r->response.known = r->known.answers;
	r->response.known_refused = r->known.refused;
	return rc == ERR_INVALID ? OK : rc; /* no reference can be made of it: ingest says why */
}

static int judge(struct reception *r)
{
	r->response.form = r->form;
	int rc = form_judge(&r->response, &r->worker->scratch, &r->verdict);
	if (rc == ERR_INVALID) return refuse(r, PROBLEM_SCHEMA_VIOLATION, r->verdict.pointer, r->verdict.message);
	return rc;
}

static int (*const response_steps[])(struct reception *r) = {read_body, read_person, read_known, judge};

/* ── its answer ────────────────────────────────────────────────────────────── */

static void write_outcome(struct json_out *out, const struct reception *r)
{
	const struct form_verdict *verdict = &r->verdict;
	jo_object(out);
	jo_raw(out, STR("\"ok\":true,\"success\":true,\"status\":1,\"accepted\":1"));
	jo_key(out, STR("form"));
	jo_str(out, r->form->name);
	jo_key(out, STR("version"));
	jo_uint(out, verdict->version);
	jo_key(out, STR("complete"));
	jo_bool(out, verdict->is_complete);
	if (verdict->has_result && r->form->has_score) {
		jo_key(out, STR("score"));
		jo_uint(out, verdict->score);
	}
	if (verdict->has_result && r->form->has_pass) {
		jo_key(out, STR("passed"));
		jo_bool(out, verdict->is_passed);
	}
	jo_key(out, STR("next"));
	jo_array(out);
	for (size_t i = 0; i < r->form->question_count; i++)
		if (verdict->answers[i].applies && verdict->answers[i].state == ANSWER_NONE)
			jo_str(out, r->form->questions[i].id);
	jo_end_array(out);
	jo_end_object(out);
}

static int keep_outcome(struct reception *r, struct form_call *call)
{
	struct json_out out;
	buf_clear(&r->worker->out);
	json_out_init(&out, &r->worker->out);
	write_outcome(&out, r);
	int rc = out.status;
	if (rc == OK) rc = arena_str(http_arena(r->req), buf_str(&r->worker->out), &call->reply);
	buf_clear(&r->worker->out);
	return rc;
}

static void on_done(void *ctx, const struct ingest_result *result)
{
	struct form_call *call = ctx;
	ingest_http_set_headers(call->req, result);
	if (result->problem == PROBLEM_NONE)
		http_reply(call->req, 200, MIME_JSON, call->reply);
	else
		http_reply_problem(call->req, result->problem, result->message, result->pointer);
}

static void on_abort(void *ctx)
{
	ingest_cancel(((struct form_call *)ctx)->batch);
}

/* Refusals go through ingest too: what was refused is counted and kept like any other reject. */
static void submit(struct reception *r, struct str message)
{
	struct ingest_request request;
	struct form_call *call = arena_new(http_arena(r->req), struct form_call);
	int rc = call ? OK : ERR_NOMEM;
	if (rc == OK && message.len) rc = keep_outcome(r, call);
	if (rc != OK) {
		http_reply_problem(r->req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	call->req = r->req;
	ingest_http_fill(r->req, DIALECT_DECLARED, &request);
	if (r->caller.person.ref.len) {
		request.person = &r->caller.person;
		request.body = STR_NONE; /* its token may stand there, and must not among the rejects */
	}
	if (r->refusal.problem != PROBLEM_NONE) request.refusal = &r->refusal;
	if (message.len) request.body = message;
	struct ingest_batch *batch = ingest_submit(r->worker->ingest, &request, on_done, call);
	if (!batch) return;
	call->batch = batch;
	http_on_abort(r->req, on_abort, call);
}

/* Whose the consents are that came with the answers. */
static int name_acts(struct reception *r)
{
	const struct config *config = api_worker_live(r->worker)->config;
	r->person.tells_consents = config->purpose_count > 0;
	if (r->caller.person.ref.len) return OK;
	return form_person_ref(config, &r->person, &r->worker->scratch, &r->person.ref);
}

static void submit_message(struct reception *r)
{
	struct buf message;
	buf_init(&message, (size_t)4 * RESPONSE_BYTES);
	int rc = name_acts(r);
	if (rc == OK)
		rc = form_write_message(&message, &r->response, &r->verdict, &r->person, r->response_id, r->sent_at);
	if (rc == ERR_TOO_LARGE) (void)refuse(r, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
	if (rc == OK || rc == ERR_TOO_LARGE)
		submit(r, rc == OK ? buf_str(&message) : STR_NONE);
	else
		http_reply_problem(r->req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	buf_fini(&message);
}

/* A person token in the body, for front ends that cannot send headers; lives in the worker's JSON reader. */
static struct str body_token(struct reception *r)
{
	struct str token;
	const char *why;
	if (!memmem(r->text.ptr, r->text.len, "\"token\"", 7)) return STR_NONE;
	if (json_parse(r->worker->json, r->text, &r->body, &why) != OK) return STR_NONE;
	return text_member(r, STR("token"), &token) ? token : STR_NONE;
}

static void receive(struct reception *r)
{
	bool to_ingest;
	int rc = OK;
	arena_reset(&r->worker->scratch);
	if (!form_credentials(r->worker, r->req, FORM_ACT_WRITE, r->form, body_token(r), &r->caller, &to_ingest)) {
		if (to_ingest) submit(r, STR_NONE);
		return;
	}
	for (size_t i = 0; i < COUNT_OF(response_steps) && rc == OK; i++) rc = response_steps[i](r);
	if (rc == OK) {
		submit_message(r);
	} else if (rc == ERR_REFUSED) {
		submit(r, STR_NONE);
	} else {
		log_error(LOG_API, "a form's answers cannot be read, answered 500 (%s)", status_str(rc));
		http_reply_problem(r->req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	}
	form_known_free(&r->known);
}

void form_receive(struct api_worker *worker, struct http_request *req, const struct conf_form *form, bool is_partial,
		  struct str body)
{
	struct reception r = {.worker = worker,
			      .req = req,
			      .form = form,
			      .text = body,
			      .answers_key = is_partial ? PREFERENCES : STR("answers"),
			      .response = {.is_partial = is_partial, .place = is_partial ? "preferences" : NULL},
			      .person = FORM_PERSON_NONE,
			      .response_id = STR_NONE,
			      .sent_at = STR_NONE};
	receive(&r);
}

static void begin(struct api_worker *worker, struct http_request *req, struct str name, bool is_partial)
{
	struct form_held held;
	if (!form_hold(worker, req, name, &held)) return;
	form_receive(worker, req, held.form, is_partial, http_body(req));
	form_release(&held);
}

static void post_response(struct api_worker *worker, struct http_request *req)
{
	begin(worker, req, http_path_param(req, 0), false);
}

/* Each change is an event of declared traits. Consents per channel are told by POST /v1/consents; a preference allows nothing. */
static void put_preferences(struct api_worker *worker, struct http_request *req)
{
	begin(worker, req, PREFERENCES, true);
}

/* ── what a person has answered ────────────────────────────────────────────── */

static void refuse_reading(struct http_request *req, int rc)
{
	if (rc == ERR_INVALID) {
		http_reply_problem(req, PROBLEM_INVALID_PARAMETER,
				   STR("a reference is 'namespace:value' or 'id:<profile id>'"), STR_NONE);
		return;
	}
	log_error(LOG_API, "a person's answers cannot be read, answered 500 (%s)", status_str(rc));
	http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

/* `known` is filled in when it returns true, free it; else the request has been answered. */
static bool read_answers(struct api_worker *worker, struct http_request *req, const struct conf_form *form,
			 struct str token, struct form_known *known)
{
	struct form_caller caller;
	struct str ref;
	bool to_ingest;
	arena_reset(&worker->scratch);
	if (!form_credentials(worker, req, FORM_ACT_READ, form, token, &caller, &to_ingest)) return false;
	ref = caller.person.ref;
	if (ref.len == 0 && !http_query_get(req, STR("person"), &ref)) {
		param_refuse(req, STR("person"), "is needed: whose answers? ('namespace:value')");
		return false;
	}
	int rc = form_known_read(worker, ref, form, &worker->scratch, known);
	if (rc != OK) refuse_reading(req, rc);
	return rc == OK;
}

static bool read_limit(struct http_request *req, size_t *limit)
{
	struct str text;
	uint64_t value = 1;
	if (http_query_get(req, STR("limit"), &text) &&
	    (str_to_u64(text, &value) != OK || value < 1 || value > NEXT_MAX)) {
		param_refuse(req, STR("limit"), "a number from 1 to 20");
		return false;
	}
	*limit = (size_t)value;
	return true;
}

static void write_next(struct json_out *out, const struct conf_form *form, struct str key, const size_t *next,
		       size_t count)
{
	jo_object(out);
	jo_key(out, STR("form"));
	jo_str(out, form->name);
	jo_key(out, STR("version"));
	jo_uint(out, form->version);
	jo_key(out, key);
	jo_array(out);
	for (size_t i = 0; i < count; i++) jo_raw(out, form->questions[next[i]].json);
	jo_end_array(out);
	jo_key(out, STR("done"));
	jo_bool(out, count == 0);
	jo_end_object(out);
}

static int find_next(struct api_worker *worker, const struct conf_form *form, const struct form_known *known,
		     size_t limit, size_t *next, size_t *count)
{
	const struct json *answers = known->is_found ? &known->answers : NULL;
	const struct json *refused = known->is_found ? &known->refused : NULL;
	return form_next(form, answers, refused, &worker->scratch, limit, next, count);
}

void form_reply_next(struct api_worker *worker, struct http_request *req, const struct conf_form *form,
		     struct str token, struct str key)
{
	struct form_known known;
	struct json_out out;
	size_t limit, next[NEXT_MAX], count;
	if (!read_limit(req, &limit) || !read_answers(worker, req, form, token, &known)) return;
	int rc = find_next(worker, form, &known, limit, next, &count);
	form_known_free(&known);
	if (rc != OK) {
		refuse_reading(req, rc);
		return;
	}
	json_out_init(&out, &worker->out);
	write_next(&out, form, key, next, count);
	reply_json(worker, req, &out);
}

static void get_next(struct api_worker *worker, struct http_request *req)
{
	struct form_held held;
	if (!form_hold(worker, req, http_path_param(req, 0), &held)) return;
	form_reply_next(worker, req, held.form, STR_NONE, STR("questions"));
	form_release(&held);
}

static void reply_preferences(struct api_worker *worker, struct http_request *req, const struct conf_form *form)
{
	struct form_known known;
	struct json_out out;
	if (!read_answers(worker, req, form, STR_NONE, &known)) return;
	json_out_init(&out, &worker->out);
	jo_object(&out);
	jo_key(&out, PREFERENCES);
	jo_raw(&out, known.is_found ? STR_NONE : STR("{}"));
	if (known.is_found && out.status == OK) out.status = json_write(&worker->out, known.answers);
	jo_key(&out, STR("form"));
	jo_raw(&out, form->json);
	jo_end_object(&out);
	form_known_free(&known);
	reply_json(worker, req, &out);
}

static void get_preferences(struct api_worker *worker, struct http_request *req)
{
	struct form_held held;
	if (!form_hold(worker, req, PREFERENCES, &held)) return;
	reply_preferences(worker, req, held.form);
	form_release(&held);
}

/* ── routes ────────────────────────────────────────────────────────────────── */

struct form_route {
	unsigned methods;
	const char *path, *scope;
	size_t body_cap;
	api_handler_fn handler;
};

/* "person": a person token, or else what core/api/form_credentials.h says. */
static const struct form_route FORM_ROUTES[] = {
    {HTTP_GET, "/v1/forms/{name}", "", 0, get_form},
    {HTTP_POST, "/v1/forms/{name}/responses", "person", RESPONSE_BYTES, post_response},
    {HTTP_GET, "/v1/forms/{name}/results", "", 0, form_results_get},
    {HTTP_GET, "/v1/forms/{name}/next", "person", 0, get_next},
    {HTTP_GET, "/v1/preferences", "person", 0, get_preferences},
    {HTTP_PUT, "/v1/preferences", "person", RESPONSE_BYTES, put_preferences},
};

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/forms", SCOPE_PROFILES_READ, false, false, 0, list_forms},
};

static void dispatch(struct http_request *req, void *ctx)
{
	const struct form_route *route = ctx;
	position_gate(http_worker(req), req, route->handler);
}

int forms_register(struct router *router)
{
	int rc = api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
	for (size_t i = 0; i < COUNT_OF(FORM_ROUTES) && rc == OK; i++) {
		const struct form_route *from = &FORM_ROUTES[i];
		const struct route route = {.methods = from->methods,
					    .path = from->path,
					    .cors = CORS_PERSON,
					    .body_cap = from->body_cap,
					    .handler = dispatch,
					    .ctx = (void *)(uintptr_t)from, /* only read */
					    .scope = from->scope};
		rc = router_add(router, &route);
	}
	return rc;
}
