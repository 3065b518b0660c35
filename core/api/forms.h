/* forms: what the routes of forms share with those of AMP for Email. */
#pragma once

#include "api/internal.h"
#include "config/form.h"

/* A form in a config or of the store that may be taken away between two steps of a request: whoever has found one holds it. */
struct form_held {
	const struct config *config;
	struct stored_form *stored; /* NULL: it is the config's */
	const struct conf_form *form;
};
/* The form of that name, or NULL; as long as nothing is swapped. */
const struct conf_form *form_of_live(const struct live *live, struct str name);
/* False: there is none, the request has been answered. Else release it. */
MUST_USE bool form_hold(struct api_worker *worker, struct http_request *req, struct str name, struct form_held *out);
void form_release(struct form_held *held);

/* Takes a response and answers the request. `body`: its JSON, followed by BUF_SLACK readable bytes. */
void form_receive(struct api_worker *worker, struct http_request *req, const struct conf_form *form, bool is_partial,
		  struct str body);
/* Answers with the questions to ask next; `token`: a person token that did not come as Bearer, or empty. `key` is the list's. */
void form_reply_next(struct api_worker *worker, struct http_request *req, const struct conf_form *form,
		     struct str token, struct str key);
