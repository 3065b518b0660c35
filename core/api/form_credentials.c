#include "api/form_credentials.h"

#include "api/consents.h"
#include "api/ingest_http.h"
#include "ingest/credentials.h"

/* Keys read nothing. */
static bool may_read(struct api_worker *worker, struct http_request *req)
{
	return auth_allows(worker, req, SCOPE_PROFILES_READ);
}

static bool may_write(struct api_worker *worker, struct http_request *req, struct form_caller *out, bool *to_ingest)
{
	struct ingest_request request;
	struct caller caller;
	ingest_http_fill(req, DIALECT_DECLARED, &request);
	const struct config *config = api_worker_live(worker)->config;
	if (credentials_of_request(config, &request, http_arena(req), &caller) != CREDENTIAL_KNOWN ||
	    !(caller.source->rights & RIGHT_DECLARED) || !credentials_allow_origin(caller.source, request.origin)) {
		*to_ingest = true;
		return false;
	}
	out->is_public = caller.source->kind == SOURCE_BROWSER || caller.source->kind == SOURCE_MOBILE;
	return true;
}

static bool read_token(struct api_worker *worker, struct http_request *req, const struct conf_form *form,
		       struct str token, struct form_caller *out)
{
	struct person_claims claims;
	struct str copy;
	unsigned allowed = form->kind == FORM_PREFERENCES ? PERSON_PREFERENCES : PERSON_FORM;
	enum problem problem = PROBLEM_INTERNAL;
	if (arena_str(http_arena(req), token, &copy) == OK) {
		enum person_verdict verdict = person_token_read(api_worker_live(worker)->keys, copy, allowed,
								http_received_at_us(req), http_arena(req), &claims);
		problem = verdict == PERSON_OK ? consents_person(worker, req, &claims, &out->person)
					       : consents_token_problem(verdict);
	}
	bool is_other = problem == PROBLEM_NONE && claims.form.len && !str_eq(claims.form, form->name);
	if (problem == PROBLEM_NONE && !is_other) return true;
	if (is_other)
		http_reply_problem(req, PROBLEM_FORBIDDEN, STR("the token is for another form"), STR_NONE);
	else
		http_reply_problem(req, problem, STR_NONE, STR_NONE);
	return false;
}

bool form_credentials(struct api_worker *worker, struct http_request *req, enum form_act act,
		      const struct conf_form *form, struct str body_token, struct form_caller *out, bool *to_ingest)
{
	struct str bearer = bearer_secret(http_header(req, STR("Authorization")));
	*out = (struct form_caller){.person = {.ref = STR_NONE, .token_id = STR_NONE}};
	*to_ingest = false;
	if (person_token_looks_like(bearer)) return read_token(worker, req, form, bearer, out);
	if (person_token_looks_like(body_token)) return read_token(worker, req, form, body_token, out);
	return act == FORM_ACT_READ ? may_read(worker, req) : may_write(worker, req, out, to_ingest);
}
