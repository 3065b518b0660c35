/* enrichers: the asynchronous enrichers. One thread follows the waits that the fold notes (core/profile/awaits.h), asks each enricher about its events on the
 * enricher's own thread, and appends what comes of it to the journal: an answer, or that there will be none. It
 * writes nothing else. An event that was answered but whose record is not folded yet is asked again after a crash at most; the fold counts
 * one answer. */
#pragma once

#include "journal/journal.h"
#include "profile/people.h"

struct enrichers;
struct spaces;

/* `spaces` may be NULL. ERR_INVALID: an enricher's options; logged. */
MUST_USE int enrichers_new(struct journal *journal, struct people *people, struct spaces *spaces,
			   const struct config *config, struct enrichers **out);
MUST_USE int enrichers_start(struct enrichers *enrichers);
void enrichers_wake(struct enrichers *enrichers); /* the fold committed; any thread */
/* Changed ones end and begin anew: what they were asked is asked again. Removed ones' waits end. */
MUST_USE int enrichers_reload(struct enrichers *enrichers, const struct config *config);
void enrichers_stop(struct enrichers *enrichers); /* bounded */
void enrichers_free(struct enrichers *enrichers);
