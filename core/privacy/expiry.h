/* expiry: events of types that are kept for a shorter time than the rest (journal.event_retention) leave the journal. A sealed segment
 * in which everything is older is written anew with husks in their places (core/journal/rewrite.h): positions, outcomes, counters and
 * what people's features have counted stay. How far each rule has come is kept in the list's environment (core/privacy/list.h).
 *
 * The privacy thread alone runs it: one rewriting at a time. */
#pragma once

#include <stdatomic.h>

#include "config/config.h"
#include "fold/fold.h"
#include "privacy/list.h"

struct expiry;
struct expiry_options {
	struct journal *journal;
	struct people *people;
	struct erasure_list *list;
	const atomic_bool *stop;
};
MUST_USE int expiry_new(const struct expiry_options *options, struct expiry **out);
void expiry_free(struct expiry *expiry);
/* Takes a copy of the rules. Any thread. */
MUST_USE int expiry_set_rules(struct expiry *expiry, const struct conf_event_retention *rules, size_t count);
/* How often to look, in µs; INT64_MAX: there are no rules. Any thread. */
int64_t expiry_interval_us(struct expiry *expiry);
/* All that is due at wall time `now`. ERR_CLOSED: told to stop; ERR_FULL: later, with more room. It may be cut off anywhere. */
MUST_USE int expiry_run(struct expiry *expiry, int64_t now);
