/* identity: which identifiers an event carries, by the active namespaces. */
#pragma once

#include "profile/plan.h"
#include "profile/row.h"

struct identifier {
	struct fragment_id id;
	struct str text, value; /* "namespace:value"; text lies in the identifiers' own memory */
	size_t strength;        /* index of its namespace */
	bool is_blocked;
};

struct identifiers {
	struct identifier items[PLAN_NAMESPACES_MAX]; /* strongest first */
	size_t count;
	char text[PLAN_NAMESPACES_MAX + 2][ROW_IDENTIFIER_MAX];
	size_t text_count;
};

/* Numbers become decimal text, values are normalised (normalize.h); what is then empty or longer than EVENT_IDENTIFIER_MAX is no
 * identifier. A national phone number is one of the source's default country, else of the one an enricher found
 * (enrichment.geo.country). ERR_NOMEM. */
MUST_USE int identifiers_collect(const struct plan *plan, const struct hash_key *key, struct event_view *view,
				 struct identifiers *out);
/* The identifier `value` would be in the namespace that reads `part` (userId, anonymousId); false: none does, or it is no identifier.
 * At most two a collection. */
bool identifier_in(const struct plan *plan, const struct hash_key *key, enum event_part part, struct str value,
		   struct identifiers *memory, struct identifier *out);
/* As people look one up: "namespace:value", the value normalised as an event's is; one that cannot be (a national phone number) is
 * looked for as it is. `plan` may be NULL. ERR_INVALID. */
MUST_USE int identifier_normalize(const struct plan *plan, struct str ref, char out[ROW_IDENTIFIER_MAX],
				  struct str *text);
