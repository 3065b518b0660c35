/* referrer: which page led here, by a table of known hosts. */
#pragma once

#include "text.h"

#define REFERRER_WHY_MAX 200

struct referrers; /* read-only once made */

/* The built-in table; `own` (maybe empty) are lines of the same form that come before it. NULL: why. */
struct referrers *referrers_new(const char *own, size_t own_len, char why[REFERRER_WHY_MAX]);
void referrers_free(struct referrers *referrers); /* NULL is fine */

struct referrer {
	const char *medium;   /* search, social, email, internal, unknown; NULL: the address is none */
	const char *source;   /* NULL: not in the table */
	struct text host;     /* in lower case, without port */
	struct cdpd_str term; /* of a search, as it stands in the address; maybe empty */
};
/* `page`: the address of the page itself (maybe empty); a referrer of the same host, www. aside, is internal. */
void referrer_find(const struct referrers *referrers, struct cdpd_str referrer, struct cdpd_str page,
		   struct referrer *out);
/* The address's host in lower case, without port and "www."; empty: none. */
void referrer_host(struct cdpd_str url, struct text *out);
/* Is `host` the domain or below it? */
bool referrer_is_under(const struct text *host, const char *domain, size_t domain_len);
