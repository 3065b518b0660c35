/* resolve: folding a resolution: the answer of an asynchronous enricher reaches the event, and the features that waited for it. */
#pragma once

#include "journal/journal.h"
#include "profile/people.h"

struct resolving {             /* into whom, from where */
	struct people *people; /* in a transaction */
	struct journal *journal;
	struct arena *arena; /* texts live in it */
};

/* The event of a record as features see it: with all that was answered so far; `outcome`: the record's. Whoever counts events again uses this, and
 * asks people_await_defer what must not be counted yet. ERR_NOMEM, ERR_CORRUPT. */
MUST_USE int resolve_event(const struct resolving *in, const struct record *record, const struct outcome *outcome,
			   struct cdpd_event *event);
/* ERR_FORMAT: it is none that this version writes, nothing was changed. An answer to a wait that is over changes nothing. */
MUST_USE int resolve_apply(const struct resolving *in, const struct record *record);
/* The fold crashed on it: the wait ends, nothing is counted. */
MUST_USE int resolve_leave_out(const struct resolving *in, const struct record *record);
