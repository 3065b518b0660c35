/* normalize: the one spelling of an identifier's value, so that one address or number is one person however it was typed. The
 * trait keeps the value as it was told.
 *
 *   none   as it is; what holds an '@' loses white space at both ends
 *   email  white space at both ends goes, A-Z become a-z in the whole address (strictly the part before the '@' may tell case
 *          apart; no provider that people use does). It must look like an address: one '@', something before it, a name with a
 *          dot after it, no white space inside
 *   phone  E.164: '+', country calling code, national number. From "+…", "00…" or a national number of the event's country;
 *          spaces, dots, hyphens, slashes and brackets are dropped. What has no country, or is no number, is no identifier
 *
 * A pseudonym ("p_" and 64 hex digits: docs/privacy.md) is the one spelling of what it stands for, in any namespace.
 *
 * Pure functions of their arguments: what they say is part of who is who, on a replay too. */
#pragma once

#include "event/event.h"

enum normalization { NORMALIZE_NONE, NORMALIZE_EMAIL, NORMALIZE_PHONE, NORMALIZATION_COUNT };
const char *normalization_name(enum normalization normalization);
bool normalization_from_name(struct str name, enum normalization *out);

/* The value's one spelling in `out`, which the result borrows; empty: it is no identifier. `country`: of national numbers, ISO
 * 3166-1 alpha-2, may be empty. */
struct str normalize(enum normalization normalization, struct str raw, struct str country,
		     char out[EVENT_IDENTIFIER_MAX]);
