/* resolve: folding a resolution: the answer of an asynchronous enricher reaches the event, and the features that waited for it. */
#pragma once

#include "fold/worker.h"

/* The event of a record as features see it: with all that was answered so far; `outcome`: the record's. Whoever counts events again uses this, and
 * asks people_await_defer what must not be counted yet. Texts live in fold->arena. In a transaction. ERR_NOMEM, ERR_CORRUPT. */
MUST_USE int resolve_event(struct fold *fold, const struct record *record, const struct outcome *outcome,
			   struct cdpd_event *event);
/* In the record's transaction. ERR_FORMAT: it is none that this version writes, nothing was changed. An answer to a wait that is over changes nothing. */
MUST_USE int resolve_apply(struct fold *fold, const struct record *record);
/* The fold crashed on it: the wait ends, nothing is counted. */
MUST_USE int resolve_leave_out(struct fold *fold, const struct record *record);
