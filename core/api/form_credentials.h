/* form_credentials: who may answer a form for whom, and who may ask what was answered. The one place that decides it. */
#pragma once

#include "api/internal.h"

enum form_act {
	FORM_ACT_READ, /* what a person has answered: a token with profiles:read, or a person token */
	FORM_ACT_WRITE /* answers: a source with the right `declared`, or a person token */
};

struct form_caller {
	const struct conf_source *source; /* writes: who speaks. A static one stands for person tokens */
	bool is_checked;                  /* `source` needs no further credentials */
	bool is_public;    /* a browser's or an app's key, which anybody can read: learns nothing of what is known */
	struct str person; /* "namespace:value" that a person token is bound to; empty: the request says who */
	bool is_person_token;
};

/* The bearer's or the body's token, or the write key. `body_token` may be empty. False: the request has been answered, or (writes)
 * *to_ingest is set: nobody is known by these credentials, let ingest say so and count it. */
MUST_USE bool form_credentials(struct api_worker *worker, struct http_request *req, enum form_act act, struct str form,
			       struct str body_token, struct form_caller *out, bool *to_ingest);
