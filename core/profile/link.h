/* link: deciding whether the identifiers of one event belong to one person, and keeping the evidence. */
#pragma once

#include "profile/component.h"
#include "profile/link_row.h"

struct link_context { /* of the event being applied */
	const struct cdpd_event *event;
	uint64_t seq;
	int64_t t;
	struct slot *strongest;                        /* its fragment exists */
	struct slot *created[PLAN_NAMESPACES_MAX + 1]; /* fragments that this event made */
	size_t created_count;
	size_t attempt_count; /* that it made so far: their order */
};

/* The fragment of an identifier; made, with nothing learned yet, when it is new. ERR_CORRUPT when another identifier has the same id. */
MUST_USE int fragment_take(struct people *people, const struct identifier *identifier, struct link_context *context,
			   struct slot **out);

/* Tries to link the event's strongest fragment with another identifier, unless that was decided before by the same rules. */
MUST_USE int link_try(struct people *people, struct link_context *context, const struct identifier *other,
		      enum link_rule rule);
/* Writes the row of an attempt or act under both fragments; `identifier`: of link->fragment. */
MUST_USE int link_put_both(struct people *people, const struct link *link, struct str identifier);
