/* consents: what the routes of consent and those of person tokens share. */
#pragma once

#include "api/internal.h"
#include "ingest/ingest.h"

/* A reference by namespace for one by profile id ("id:…", as links carry it); any other as it is. On the worker's thread.
 * ERR_NOT_FOUND: nobody has that id; ERR_INVALID. */
MUST_USE int consents_resolve(struct api_worker *worker, struct str ref, struct arena *arena, struct str *out);
enum problem consents_token_problem(enum person_verdict verdict); /* of one that is not OK */
/* The person that a token's claims speak for. NOT_FOUND: he is no more; TOKEN_USED. */
enum problem consents_person(struct api_worker *worker, struct http_request *req, const struct person_claims *claims,
			     struct ingest_person *out);
