#include <stdio.h>
#include <stdlib.h>

#include "enrich/internal.h"
#include "plugin/isolate.h"

/* ── making and ending ───────────────────────────────────────────────────── */

static struct metric *metric_of(const struct enricher *enricher, enum metric_type type, const char *name,
				const char *help)
{
	char labels[INSTANCE_NAME_MAX + 20];
	(void)snprintf(labels, sizeof labels, "enricher=\"%.*s\"", STR_ARG(enricher->name));
	return metric_get(type, name, labels, help);
}

static void make_metrics(struct enricher *e)
{
	e->events = metric_of(e, METRIC_COUNTER, "cdpd_enricher_events_total", "Events handed to the enricher.");
	e->answers = metric_of(e, METRIC_COUNTER, "cdpd_enricher_answers_total", "Events it answered in time.");
	e->errors = metric_of(e, METRIC_COUNTER, "cdpd_enricher_errors_total",
			      "Events the enricher failed on; they went on without it.");
	e->timeouts =
	    metric_of(e, METRIC_COUNTER, "cdpd_enricher_timeouts_total", "Questions it did not answer in time.");
	e->given_up = metric_of(e, METRIC_COUNTER, "cdpd_enricher_given_up_total",
				"Events that went on without its answer for good.");
	e->pauses = metric_of(e, METRIC_COUNTER, "cdpd_enricher_pauses_total",
			      "Times it was paused after too many errors in a row.");
	e->in_flight = metric_of(e, METRIC_GAUGE, "cdpd_enricher_in_flight", "Questions it has not answered yet.");
	e->paused = metric_of(e, METRIC_GAUGE, "cdpd_enricher_paused", "1 while nobody asks it.");
	e->stuck = metric_of(e, METRIC_GAUGE, "cdpd_enricher_stuck", "1 while a call into it does not return.");
	e->seconds = metric_of(e, METRIC_HISTOGRAM, "cdpd_enricher_answer_seconds", "From the question to its answer.");
}

static int copy_texts(struct arena *arena, struct str **texts, size_t count)
{
	struct str *copy = arena_array(arena, struct str, count + 1);
	int rc = copy ? OK : ERR_NOMEM;
	for (size_t i = 0; i < count && !rc; i++) rc = arena_str(arena, (*texts)[i], &copy[i]);
	*texts = copy;
	return rc;
}

int enricher_new(struct enrichers *all, const struct config *config, const struct conf_instance *conf,
		 const struct plugin *plugin, struct plugin_conf *plugin_conf, struct arena *arena,
		 struct enricher **out)
{
	(void)config;
	*out = NULL;
	struct enricher *e = calloc(1, sizeof *e);
	if (!e) return ERR_NOMEM;
	e->all = all;
	e->plugin = plugin;
	e->conf = plugin_conf;
	e->arena = *arena; /* takes it over: the options lie in it */
	e->async = conf->async;
	e->pause_us = BREAKER_PAUSE_US;
	if (plugin_is_batched(plugin) && e->async.concurrency < BATCHED_MIN) e->async.concurrency = BATCHED_MIN;
	e->start_after = journal_next_seq(all->journal);
	int rc = arena_str(&e->arena, conf->name, &e->name);
	if (!rc) rc = copy_texts(&e->arena, &e->async.events, e->async.event_count);
	if (!rc) rc = copy_texts(&e->arena, &e->async.http_allow, e->async.http_allow_count);
	e->retries = rc ? NULL : calloc(RETRIES_MAX, sizeof *e->retries);
	if (!rc && !e->retries) rc = ERR_NOMEM;
	if (rc) {
		enricher_free(e);
		return rc;
	}
	e->key = await_key(e->name);
	make_metrics(e);
	*out = e;
	return OK;
}

void enricher_free(struct enricher *e)
{
	while (e->questions) {
		struct question *question = e->questions;
		e->questions = question->next;
		ticket_free(question->ticket);
		free(question);
	}
	runner_free(e->runner);
	free(e->retries);
	arena_fini(&e->arena);
	free(e);
}

static bool is_same_texts(const struct str *a, size_t a_count, const struct str *b, size_t b_count)
{
	if (a_count != b_count) return false;
	for (size_t i = 0; i < a_count; i++)
		if (!str_eq(a[i], b[i])) return false;
	return true;
}

bool enricher_is_same(const struct enricher *a, const struct enricher *b)
{
	const struct conf_async *x = &a->async, *y = &b->async;
	return str_eq(a->name, b->name) && a->plugin == b->plugin && plugin_conf_is_same(a->conf, b->conf) &&
	       x->deadline_ms == y->deadline_ms && x->max_wait_us == y->max_wait_us &&
	       x->concurrency == y->concurrency && x->fail == y->fail && x->http_connections == y->http_connections &&
	       x->http_requests_per_second == y->http_requests_per_second &&
	       is_same_texts(x->http_allow, x->http_allow_count, y->http_allow, y->http_allow_count);
}

static void on_ready(void *ctx, bool is_ready)
{
	struct enricher *e = ctx;
	(void)pthread_mutex_lock(&e->all->lock);
	if (!is_ready) e->was_ended = true;
	e->all->was_woken = true;
	(void)pthread_cond_broadcast(&e->all->changed);
	(void)pthread_mutex_unlock(&e->all->lock);
}

int enricher_start(struct enricher *e)
{
	const struct runner_options options = {.plugin = e->plugin,
					       .name = e->name,
					       .conf = e->conf,
					       .async = &e->async,
					       .spaces = e->all->spaces,
					       .on_ready = on_ready,
					       .ctx = e};
	return e->runner ? OK : runner_new(&options, &e->runner);
}

/* ── results ─────────────────────────────────────────────────────────────── */

/* The outbox has room for every question under way: enricher_turn asks only then. */
static void give_up(struct enricher *e, uint64_t seq, struct str reason)
{
	const struct resolution resolution = {
	    .event_seq = seq, .enricher = e->name, .is_given_up = true, .patch = STR_NONE, .reason = reason};
	if (outbox_put(e->all, &resolution)) metric_add(e->given_up, 1);
}

static int64_t backoff_us(unsigned attempt)
{
	int64_t pause = RETRY_MIN_US;
	for (unsigned i = 1; i < attempt && pause < RETRY_MAX_US; i++) pause *= 2;
	return pause < RETRY_MAX_US ? pause : RETRY_MAX_US;
}

static void ask_again(struct enricher *e, const struct question *question, int64_t due_us)
{
	if (e->retry_count == RETRIES_MAX) {
		give_up(e, question->seq, STR("too many wait to be asked again"));
		return;
	}
	e->retries[e->retry_count++] = (struct retry){question->seq, question->t, due_us, question->attempt};
}

static void pause_asking(struct enricher *e, const char *why)
{
	int64_t now = clock_mono_us();
	if (e->paused_until_us > now) return;
	e->paused_until_us = now + e->pause_us;
	if (e->pause_us == BREAKER_PAUSE_US)
		log_warn(LOG_PLUGIN, "enricher %.*s is not asked for a while, its events wait (%s)", STR_ARG(e->name),
			 why);
	e->pause_us = 2 * e->pause_us < BREAKER_LONGEST_US ? 2 * e->pause_us : BREAKER_LONGEST_US;
	metric_add(e->pauses, 1);
	metric_set(e->paused, 1);
}

static void note_success(struct enricher *e)
{
	if (e->pause_us != BREAKER_PAUSE_US) log_info(LOG_PLUGIN, "enricher %.*s answers again", STR_ARG(e->name));
	e->failures = 0;
	e->pause_us = BREAKER_PAUSE_US;
	metric_set(e->paused, 0);
}

/* `fail: open`: the event goes on without. */
static void fail(struct enricher *e, const struct question *question, struct str reason)
{
	if (e->async.fail == ENRICH_FAIL_CLOSED)
		ask_again(e, question, clock_mono_us() + backoff_us(question->attempt));
	else
		give_up(e, question->seq, reason);
	e->failures++;
	bool is_probe = e->pause_us != BREAKER_PAUSE_US;
	if (e->failures >= BREAKER_FAILURES || is_probe) pause_asking(e, "too many failures in a row");
}

static void take_answer(struct enricher *e, struct question *question)
{
	struct ticket_answer answer = ticket_answer(question->ticket);
	metric_observe_us(e->seconds, clock_mono_us() - question->asked_at);
	if (answer.error == CDPD_OK) {
		const struct resolution resolution = {
		    .event_seq = question->seq, .enricher = e->name, .patch = answer.patch, .reason = STR_NONE};
		metric_add(e->answers, 1);
		note_success(e);
		if (!outbox_put(e->all, &resolution)) ask_again(e, question, clock_mono_us());
	} else if (answer.error == CDPD_ERR_BUSY) {
		ask_again(e, question, clock_mono_us() + backoff_us(question->attempt));
		pause_asking(e, "it asked for a pause");
	} else {
		metric_add(e->errors, 1);
		fail(e, question, answer.reason.len ? answer.reason : STR("error"));
	}
}

void enricher_settle(struct enricher *e, struct question *question)
{
	if (ticket_state(question->ticket) == TICKET_ANSWERED) take_answer(e, question);
	if (question->is_abandoned)
		e->abandoned--;
	else
		e->asked--;
	question->is_asked = question->is_abandoned = false;
	ticket_reset(question->ticket);
}

/* ── time ────────────────────────────────────────────────────────────────── */

static void abandon(struct enricher *e, struct question *question)
{
	question->is_abandoned = true;
	e->asked--;
	e->abandoned++;
}

static void look_at_deadlines(struct enricher *e, int64_t now, int64_t *due_us)
{
	for (struct question *question = e->questions; question; question = question->next) {
		if (!question->is_asked || question->is_abandoned) continue;
		if (question->deadline_us > now) {
			if (question->deadline_us < *due_us) *due_us = question->deadline_us;
			continue;
		}
		if (!ticket_close(question->ticket)) continue; /* answered this very moment */
		abandon(e, question);
		metric_add(e->timeouts, 1);
		fail(e, question, STR("timeout"));
	}
	/* What it never gives back it would hold for ever: a new instance holds nothing. */
	if (e->abandoned >= e->async.concurrency && !e->is_restarting) {
		log_warn(LOG_PLUGIN, "enricher %.*s holds %zu questions that it never answered: it begins anew",
			 STR_ARG(e->name), e->abandoned);
		e->is_restarting = true;
		runner_restart(e->runner);
	}
}

void enricher_ended(struct enricher *e)
{
	e->is_restarting = false;
	for (struct question *question = e->questions; question; question = question->next) {
		if (!question->is_asked) continue;
		if (!question->is_abandoned) {
			if (!ticket_close(question->ticket)) continue; /* answered: it is being settled */
			abandon(e, question);
			ask_again(e, question, clock_mono_us());
		}
		ticket_reclaim(question->ticket); /* settles it */
	}
}

/* ── asking ──────────────────────────────────────────────────────────────── */

static int take_row(void *ctx, const struct await_row *row)
{
	struct enricher *e = ctx;
	e->cursor = (struct await_cursor){row->seq, row->enricher};
	if (row->enricher != e->key) return 0;
	e->ahead[e->ahead_count++] = (struct retry){.seq = row->seq, .t = row->t};
	return e->ahead_count == AHEAD_MAX;
}

static int look_ahead(struct enricher *e)
{
	uint64_t applied;
	struct await_cursor before;
	int rc;
	e->ahead_at = e->ahead_count = 0;
	do { /* in short snapshots: many may wait for others */
		before = e->cursor;
		rc = people_read_begin(e->all->reader, &applied);
		if (rc) return rc;
		rc = people_awaits(e->all->reader, e->cursor.seq, e->cursor.after, SCAN_ROWS, take_row, e);
		people_read_end(e->all->reader);
	} while (!rc && e->ahead_count == 0 && (before.seq != e->cursor.seq || before.after != e->cursor.after));
	return rc;
}

/* The next event to ask about. ERR_AGAIN: none; *due_us: when one is. */
static int next_event(struct enricher *e, int64_t now, struct retry *out, int64_t *due_us)
{
	for (size_t i = 0; i < e->retry_count; i++) {
		if (e->retries[i].due_us > now) {
			if (e->retries[i].due_us < *due_us) *due_us = e->retries[i].due_us;
			continue;
		}
		*out = e->retries[i];
		e->retries[i] = e->retries[--e->retry_count];
		return OK;
	}
	if (e->retry_count == RETRIES_MAX) return ERR_AGAIN;
	if (e->ahead_at == e->ahead_count) {
		int rc = look_ahead(e);
		if (rc) return rc;
	}
	if (e->ahead_at == e->ahead_count) return ERR_AGAIN;
	*out = e->ahead[e->ahead_at++];
	return OK;
}

/* Undoes next_event. */
static void put_back(struct enricher *e, struct retry event, int64_t due_us)
{
	if (event.due_us) {
		event.due_us = due_us;
		e->retries[e->retry_count++] = event;
	} else {
		e->ahead_at--;
	}
}

int person_is_there(struct people_reader *reader, uint64_t seq, struct outcome *outcome)
{
	struct fragment_id id;
	struct erased_row erased;
	int rc = people_get_outcome(reader, seq, outcome);
	if (rc || outcome->verdict != OUTCOME_APPLIED) return rc ? rc : ERR_NOT_FOUND;
	memcpy(id.bytes, outcome->fragment, sizeof id.bytes);
	rc = people_erased(reader, &id, &erased);
	if (rc == OK && seq < erased.seq) return ERR_NOT_FOUND;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* ERR_NOT_FOUND: nobody to ask about. */
static int look_at_person(struct enrichers *all, uint64_t seq, struct outcome *outcome,
			  uint64_t seqs[ASYNC_ENRICHERS_MAX], size_t *count)
{
	uint64_t applied;
	int rc = people_read_begin(all->reader, &applied);
	if (rc) return rc;
	rc = person_is_there(all->reader, seq, outcome);
	if (!rc) rc = people_read_resolutions(all->reader, outcome, seqs, count);
	people_read_end(all->reader);
	return rc;
}

/* ERR_NOT_FOUND: there is nothing to ask about any more. */
static int load_event(struct enrichers *all, uint64_t seq, struct arena *arena, struct cdpd_event *event)
{
	uint64_t seqs[ASYNC_ENRICHERS_MAX];
	struct outcome outcome;
	struct record record;
	size_t count;
	int rc = look_at_person(all, seq, &outcome, seqs, &count);
	if (!rc) rc = journal_get(all->journal, seq, arena, &record);
	if (rc) return rc == ERR_GONE ? ERR_NOT_FOUND : rc;
	if (record.kind != RECORD_EVENT) return ERR_NOT_FOUND;
	rc = event_decode(record.payload, arena, event);
	return rc ? rc : event_patch(all->journal, arena, seqs, count, event);
}

static void on_settled(void *ctx, struct ticket *ticket)
{
	struct question *question = ctx;
	struct enrichers *all = question->enricher->all;
	(void)ticket;
	(void)pthread_mutex_lock(&all->lock);
	question->next_settled = NULL;
	*(all->settled ? &all->settled_last->next_settled : &all->settled) = question;
	all->settled_last = question;
	(void)pthread_cond_broadcast(&all->changed);
	(void)pthread_mutex_unlock(&all->lock);
}

static int take_question(struct enricher *e, struct question **out)
{
	for (*out = e->questions; *out && (*out)->is_asked;) *out = (*out)->next;
	if (*out) return OK;
	struct question *question = calloc(1, sizeof *question);
	if (!question) return ERR_NOMEM;
	int rc = ticket_new(on_settled, question, &question->ticket);
	if (rc) {
		free(question);
		return rc;
	}
	question->enricher = e;
	question->next = e->questions;
	e->questions = *out = question;
	return OK;
}

/* ERR_BUSY: not now. */
static int ask(struct enricher *e, const struct retry *event)
{
	struct question *question;
	int rc = take_question(e, &question);
	if (rc) return rc;
	rc = load_event(e->all, event->seq, ticket_arena(question->ticket), ticket_owner_event(question->ticket));
	if (rc == OK) {
		question->seq = event->seq;
		question->t = event->t;
		question->attempt = event->attempt + 1;
		question->asked_at = clock_mono_us();
		question->deadline_us = question->asked_at + e->async.deadline_ms * US_PER_MS;
		question->is_asked = true; /* before it can be answered */
		e->asked++;
		rc = runner_ask(e->runner, question->ticket);
		if (rc == OK) {
			metric_add(e->events, 1);
			return OK;
		}
		question->is_asked = false;
		e->asked--;
	}
	ticket_reset(question->ticket);
	return rc;
}

static bool is_too_old(const struct enricher *e, const struct retry *event)
{
	return clock_wall_us() - event->t > e->async.max_wait_us;
}

/* OK: one was dealt with. ERR_AGAIN: nothing to do now. */
static int ask_next(struct enricher *e, int64_t now, bool may_ask, int64_t *due_us)
{
	struct retry event;
	int rc = next_event(e, now, &event, due_us);
	if (rc) return rc;
	if (is_too_old(e, &event)) {
		give_up(e, event.seq, STR("it waited too long"));
		return OK;
	}
	if (!may_ask) {
		put_back(e, event, now + US_PER_SECOND);
		return ERR_AGAIN;
	}
	rc = ask(e, &event);
	if (rc == ERR_NOT_FOUND) {
		give_up(e, event.seq, STR("the event is gone"));
		return OK;
	}
	if (rc) {
		put_back(e, event, now + RETRY_MIN_US);
		if (now + RETRY_MIN_US < *due_us) *due_us = now + RETRY_MIN_US;
	}
	return rc == ERR_BUSY ? ERR_AGAIN : rc;
}

static void look_at_thread(struct enricher *e)
{
	int64_t inside_us = runner_inside_us(e->runner);
	bool is_stuck = inside_us > STUCK_US;
	if (is_stuck == e->is_stuck) return;
	e->is_stuck = is_stuck;
	metric_set(e->stuck, is_stuck);
	if (is_stuck)
		log_warn(LOG_PLUGIN,
			 "enricher %.*s does not return from a call for %lld s, it is asked nothing meanwhile",
			 STR_ARG(e->name), (long long)(inside_us / US_PER_SECOND));
	else
		log_info(LOG_PLUGIN, "enricher %.*s returned", STR_ARG(e->name));
}

int enricher_turn(struct enricher *e, uint64_t applied, int64_t *due_us)
{
	int64_t now = clock_mono_us();
	int rc = OK;
	look_at_deadlines(e, now, due_us);
	look_at_thread(e);
	if (applied < e->start_after) return OK;
	while (!rc && outbox_has_room(e->all)) {
		bool is_paused = e->paused_until_us > now, is_probe = e->pause_us != BREAKER_PAUSE_US;
		size_t most = is_probe ? 1 : e->async.concurrency;
		if (is_paused && e->paused_until_us < *due_us) *due_us = e->paused_until_us;
		if (!is_paused && e->asked >= most) break;
		rc = ask_next(e, now, !is_paused && !e->is_restarting && !e->is_stuck, due_us);
	}
	/* Those that were just asked have the farthest deadline, all the same. */
	if (e->asked && now + e->async.deadline_ms * US_PER_MS < *due_us)
		*due_us = now + e->async.deadline_ms * US_PER_MS;
	metric_set(e->in_flight, (int64_t)e->asked);
	return rc == ERR_AGAIN ? OK : rc;
}
