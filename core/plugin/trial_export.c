/* An exporter in a trial: batches as a destination's thread would hand them over, and what it says of each record. What it does on the other
 * side it does for real. */
#include <stdio.h>

#include "plugin/handover.h"
#include "plugin/trial_internal.h"

#define RECORDS_MAX 500 /* as a destination hands over at once, unless it is told otherwise */
#define PENDING_US  (30 * US_PER_SECOND)

struct verdicts {
	size_t acked, dropped, retried;
};

static int fill(struct trial_run *run, struct handover *handover, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		const struct trial_event *event = &run->events[i];
		struct str name;
		int rc = arena_printf(handover_arena(handover), &name, "trial-%u", event->line);
		struct export_record record = {
		    .position = name,
		    .delivery_id = name,
		    .message_id = event->event.message_id,
		    .profile_id = STR("00000000000000000000000000000001"),
		    .json = event->text,
		    .time_us = event->event.event_time_us,
		    .attempt = 1,
		    .kind = CDPD_RECORD_EVENT,
		};
		if (rc == OK) rc = handover_add(handover, &record);
		if (rc) return rc;
	}
	return OK;
}

static void count(struct trial_run *run, const struct handover *handover, size_t from, struct verdicts *verdicts)
{
	static const char *const names[] = {[CDPD_RETRY] = "retry", [CDPD_ACK] = "ack", [CDPD_DROP] = "drop"};
	for (size_t i = 0; i < handover_count(handover); i++) {
		struct export_verdict verdict = handover_verdict(handover, i);
		size_t *counter = verdict.verdict == CDPD_ACK    ? &verdicts->acked
				  : verdict.verdict == CDPD_DROP ? &verdicts->dropped
								 : &verdicts->retried;
		(*counter)++;
		if (run->trial->prints_answers)
			printf("%u: %s %.*s\n", run->events[from + i].line, names[verdict.verdict],
			       STR_ARG(verdict.reason));
	}
}

static int run_batch(struct trial_run *run, struct cdpd_instance *instance, size_t from, size_t to,
		     struct verdicts *verdicts)
{
	static const _Atomic(bool) never = false;
	struct handover *handover;
	int rc = handover_new(to - from, &handover);
	if (rc) return rc;
	rc = fill(run, handover, from, to);
	trial_at(run, "export_batch", &run->events[from]);
	int64_t began = trial_now_ns();
	if (rc == OK) rc = handover_run(handover, instance, PENDING_US, &never);
	int64_t share = (trial_now_ns() - began) / (int64_t)(to - from);
	for (size_t i = from; i < to; i++) run->took_ns[i] = share;
	if (rc == OK) count(run, handover, from, verdicts);
	if (rc == ERR_TIMEOUT) trial_find(run, "a batch had no answer within 30 s (line %u)", run->events[from].line);
	handover_unref(handover);
	return rc;
}

static int run_batches(struct trial_run *run, struct cdpd_instance *instance)
{
	struct verdicts verdicts = {0};
	int rc = OK;
	for (size_t from = 0; from < run->event_count && rc == OK;) {
		size_t to = from + RECORDS_MAX < run->event_count ? from + RECORDS_MAX : run->event_count;
		rc = run_batch(run, instance, from, to, &verdicts);
		from = to;
	}
	if (rc) return rc == ERR_TIMEOUT ? OK : rc;
	printf("verdicts: %zu ack, %zu drop, %zu retry\n", verdicts.acked, verdicts.dropped, verdicts.retried);
	trial_print_times(run, "export");
	if (verdicts.retried) trial_find(run, "it wants %zu records again", verdicts.retried);
	return OK;
}

int trial_export(struct trial_run *run)
{
	struct cdpd_instance *instance;
	trial_at(run, "create", NULL);
	if (instance_new(run->plugin, str_from(run->table->name), run->conf, true, &instance)) {
		trial_find(run, "create refused the options; the log says why");
		return ERR_REFUSED;
	}
	int rc = run->event_count ? run_batches(run, instance) : OK;
	trial_at(run, "destroy", NULL);
	instance_free(instance);
	return rc;
}
