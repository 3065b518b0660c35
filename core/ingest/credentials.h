/* credentials: which source a request speaks for. The first place that names a key decides:
 *
 *   Authorization: Basic base64("key:") or base64("key") or the bare key
 *   Authorization: Bearer key      (an unknown one falls through: OAuth clients put the key into the body)
 *   X-Write-Key: id:secret or id
 *   ?writeKey=
 *   the body's writeKey, api_key or token (never one masked as "id:***") */
#pragma once

#include "ingest/ingest.h"

enum credential { CREDENTIAL_KNOWN, CREDENTIAL_UNKNOWN, CREDENTIAL_NONE /* the body may tell */ };

struct caller {
	const struct conf_source *source; /* KNOWN; borrowed from the config */
	struct str key;                   /* what named it; borrowed from the request or the arena */
};

/* Looks at headers and query. */
enum credential credentials_of_request(const struct config *config, const struct ingest_request *request,
				       struct arena *arena, struct caller *out);
/* Looks at the key the body gave (empty: none). */
enum credential credentials_of_body(const struct config *config, struct str key, struct caller *out);
/* May a page of that Origin use the source's keys? */
bool credentials_allow_origin(const struct conf_source *source, struct str origin);
