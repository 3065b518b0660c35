#include "fold/meter.h"

#include <stdio.h>

void meter_init(struct meter *meter)
{
	meter->applied = metric_get(METRIC_GAUGE, "cdpd_fold_applied_position", NULL,
				    "Records below this position are in the checkpoint.");
	meter->lag =
	    metric_get(METRIC_GAUGE, "cdpd_fold_lag_records", NULL, "Durable records not yet in the checkpoint.");
	meter->commits = metric_get(METRIC_COUNTER, "cdpd_fold_commits_total", NULL, "Transactions of the fold.");
	meter->commit_seconds =
	    metric_get(METRIC_HISTOGRAM, "cdpd_fold_commit_seconds", NULL, "Time of one commit of the fold.");
	meter->ids = metric_get(METRIC_GAUGE, "cdpd_dedup_ids", NULL, "Message ids remembered.");
	meter->window = metric_get(METRIC_GAUGE, "cdpd_dedup_window_seconds", NULL,
				   "Effective dedup window; shorter than configured when the id bound bites.");
	meter->maybe = metric_get(METRIC_COUNTER, "cdpd_maybe_duplicates_total", NULL,
				  "Applied events that are older than the effective dedup window.");
	meter->quarantined = metric_get(METRIC_COUNTER, "cdpd_quarantined_total", NULL,
					"Records left out because the fold crashed on them, since the start.");
	for (int i = OUTCOME_APPLIED; i < OUTCOME_VERDICT_COUNT; i++) {
		char labels[64];
		(void)snprintf(labels, sizeof labels, "verdict=\"%s\"", outcome_verdict_name((enum outcome_verdict)i));
		meter->verdicts[i] =
		    metric_get(METRIC_COUNTER, "cdpd_fold_events_total", labels, "Events by the fold's verdict.");
	}
}

void meter_set_verdicts(struct meter *meter, const uint64_t counts[OUTCOME_VERDICT_COUNT])
{
	for (int i = OUTCOME_APPLIED; i < OUTCOME_VERDICT_COUNT; i++) {
		metric_set(meter->verdicts[i], (int64_t)counts[i]);
	}
}
