/* form_credentials: who may answer a form for whom, and who may ask what was answered. The one place that decides it. */
#pragma once

#include "api/internal.h"
#include "config/form.h"
#include "ingest/ingest.h"

enum form_act {
	FORM_ACT_READ, /* what a person has answered: a token with profiles:read, or a person token */
	FORM_ACT_WRITE /* answers: a source with the right `declared`, or a person token */
};

struct form_caller {
	struct ingest_person person; /* a person token's; ref empty: there was none */
	bool is_public; /* a browser's or an app's key, which anybody can read: learns nothing of what is known */
};

/* The bearer's or the body's person token, or the write key. Preferences are for person tokens of that purpose, other forms for those of the
 * purpose form. `body_token` may be empty. False: the request has been answered, or (writes) *to_ingest is set: nobody is known by
 * these credentials, let ingest say so and count it. */
MUST_USE bool form_credentials(struct api_worker *worker, struct http_request *req, enum form_act act,
			       const struct conf_form *form, struct str body_token, struct form_caller *out,
			       bool *to_ingest);
