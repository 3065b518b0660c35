/* privacy: which fields of an event are left out, replaced by a pseudonym or cut before anything is kept of them, as a tree of names. Part of the
 * config; core/ingest/redact.h does it. */
#pragma once

#include "base/arena.h"

enum privacy_act { PRIVACY_KEEP, PRIVACY_TRUNCATE, PRIVACY_PSEUDONYM, PRIVACY_DROP }; /* of two the stricter counts */

/* As the file says it, for everybody or for one source. */
struct conf_privacy {
	struct str *drop, *pseudonymize; /* "traits.ssn", "products[].note" */
	size_t drop_count, pseudonymize_count;
	enum { TRUNCATE_FALSE, TRUNCATE_TRUE, TRUNCATE_AS_GLOBAL } truncate_ip;
};

struct privacy_rule {
	struct str key;
	enum privacy_act act;       /* of the whole value; KEEP: look below */
	bool is_email;              /* spelled in several ways that are one */
	struct privacy_rule *below; /* names inside the object, or inside each object of an array */
	struct privacy_rule *next;  /* beside it */
};

struct privacy_rules {
	struct privacy_rule root; /* of the message: properties, traits, context, userId … */
	enum privacy_act ip;      /* of the client's address, wherever it was learned */
	bool needs_key;
};

const char *privacy_check_drop(struct str path);
const char *privacy_check_pseudonym(struct str path);
/* What holds for one source: both together. *out is NULL when that is nothing. ERR_NOMEM. `of_source` may be NULL. */
MUST_USE int privacy_compile(struct arena *arena, const struct conf_privacy *global,
			     const struct conf_privacy *of_source, const struct privacy_rules **out);
/* What may not be of the file that holds the key ("must not be …"), or NULL; one that is not there is fine. */
const char *privacy_check_key_file(const char *path);

static inline const struct privacy_rule *privacy_find(const struct privacy_rule *rule, struct str key)
{
	for (const struct privacy_rule *at = rule->below; at; at = at->next)
		if (str_eq(at->key, key)) return at;
	return NULL;
}
