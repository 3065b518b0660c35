/* An asynchronous enricher in a trial: a ticket for each event, one after the other; its timers, its cache and the web of the trial run until it is answered. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "plugin/ticket.h"
#include "plugin/trial_internal.h"

#define ANSWER_US       (10 * US_PER_SECOND) /* as a question's deadline, unless configured otherwise */
#define UNANSWERED_MOST 1                    /* then it is asked no more */

struct asking {
	struct trial_run *run;
	struct cdpd_instance *instance;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_settled; /* under the lock: plugins answer from any thread */
	struct ticket *ticket, *kept[UNANSWERED_MOST];
	struct field_path needs[PLUGIN_PATHS_MAX];
	size_t patched, empty, later, failed, unasked, unanswered;
};

static void on_settled(void *ctx, struct ticket *ticket)
{
	struct asking *asking = ctx;
	(void)ticket;
	(void)pthread_mutex_lock(&asking->lock);
	asking->is_settled = true;
	(void)pthread_cond_broadcast(&asking->changed);
	(void)pthread_mutex_unlock(&asking->lock);
}

static bool is_settled(struct asking *asking)
{
	(void)pthread_mutex_lock(&asking->lock);
	bool settled = asking->is_settled;
	(void)pthread_mutex_unlock(&asking->lock);
	return settled;
}

/* A timer, or an answer from another thread. */
static void sleep_until(struct asking *asking, int64_t until_us)
{
	const struct timespec until = {.tv_sec = until_us / US_PER_SECOND, .tv_nsec = until_us % US_PER_SECOND * 1000};
	(void)pthread_mutex_lock(&asking->lock);
	if (!asking->is_settled) (void)pthread_cond_timedwait(&asking->changed, &asking->lock, &until);
	(void)pthread_mutex_unlock(&asking->lock);
}

static bool wait_for_answer(struct asking *asking)
{
	int64_t until = clock_mono_us() + ANSWER_US;
	while (!is_settled(asking)) {
		int64_t now = clock_mono_us(), next = instance_next_timer(asking->instance);
		if (now >= until) return false;
		if (trial_web_turn(asking->run)) continue;
		if (next > now) {
			sleep_until(asking, next < until ? next : until);
			continue;
		}
		instance_run_timers(asking->instance, now);
	}
	return true;
}

/* Does the event have one of what the plugin reads? Others are not asked about. */
static bool is_for(struct asking *asking)
{
	size_t count = asking->run->table->needs.count;
	for (size_t i = 0; i < count; i++) {
		struct cdpd_value value;
		if (enrich_view_get(ticket_owner_view(asking->ticket), &asking->needs[i], &value) == OK &&
		    value.kind != CDPD_VALUE_NONE)
			return true;
	}
	return count == 0;
}

static void take_answer(struct asking *asking, const struct trial_event *event, bool counts)
{
	struct ticket_answer answer = ticket_answer(asking->ticket);
	size_t *which = answer.error == CDPD_ERR_BUSY ? &asking->later
			: answer.error                ? &asking->failed
			: answer.patch.len            ? &asking->patched
						      : &asking->empty;
	if (!counts) return;
	++*which;
	if (!asking->run->trial->prints_answers) return;
	if (answer.error)
		printf("%u: %s (%d%s%.*s)\n", event->line, answer.error == CDPD_ERR_BUSY ? "later" : "failed",
		       answer.error, answer.reason.len ? ", " : "", STR_ARG(answer.reason));
	else
		printf("%u: %.*s\n", event->line, STR_ARG(answer.patch.len ? answer.patch : STR("-")));
}

/* Its ticket stays where it is: the plugin may still answer it. */
static int give_up(struct asking *asking, const struct trial_event *event)
{
	if (!ticket_close(asking->ticket)) return OK; /* this very moment */
	trial_find(asking->run, "a ticket was not answered within 10 s, at %s:%u; the others were not asked",
		   asking->run->trial->events, event->line);
	asking->kept[asking->unanswered++] = asking->ticket;
	return ticket_new(on_settled, asking, &asking->ticket);
}

static int ask(struct asking *asking, size_t index, bool counts)
{
	struct trial_run *run = asking->run;
	struct trial_event *event = &run->events[index];
	*ticket_owner_event(asking->ticket) = event->event;
	(void)pthread_mutex_lock(&asking->lock);
	asking->is_settled = false;
	(void)pthread_mutex_unlock(&asking->lock);
	int rc = ticket_open(asking->ticket, asking->instance);
	if (rc) return rc;
	run->took_ns[index] = 0;
	if (!is_for(asking)) {
		ticket_refuse(asking->ticket);
		ticket_reset(asking->ticket);
		asking->unasked += counts;
		return OK;
	}
	trial_at(run, "enrich_async", event);
	int64_t from = trial_now_ns();
	ticket_ask(asking->ticket);
	bool is_answered = wait_for_answer(asking);
	run->took_ns[index] = trial_now_ns() - from;
	trial_at(run, "between events", event);
	if (!is_answered) return give_up(asking, event);
	take_answer(asking, event, counts);
	ticket_reset(asking->ticket);
	return OK;
}

static void report(struct asking *asking, size_t after_first)
{
	struct trial_run *run = asking->run;
	printf(
	    "answers: %zu with fields, %zu without, %zu later, %zu failed, %zu not asked about (none of its needs)\n",
	    asking->patched, asking->empty, asking->later, asking->failed, asking->unasked);
	trial_web_report(run);
	trial_print_times(run, "enrich_async");
	trial_judge_growth(run, after_first, trial_heap(), "held");
	/* Where nobody answers it must fail. */
	if (asking->failed && run->trial->answers)
		trial_find(run, "it failed on %zu of %zu events", asking->failed, run->event_count);
	if (run->tickets_wrong) trial_find(run, "%u times it answered what was answered", run->tickets_wrong);
}

static int run_passes(struct asking *asking)
{
	struct trial_run *run = asking->run;
	size_t after_first = 0;
	int rc = OK;
	for (unsigned pass = 0; pass < run->trial->passes && rc == OK; pass++) {
		for (size_t i = 0; i < run->event_count && rc == OK && asking->unanswered < UNANSWERED_MOST; i++)
			rc = ask(asking, i, pass == 0);
		if (pass == 0) after_first = trial_heap();
	}
	if (rc == OK) report(asking, after_first);
	return rc;
}

static int begin(struct asking *asking)
{
	const struct cdpd_paths *needs = &asking->run->table->needs;
	pthread_condattr_t attr;
	CHECK(pthread_mutex_init(&asking->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&asking->changed, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
	for (size_t i = 0; i < needs->count; i++) {
		asking->needs[i].text = str_from(needs->items[i]);
		asking->needs[i].head = field_head_of(asking->needs[i].text, &asking->needs[i].rest);
	}
	return ticket_new(on_settled, asking, &asking->ticket);
}

static void end(struct asking *asking)
{
	trial_at(asking->run, "destroy", NULL);
	trial_web_cancel(asking->run);
	instance_free(asking->instance);
	ticket_free(asking->ticket);
	for (size_t i = 0; i < asking->unanswered; i++) {
		ticket_reclaim(asking->kept[i]);
		ticket_free(asking->kept[i]);
	}
	(void)pthread_cond_destroy(&asking->changed);
	(void)pthread_mutex_destroy(&asking->lock);
}

int trial_async(struct trial_run *run)
{
	struct asking asking = {.run = run};
	int rc = trial_web_begin(run);
	if (rc) return rc;
	rc = begin(&asking);
	if (rc == OK) asking.instance = trial_instance(run);
	if (rc == OK && !asking.instance) rc = ERR_REFUSED;
	if (rc == OK && run->event_count) rc = run_passes(&asking);
	end(&asking);
	trial_web_end(run);
	return rc;
}
