#include "api/form_credentials.h"

#include "api/ingest_http.h"
#include "ingest/credentials.h"

/* Reads need no source. A bearer that is no token at all may still be a write key, but keys read nothing. */
static bool may_read(struct api_worker *worker, struct http_request *req)
{
	return auth_allows(worker, req, SCOPE_PROFILES_READ);
}

static bool may_write(struct api_worker *worker, struct http_request *req, struct form_caller *out, bool *to_ingest)
{
	struct ingest_request request;
	struct caller caller;
	ingest_http_fill_request(req, &request);
	const struct config *config = api_worker_live(worker)->config;
	if (credentials_of_request(config, &request, http_arena(req), &caller) != CREDENTIAL_KNOWN ||
	    !(caller.source->rights & RIGHT_DECLARED) || !credentials_allow_origin(caller.source, request.origin)) {
		*to_ingest = true;
		return false;
	}
	out->source = caller.source;
	out->is_public = caller.source->kind == SOURCE_BROWSER || caller.source->kind == SOURCE_MOBILE;
	return true;
}

bool form_credentials(struct api_worker *worker, struct http_request *req, enum form_act act, struct str form,
		      struct str body_token, struct form_caller *out, bool *to_ingest)
{
	(void)form, (void)body_token;
	*out = (struct form_caller){.person = STR_NONE};
	*to_ingest = false;
	return act == FORM_ACT_READ ? may_read(worker, req) : may_write(worker, req, out, to_ingest);
}
