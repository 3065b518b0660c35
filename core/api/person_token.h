/* person_token: signed links that speak for one person: made for one purpose, for a time, perhaps for a single use.
 *
 *   cp1.<key id>.<claims, base64url of JSON>.<HMAC-SHA-256 over all before, base64url>
 *
 * A token is refused for any other purpose than its own, after its end, and when a bit of it was changed; it is never
 * logged. The keys lie in `state/person-keys` of the data directory, one a line, "<id> <64 hex digits>": the first signs, the first two are good. */
#pragma once

#include "base/arena.h"

#define PERSON_TOKEN_MAX 4096 /* bytes of a token */
#define PERSON_TOKEN_ID  16

enum person_purpose { PERSON_CONSENT = 1, PERSON_FORM = 2, PERSON_PREFERENCES = 4 };
const char *person_purpose_name(enum person_purpose purpose);
bool person_purpose_from_name(struct str name, enum person_purpose *out);

struct person_claims {
	enum person_purpose purpose;
	struct str person;           /* "namespace:value" or "id:…" */
	struct str target;           /* where the link leads in the end, or empty */
	struct str form;             /* the only form it answers, or empty */
	struct str consent, channel; /* the consent that using the link confirms, or empty */
	int64_t expires_us;
	uint8_t id[PERSON_TOKEN_ID];
	bool is_single_use;
};

struct person_keys;
/* Makes the file (0600) when there is none. Logged: ERR_INVALID, a file that cannot be read as keys; ERR_IO. */
MUST_USE int person_keys_load(struct str store_path, struct person_keys **out);
void person_keys_free(struct person_keys *keys);

/* ERR_TOO_LARGE: the claims make too long a link. */
MUST_USE int person_token_make(const struct person_keys *keys, const struct person_claims *claims, struct arena *arena,
			       struct str *out);
enum person_verdict { PERSON_OK, PERSON_INVALID, PERSON_EXPIRED };
/* `allowed`: OR of person_purpose. Claims live in the arena. */
enum person_verdict person_token_read(const struct person_keys *keys, struct str token, unsigned allowed,
				      int64_t now_us, struct arena *arena, struct person_claims *out);
bool person_token_looks_like(struct str text);
