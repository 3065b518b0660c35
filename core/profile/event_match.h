/* event_match: does an event meet what a feature asks of events (names, types, conditions), and what would it add? For whoever picks
 * events by the same words as features do. One thread uses one. */
#pragma once

#include "config/complaint.h"
#include "event/event.h"

struct event_match;

/* `conf`: a feature of a type that reads as a number, such as count or sum. Its faults go to the complaints. ERR_INVALID, ERR_NOT_FOUND, ERR_NOMEM. */
MUST_USE int event_match_new(const struct conf_feature *conf, struct complaints *complaints, struct event_match **out);
void event_match_free(struct event_match *match);
/* *hit: it is one; *value: what the feature would read after this event alone. ERR_NOMEM. */
MUST_USE int event_match_test(struct event_match *match, const struct cdpd_event *event, bool *hit, double *value);
