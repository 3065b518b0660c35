#include "deliver/destination.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "deliver/lanes.h"
#include "deliver/snapshot.h"

const struct deliver_tuning deliver_tuning_default = {
    .answer_us = 30 * US_PER_SECOND,
    .backoff_min_us = 200 * US_PER_MS,
    .backoff_max_us = 60 * US_PER_SECOND,
    .stop_us = 5 * US_PER_SECOND,
};

/* ── making and ending ───────────────────────────────────────────────────── */

bool destination_is_gated(const struct config *config, const struct conf_instance *conf)
{
	if (conf->purpose.len) return true;
	for (size_t i = 0; i < config->purpose_count; i++)
		for (size_t k = 0; k < config->purposes[i].gate_count; k++)
			if (str_eq(config->purposes[i].gates[k], conf->name)) return true;
	return false;
}

static int read_conf(struct destination *d, const struct config *config, const struct conf_instance *conf)
{
	struct buf errors;
	struct checked_instance checked = {.name = STR_NONE};
	buf_init(&errors, (size_t)64 << 10);
	int rc = plugin_check_instances(&d->arena, config, conf, 1, CDPD_CAP_EXPORT, &checked, &errors);
	struct str text = str_trim(buf_str(&errors));
	if (text.len) log_error(LOG_DELIVER, "%.*s", STR_ARG(text));
	buf_fini(&errors);
	if (rc) return rc;
	d->plugin = checked.plugin;
	d->conf = checked.conf;
	d->is_gated = destination_is_gated(config, conf);
	d->async = conf->async;
	if ((rc = selection_make(&d->arena, conf, &d->selection))) return rc;
	rc = http_guard_make(&d->arena, conf->async.http_allow, conf->async.http_allow_count, &d->guard, &text);
	if (rc == ERR_INVALID)
		log_error(LOG_DELIVER, "destination %.*s: http.allow: '%.*s' is neither a network nor a host name",
			  STR_ARG(conf->name), STR_ARG(text));
	if (rc) return rc;
	return arena_str(&d->arena, conf->name, &d->name);
}

int destination_read_cursor(struct destination *d)
{
	uint64_t letters = 0, queued = 0;
	struct order order = {.is_paused = false};
	int rc = lanes_read(d);
	if (rc == OK) rc = order_get(d->shared->cursors, d->name, &order);
	if (rc == OK) rc = letters_count(d->shared->cursors, d->name, &letters, &queued);
	d->may_have_letters = letters > 0;
	pthread_mutex_lock(&d->lock);
	d->has_queued = queued > 0;
	d->order = order;
	pthread_mutex_unlock(&d->lock);
	return rc;
}

int destination_new(struct deliver_shared *shared, const struct config *config, const struct conf_instance *conf,
		    struct destination **out)
{
	pthread_condattr_t attr;
	*out = NULL;
	struct destination *d = calloc(1, sizeof *d);
	if (!d) return ERR_NOMEM;
	d->shared = shared;
	arena_init(&d->arena, 1024, 0);
	CHECK(pthread_mutex_init(&d->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&d->changed, &attr) == 0);
	pthread_condattr_destroy(&attr);
	int rc = read_conf(d, config, conf);
	lanes_make(d);
	if (rc == OK) rc = destination_read_cursor(d);
	if (rc == OK) rc = people_reader_new(shared->people, &d->reader);
	int made = batch_init(&d->batch, shared, d->reader);
	if (rc == OK) rc = made;
	if (rc) {
		destination_free(d);
		return rc;
	}
	destination_make_metrics(d);
	destination_show_counters(d);
	metric_set(d->paused, d->order.is_paused);
	*out = d;
	return OK;
}

void destination_free(struct destination *d)
{
	if (!d) return;
	CHECK(!d->has_thread && !d->instance);
	if (d->reader) people_reader_free(d->reader);
	batch_fini(&d->batch);
	arena_fini(&d->arena);
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static bool is_same_http(const struct destination *a, const struct destination *b)
{
	if (a->async.http_connections != b->async.http_connections || a->guard.count != b->guard.count ||
	    a->async.http_requests_per_second != b->async.http_requests_per_second)
		return false;
	for (size_t i = 0; i < a->guard.count; i++) {
		const struct http_allowed *x = &a->guard.items[i], *y = &b->guard.items[i];
		if (!str_eq(x->host, y->host) || x->bits != y->bits ||
		    memcmp(x->address, y->address, sizeof x->address) != 0)
			return false;
	}
	return true;
}

bool destination_is_same(const struct destination *d, const struct destination *other)
{
	return str_eq(d->name, other->name) && d->plugin == other->plugin && d->is_gated == other->is_gated &&
	       plugin_conf_is_same(d->conf, other->conf) && is_same_http(d, other) &&
	       selection_is_same(&d->selection, &other->selection);
}

/* ── waiting ─────────────────────────────────────────────────────────────── */

static bool is_stopping(const struct destination *d)
{
	return atomic_load(&d->stop);
}

/* Until `until_us`, a stop, an order, or (when `wakes`) destination_wake. Runs the plugin's timers meanwhile. */
static void wait_until(struct destination *d, int64_t until_us, bool wakes)
{
	for (;;) {
		destination_run_timers(d);
		int64_t now = clock_mono_us();
		int64_t timer = d->instance ? instance_next_timer(d->instance) : INT64_MAX;
		int64_t next = timer < until_us ? timer : until_us;
		if (next > now + US_PER_SECOND) next = now + US_PER_SECOND; /* the lag in seconds grows meanwhile */
		destination_show_lag(d);
		struct timespec ts = {(time_t)(next / US_PER_SECOND), (long)(next % US_PER_SECOND) * 1000};
		pthread_mutex_lock(&d->lock);
		bool is_over = is_stopping(d) || (wakes && d->was_woken) || d->is_reordered || now >= until_us;
		bool has_http = d->instance && d->http;
		if (!is_over && !has_http && next > now) pthread_cond_timedwait(&d->changed, &d->lock, &ts);
		if (wakes && is_over) d->was_woken = false;
		if (is_over) d->is_reordered = false;
		pthread_mutex_unlock(&d->lock);
		if (is_over) return;
		if (has_http) http_wait(d->http, next);
	}
}

/* Full jitter between half of the step and the step; doubles up to the cap. */
static int64_t backoff_us(const struct destination *d)
{
	const struct deliver_tuning *tuning = &d->shared->tuning;
	uint64_t noise;
	int64_t step = tuning->backoff_min_us;
	for (unsigned i = 1; i < d->failures && step < tuning->backoff_max_us; i++) step *= 2;
	if (step > tuning->backoff_max_us) step = tuning->backoff_max_us;
	random_bytes(&noise, sizeof noise);
	return step / 2 + (int64_t)(noise % (uint64_t)(step / 2 + 1));
}

/* ── telling how it goes ─────────────────────────────────────────────────── */

static void note_failure(struct destination *d, struct str why)
{
	pthread_mutex_lock(&d->lock);
	bool is_news = !d->is_failing;
	d->is_failing = true;
	size_t len = why.len < LAST_ERROR_MAX ? why.len : LAST_ERROR_MAX;
	memcpy(d->last_error, why.ptr, len);
	d->last_error[len] = '\0';
	pthread_mutex_unlock(&d->lock);
	d->failures++;
	metric_set(d->failing, 1);
	if (is_news)
		log_warn(LOG_DELIVER, "destination %.*s fails, its records wait (%s)", STR_ARG(d->name), d->last_error);
}

static void note_success(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	bool is_news = d->is_failing;
	d->is_failing = false;
	pthread_mutex_unlock(&d->lock);
	d->failures = 0;
	metric_set(d->failing, 0);
	if (is_news) log_info(LOG_DELIVER, "destination %.*s takes records again", STR_ARG(d->name));
}

static void note_drop(struct destination *d, uint64_t seq, struct str reason)
{
	int64_t now = clock_mono_us();
	if (d->logged_drop_us && now - d->logged_drop_us < 10 * US_PER_SECOND) return;
	d->logged_drop_us = now;
	log_warn(LOG_DELIVER, "destination %.*s can never take record %llu, it is left out (%.*s)", STR_ARG(d->name),
		 (unsigned long long)seq, STR_ARG(reason.len ? reason : STR("no reason given")));
}

/* ── the cursor ──────────────────────────────────────────────────────────── */

static int write_step(struct destination *d, struct cursor_row *row)
{
	struct store_txn *txn;
	struct cursors *cursors = d->shared->cursors;
	uint64_t letters, lost;
	int rc = cursors_begin(cursors, &txn);
	if (rc) return rc;
	if (d->changes.put_count || d->changes.gone_count) {
		rc = letters_write(cursors, txn, d->reader, d->name, &d->changes, &letters, &lost);
		if (rc) {
			cursors_abort(cursors, txn);
			return rc;
		}
		row->letters_lost += lost;
		metric_set(d->letters, (int64_t)letters);
	}
	cursors_write(cursors, txn, d->name, d->lane->stream->id, row);
	return cursors_commit(cursors, txn);
}

/* False: nothing can be made durable here any more. */
static bool commit_cursor(struct destination *d)
{
	struct cursor_row row = d->lane->row; /* only this thread writes it */
	int rc = write_step(d, &row);
	if (rc == OK) {
		pthread_mutex_lock(&d->lock);
		d->lane->row.letters_lost = row.letters_lost;
		pthread_mutex_unlock(&d->lock);
		if (d->changes.put_count) d->may_have_letters = true;
		d->changes.put_count = d->changes.gone_count = 0;
		d->lane->committed_seq = row.next_seq;
		d->lane->committed_at_us = clock_mono_us();
	}
	destination_show_counters(d);
	destination_show_lag(d);
	if (rc == OK) return true;
	log_error(LOG_DELIVER, "cursor of destination %.*s was not written, records may come twice after a crash (%s)",
		  STR_ARG(d->name), status_str(rc));
	return rc != ERR_PANIC;
}

static bool has_changes(const struct destination *d)
{
	return d->changes.put_count > 0 || d->changes.gone_count > 0;
}

/* What became letters must be written before anything else may become one. */
static bool commit_step(struct destination *d)
{
	if (!has_changes(d)) return commit_cursor(d);
	while (has_changes(d) && !is_stopping(d)) { /* stopping: the cursor is not written either, they come again */
		if (!commit_cursor(d)) return false;
		if (has_changes(d)) wait_until(d, clock_mono_us() + US_PER_SECOND, false);
	}
	return true;
}

static void letter_gone(struct destination *d, uint64_t seq)
{
	if (d->may_have_letters)
		d->changes.gone[d->changes.gone_count++] = (struct letter_gone){d->lane->stream->id, seq};
}

static void letter_put(struct destination *d, uint64_t seq, uint64_t journal_seq, enum letter_cause cause,
		       const uint8_t fragment[16], uint32_t attempts, struct str reason)
{
	d->changes.put[d->changes.put_count++] =
	    letter_make(d->lane->stream->id, seq, journal_seq, cause, fragment, attempts, reason);
}

/* Under the lock. */
static void book_aside(struct destination *d, const struct aside *aside)
{
	switch (aside->kind) {
	case ASIDE_DENIED: d->lane->row.denied++; break;
	case ASIDE_FILTERED: d->lane->row.filtered++; break;
	case ASIDE_UNMAPPED:
		d->lane->row.unmapped++;
		letter_put(d, aside->seq, aside->journal_seq, LETTER_UNMAPPED, aside->fragment, 0, aside->why);
		break;
	case ASIDE_GONE: d->lane->row.letters_lost++; break;
	}
	if (d->batch.is_redrive && aside->kind != ASIDE_UNMAPPED) letter_gone(d, aside->seq);
}

/* Under the lock: what was kept back below the cursor, once. */
static void book_asides(struct destination *d)
{
	struct batch *batch = &d->batch;
	while (batch->aside_booked < batch->aside_count &&
	       (batch->is_redrive || batch->asides[batch->aside_booked].seq < d->lane->row.next_seq))
		book_aside(d, &batch->asides[batch->aside_booked++]);
}

/* A step over records that were not for it is durable now and then: repeating it costs nothing. */
static bool move_idle(struct destination *d, uint64_t next_seq)
{
	pthread_mutex_lock(&d->lock);
	d->lane->row.next_seq = next_seq;
	book_asides(d);
	pthread_mutex_unlock(&d->lock);
	destination_show_counters(d);
	if (has_changes(d)) return commit_step(d);
	bool is_due = next_seq - d->lane->committed_seq >= CURSOR_IDLE_ROWS ||
		      clock_mono_us() - d->lane->committed_at_us >= CURSOR_IDLE_US;
	destination_show_lag(d);
	return next_seq == d->lane->committed_seq || !is_due || commit_cursor(d);
}

/* Retention went past the cursor, or it is ahead of everything (an older backup of the profiles): the gap is told, counted, and it goes on
 * from the oldest record. What profiles do is repair's. */
static bool skip_gap(struct destination *d)
{
	const struct stream *stream = d->lane->stream;
	uint64_t first = stream->first(d->shared), next = d->lane->row.next_seq;
	bool is_ahead = stream->id != STREAM_OF_EVENTS && next > stream->end(d->shared);
	if ((next >= first && !is_ahead) || stream->id == STREAM_OF_PROFILES || stream->id == STREAM_OF_SNAPSHOT)
		return true;
	uint64_t gap = is_ahead ? 0 : lane_records(d->lane, first - next);
	log_error(LOG_DELIVER,
		  "destination %.*s has expired: %llu %s from position %llu on were trimmed before it took them",
		  STR_ARG(d->name), (unsigned long long)gap, stream->id == STREAM_OF_EVENTS ? "records" : "changes",
		  (unsigned long long)next);
	pthread_mutex_lock(&d->lock);
	d->lane->row.expired_records += gap;
	d->lane->row.next_seq = first;
	pthread_mutex_unlock(&d->lock);
	return commit_cursor(d);
}

/* False: nothing can be made durable here any more. */
static bool repair(struct destination *d)
{
	uint64_t gap;
	int rc = lanes_repair(d, &gap);
	if (rc == ERR_NOT_FOUND) return true;
	if (rc == OK)
		log_error(LOG_DELIVER,
			  "destination %.*s has expired: %llu changes were trimmed before it took them; it is handed everybody "
			  "anew",
			  STR_ARG(d->name), (unsigned long long)gap);
	return rc != ERR_PANIC;
}

/* ── handing over ────────────────────────────────────────────────────────── */

static int copy_record(struct handover *h, const struct export_record *record)
{
	struct arena *arena = handover_arena(h);
	struct export_record copy = *record; /* kind, time and attempt too */
	int rc = arena_str(arena, record->json, &copy.json);
	if (rc == OK) rc = arena_str(arena, record->position, &copy.position);
	if (rc == OK) rc = arena_str(arena, record->message_id, &copy.message_id);
	if (rc == OK) rc = arena_str(arena, record->profile_id, &copy.profile_id);
	if (rc == OK) rc = arena_str(arena, record->delivery_id, &copy.delivery_id);
	if (rc == OK) rc = arena_str(arena, record->other_id, &copy.other_id);
	return rc == OK ? handover_add(h, &copy) : rc;
}

/* A handover of what is not settled yet; places[i] is the batch's index of its record i. */
static int make_handover(struct destination *d, size_t places[HANDOVER_RECORDS_MAX], struct handover **out)
{
	size_t count = 0;
	int rc = handover_new(out);
	for (size_t i = 0; i < d->batch.count && rc == OK; i++) {
		if (d->batch.is_settled[i]) continue;
		d->batch.records[i].attempt++;
		rc = copy_record(*out, &d->batch.records[i]);
		places[count++] = i;
	}
	if (rc && *out) handover_unref(*out);
	return rc;
}

struct tally {
	uint64_t delivered, dropped, retried;
	int64_t retry_after_us;
	struct str retry_reason, drop_reason;
};

static struct tally count_verdicts(struct destination *d, const struct handover *h, const size_t *places)
{
	struct tally tally = {.retry_reason = STR_NONE, .drop_reason = STR_NONE};
	for (size_t i = 0; i < handover_count(h); i++) {
		struct export_verdict verdict = handover_verdict(h, i);
		/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.ArraySubscript): make_handover gave each record its place */
		d->batch.is_settled[places[i]] = verdict.verdict != CDPD_RETRY;
		size_t at = places[i];
		if (verdict.verdict == CDPD_ACK) {
			tally.delivered++;
			letter_gone(d, d->batch.seqs[at]);
		} else if (verdict.verdict == CDPD_DROP) {
			tally.dropped++;
			note_drop(d, d->batch.seqs[at], verdict.reason);
			letter_put(d, d->batch.seqs[at], d->batch.journal_seqs[at], LETTER_DROPPED,
				   d->batch.fragments[at], d->batch.records[at].attempt, verdict.reason);
		} else {
			tally.retried++;
			if (verdict.retry_after_us > tally.retry_after_us)
				tally.retry_after_us = verdict.retry_after_us;
			if (verdict.reason.len) tally.retry_reason = verdict.reason;
		}
	}
	return tally;
}

static uint64_t settled_until(const struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		if (!batch->is_settled[i]) return batch->seqs[i];
	}
	return batch->next_seq;
}

static void book(struct destination *d, const struct tally *tally)
{
	pthread_mutex_lock(&d->lock);
	d->lane->row.delivered += tally->delivered;
	d->lane->row.dropped += tally->dropped;
	d->lane->row.retries += tally->retried;
	if (!d->batch.is_redrive) d->lane->row.next_seq = settled_until(&d->batch);
	book_asides(d);
	if (tally->delivered) d->lane->row.last_success_us = clock_wall_us();
	pthread_mutex_unlock(&d->lock);
}

static void release_answered(struct destination *d)
{
	size_t kept = 0;
	for (size_t i = 0; i < d->abandoned_count; i++) {
		if (handover_is_held(d->abandoned[i]))
			d->abandoned[kept++] = d->abandoned[i];
		else
			handover_unref(d->abandoned[i]);
	}
	d->abandoned_count = kept;
}

/* One attempt at what is left of the batch. *wait_us: how long to wait before the next. False: stop for good. */
static bool attempt(struct destination *d, int64_t *wait_us)
{
	size_t places[HANDOVER_RECORDS_MAX];
	struct handover *h;
	struct tally tally = {.retry_reason = STR_NONE};
	release_answered(d);
	*wait_us = 0;
	int rc = d->abandoned_count == ABANDONED_MAX ? ERR_BUSY : make_handover(d, places, &h);
	if (rc) {
		note_failure(d,
			     rc == ERR_BUSY ? STR("it answers none of its pending batches") : str_from(status_str(rc)));
		*wait_us = backoff_us(d);
		return true;
	}
	rc = destination_run_handover(d, h);
	if (rc == OK) {
		tally = count_verdicts(d, h, places);
	} else {
		tally.retried = handover_count(h);
		tally.retry_reason = STR("no answer to a pending batch in time");
		d->abandoned[d->abandoned_count++] = h;
	}
	if (tally.retried) {
		note_failure(d, tally.retry_reason.len ? tally.retry_reason : STR("it asked for a retry"));
		int64_t backoff = backoff_us(d);
		*wait_us = tally.retry_after_us > backoff ? tally.retry_after_us : backoff;
	} else {
		note_success(d);
	}
	book(d, &tally);
	if (rc == OK) handover_unref(h);
	return commit_step(d);
}

static struct order order_of(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	struct order order = d->order;
	pthread_mutex_unlock(&d->lock);
	return order;
}

/* Until the batch is settled or the destination is asked to stop or to go elsewhere. */
static bool hand_over(struct destination *d)
{
	while (!is_stopping(d) && settled_until(&d->batch) != d->batch.next_seq) {
		int64_t wait_us;
		struct order order = order_of(d);
		if (order.has_seek) break;
		if (order.is_paused) {
			wait_until(d, clock_mono_us() + US_PER_SECOND, false);
			continue;
		}
		if (!attempt(d, &wait_us)) return false;
		if (wait_us) wait_until(d, clock_mono_us() + wait_us, false);
		if (!d->batch.is_redrive && d->lane->row.next_seq < d->lane->stream->first(d->shared))
			break; /* expired meanwhile */
	}
	return true;
}

/* ── the thread ──────────────────────────────────────────────────────────── */

static void fail_and_wait(struct destination *d, struct str why)
{
	note_failure(d, why);
	wait_until(d, clock_mono_us() + backoff_us(d), false);
}

void destination_set_order(struct destination *d, const struct order *order)
{
	pthread_mutex_lock(&d->lock);
	d->order = *order;
	d->is_reordered = true;
	pthread_mutex_unlock(&d->lock);
	metric_set(d->paused, order->is_paused);
	destination_wake(d);
}

/* False: nothing can be made durable here any more. */
static bool go_back(struct destination *d, uint64_t seq)
{
	d->lane = &d->lanes[0]; /* of events: only who reads them is told to (operate.c) */
	struct cursor_row row = d->lane->row;
	uint64_t first = journal_first_seq(d->shared->journal);
	row.next_seq = seq < first ? first : seq;
	int rc = order_settle(d->shared->cursors, d->name, seq, &row);
	if (rc) {
		fail_and_wait(d, str_from(status_str(rc)));
		return rc != ERR_PANIC;
	}
	pthread_mutex_lock(&d->lock);
	d->lane->row.next_seq = row.next_seq;
	if (d->order.seek_seq == seq) d->order.has_seek = false;
	d->lane->head_t = 0;
	pthread_mutex_unlock(&d->lock);
	d->lane->committed_seq = row.next_seq;
	log_info(LOG_DELIVER, "destination %.*s goes on from position %llu, as it was told", STR_ARG(d->name),
		 (unsigned long long)row.next_seq);
	return true;
}

/* *did: there is nothing else to do in this round. False: stop for good. */
static bool obey(struct destination *d, bool *did)
{
	struct order order = order_of(d);
	*did = order.has_seek || order.is_paused;
	if (order.has_seek) return go_back(d, order.seek_seq);
	if (order.is_paused) wait_until(d, clock_mono_us() + US_PER_SECOND, true);
	return true;
}

/* How long the oldest record has waited: looked up once for each place the cursor stands at. */
static void look_at_head(struct destination *d)
{
	int64_t t = 0;
	uint64_t seq = d->lane->row.next_seq;
	arena_reset(&d->batch.scratch);
	bool waits =
	    seq < d->lane->stream->end(d->shared) && d->lane->stream->time(d->shared, seq, &d->batch.scratch, &t) == OK;
	pthread_mutex_lock(&d->lock);
	d->lane->head_t = waits ? t : 0;
	pthread_mutex_unlock(&d->lock);
}

static bool take_queued(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	bool has_queued = d->has_queued;
	d->has_queued = false;
	pthread_mutex_unlock(&d->lock);
	return has_queued;
}

void destination_redrive(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	d->has_queued = true;
	pthread_mutex_unlock(&d->lock);
	destination_wake(d);
}

static struct gate gate_of(const struct destination *d)
{
	const struct lane *profiles = lane_of((struct destination *)(uintptr_t)d, STREAM_OF_PROFILES);
	return (struct gate){d->name, d->is_gated, &d->selection, profiles ? profiles->row.next_seq : 0};
}

/* Letters of the lane that were queued again. *did: there were some. False: stop for good. */
static bool redrive_lane(struct destination *d, bool *did)
{
	uint64_t seqs[HANDOVER_RECORDS_MAX];
	size_t count = 0;
	const struct gate gate = gate_of(d);
	int rc = letters_queued(d->shared->cursors, d->name, d->lane->stream->id, HANDOVER_RECORDS_MAX, seqs, &count);
	*did = rc || count;
	if (!*did) return true;
	destination_redrive(d); /* until a look finds none */
	d->may_have_letters = true;
	if (rc == OK) rc = batch_gather_named(&d->batch, d->lane->stream, &gate, seqs, count);
	if (rc == ERR_BUSY) { /* the commit that brings the definition wakes us */
		*did = false;
		return true;
	}
	if (rc) {
		fail_and_wait(d, str_from(status_str(rc)));
		return true;
	}
	return d->batch.count ? hand_over(d) : move_idle(d, d->lane->row.next_seq);
}

/* Before anything new. */
static bool redrive(struct destination *d, bool *did)
{
	*did = take_queued(d);
	if (!*did) return true;
	*did = false;
	for (size_t i = 0; i < d->lane_count && !*did; i++) {
		d->lane = &d->lanes[i];
		if (!redrive_lane(d, did)) return false;
	}
	return true;
}

/* What is next in the lane. *did: there was something. False: stop for good. */
static bool move_on(struct destination *d, bool *did)
{
	look_at_head(d);
	*did = true;
	if (!skip_gap(d)) return false;
	const struct gate gate = gate_of(d);
	int rc = batch_gather(&d->batch, d->lane->stream, &gate, d->lane->row.next_seq);
	if (rc == ERR_GONE) return true; /* the next round sees the gap */
	if (rc) {
		fail_and_wait(d, str_from(status_str(rc)));
		return true;
	}
	if (d->batch.count) return hand_over(d);
	*did = d->batch.next_seq != d->lane->row.next_seq;
	return move_idle(d, d->batch.next_seq);
}

/* The lanes in turn. */
static bool take_turns(struct destination *d, bool *did)
{
	*did = false;
	if (!repair(d)) return false;
	lanes_lease(d);
	for (size_t i = 0; i < d->lane_count && !*did; i++) {
		struct lane *lane = &d->lanes[d->turn++ % d->lane_count];
		if (lane_is_held(d, lane)) continue;
		d->lane = lane;
		if (!move_on(d, did)) return false;
	}
	return true;
}

/* One round. False: stop for good. */
static bool step(struct destination *d)
{
	bool did;
	if (!obey(d, &did)) return false;
	if (did) return true;
	if (!d->instance && !destination_create(d)) {
		fail_and_wait(d, STR("the plugin could not be created; its own text is in the log"));
		return true;
	}
	int rc = lanes_settle(d);
	if (rc) {
		fail_and_wait(d, str_from(status_str(rc)));
		return rc != ERR_PANIC;
	}
	if (!redrive(d, &did)) return false;
	if (!did && !take_turns(d, &did)) return false;
	if (!did) wait_until(d, clock_mono_us() + US_PER_SECOND, true);
	return true;
}

static void commit_rest(struct destination *d)
{
	for (size_t i = 0; i < d->lane_count; i++) {
		d->lane = &d->lanes[i];
		if (d->lane->row.next_seq != d->lane->committed_seq) (void)commit_cursor(d);
	}
}

static void *run(void *ctx)
{
	struct destination *d = ctx;
	bool goes_on = true;
	while (goes_on && !is_stopping(d)) goes_on = step(d);
	if (!goes_on) note_failure(d, STR("its cursor cannot be made durable: stopped until the daemon is restarted"));
	if (goes_on) commit_rest(d);
	lanes_unlease(d);
	destination_destroy(d);
	pthread_mutex_lock(&d->lock);
	d->is_finished = true;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

int destination_start(struct destination *d)
{
	if (pthread_create(&d->thread, NULL, run, d)) return ERR_NOMEM;
	d->has_thread = true;
	return OK;
}

void destination_wake(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	d->was_woken = true;
	pthread_cond_broadcast(&d->changed);
	if (d->http) http_wake(d->http);
	pthread_mutex_unlock(&d->lock);
}

void destination_ask_to_stop(struct destination *d)
{
	atomic_store(&d->stop, true);
	pthread_mutex_lock(&d->lock);
	pthread_cond_broadcast(&d->changed);
	if (d->http) http_wake(d->http);
	if (d->running) handover_wake(d->running);
	pthread_mutex_unlock(&d->lock);
}

bool destination_join(struct destination *d, int64_t until_us)
{
	if (!d->has_thread) return true;
	struct timespec ts = {(time_t)(until_us / US_PER_SECOND), (long)(until_us % US_PER_SECOND) * 1000};
	pthread_mutex_lock(&d->lock);
	int rc = 0;
	while (!d->is_finished && rc == 0) rc = pthread_cond_timedwait(&d->changed, &d->lock, &ts);
	/* Our own work ends by itself and must be waited for: it uses what is closed next. */
	while (!d->is_finished && !d->is_inside) pthread_cond_wait(&d->changed, &d->lock);
	bool is_finished = d->is_finished;
	d->is_left_behind = !is_finished;
	pthread_mutex_unlock(&d->lock);
	if (!is_finished) {
		pthread_detach(d->thread);
		return false;
	}
	pthread_join(d->thread, NULL);
	d->has_thread = false;
	return true;
}
