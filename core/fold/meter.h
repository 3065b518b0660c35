/* meter: the fold's metrics. docs/operations.md says what they mean. */
#pragma once

#include "base/metric.h"
#include "profile/outcome.h"

struct meter {
	struct metric *applied, *lag, *commits, *commit_seconds, *ids, *window, *maybe, *quarantined;
	struct metric *verdicts[OUTCOME_VERDICT_COUNT];
};
void meter_init(struct meter *meter);
/* Verdict counts come from the checkpoint: they are for ever, not since the start. */
void meter_set_verdicts(struct meter *meter, const uint64_t counts[OUTCOME_VERDICT_COUNT]);
