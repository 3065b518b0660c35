/* One round of a destination: do as operators say, let land what was answered, hand over what may go out, and wait when there is nothing to do. */
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "deliver/lanes.h"

#define IDLE_US US_PER_SECOND

/* ── waiting ─────────────────────────────────────────────────────────────── */

bool destination_is_stopping(const struct destination *d)
{
	return atomic_load(&d->stop);
}

/* Under the lock. What woke us is forgotten. */
static bool is_over(struct destination *d, int64_t until_us, bool wakes)
{
	bool over = destination_is_stopping(d) || d->was_answered || (wakes && d->was_woken) || d->is_reordered ||
		    clock_mono_us() >= until_us;
	if (!over) return false;
	if (wakes) d->was_woken = false;
	d->is_reordered = d->was_answered = false;
	return true;
}

void destination_wait(struct destination *d, int64_t until_us, bool wakes)
{
	atomic_store(&d->wants_records, wakes);
	for (;;) {
		destination_run_timers(d);
		int64_t timer = d->instance ? instance_next_timer(d->instance) : INT64_MAX;
		int64_t next = timer < until_us ? timer : until_us, now = clock_mono_us();
		if (next > now + IDLE_US) next = now + IDLE_US; /* the lag in seconds grows meanwhile */
		destination_show_lag(d);
		struct timespec ts = {(time_t)(next / US_PER_SECOND), (long)(next % US_PER_SECOND) * 1000};
		pthread_mutex_lock(&d->lock);
		bool over = is_over(d, until_us, wakes), has_http = d->instance && d->http;
		if (!over && !has_http && next > now) pthread_cond_timedwait(&d->changed, &d->lock, &ts);
		pthread_mutex_unlock(&d->lock);
		if (over) break;
		if (has_http) http_wait(d->http, next);
	}
	atomic_store(&d->wants_records, true);
}

/* ── telling how it goes ─────────────────────────────────────────────────── */

static bool keep_error(struct destination *d, struct str why, bool is_failing)
{
	pthread_mutex_lock(&d->lock);
	bool is_news = is_failing && !d->is_failing;
	if (is_failing) d->is_failing = true;
	size_t len = why.len < LAST_ERROR_MAX ? why.len : LAST_ERROR_MAX;
	memcpy(d->last_error, why.ptr, len);
	d->last_error[len] = '\0';
	pthread_mutex_unlock(&d->lock);
	return is_news;
}

void destination_note_error(struct destination *d, struct str why)
{
	(void)keep_error(d, why, false);
}

void destination_note_failure(struct destination *d, struct str why)
{
	bool is_news = keep_error(d, why, true);
	metric_set(d->failing, 1);
	destination_show_state(d);
	if (is_news)
		log_warn(LOG_DELIVER, "destination %.*s fails, its records wait (%s)", STR_ARG(d->name), d->last_error);
}

void destination_note_success(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	bool is_news = d->is_failing;
	d->is_failing = false;
	pthread_mutex_unlock(&d->lock);
	if (!is_news) return;
	metric_set(d->failing, 0);
	destination_show_state(d);
	log_info(LOG_DELIVER, "destination %.*s takes records again", STR_ARG(d->name));
}

/* Something of ours failed, or the plugin cannot be made: as if an attempt had. */
static void fail_and_wait(struct destination *d, struct str why)
{
	const struct deliver_tuning *tuning = &d->shared->tuning;
	int64_t now = clock_mono_us();
	breaker_failed(&d->breaker, now,
		       backoff_us(tuning->backoff_min_us, tuning->backoff_max_us, d->breaker.failures + 1));
	destination_note_failure(d, why);
	destination_wait(d, d->breaker.until_us, false);
}

/* ── what operators say ──────────────────────────────────────────────────── */

static struct order order_of(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	struct order order = d->order;
	pthread_mutex_unlock(&d->lock);
	return order;
}

/* What is parked from there on comes again by itself. */
static void unpark_from(struct destination *d, enum stream_id stream, uint64_t position)
{
	for (size_t i = d->parked.count; i-- > 0;) {
		struct parked *item = &d->parked.items[i];
		if (item->stream == stream && item->position >= position) destination_unpark(d, stream, item->position);
	}
}

/* Nothing is on its way. False: nothing can be made durable here any more. */
static bool go_back(struct destination *d, uint64_t seq)
{
	struct lane *lane = &d->lanes[0];
	struct cursor_row row = lane->row;
	uint64_t first = lane->stream->first(d->shared);
	row.next_seq = seq < first ? first : seq;
	int rc = order_settle(d->shared->cursors, d->name, seq, &row);
	if (rc) {
		fail_and_wait(d, str_from(status_str(rc)));
		return rc != ERR_PANIC;
	}
	lane_seek(lane, row.next_seq);
	unpark_from(d, lane->stream->id, row.next_seq);
	pthread_mutex_lock(&d->lock);
	lane->row.next_seq = lane->committed = row.next_seq;
	if (d->order.seek_seq == seq) d->order.has_seek = false;
	lane->head_t = 0;
	pthread_mutex_unlock(&d->lock);
	log_info(LOG_DELIVER, "destination %.*s goes on from position %llu, as it was told", STR_ARG(d->name),
		 (unsigned long long)row.next_seq);
	return destination_settle(d, true);
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

/* ── where it stands ─────────────────────────────────────────────────────── */

/* How long the oldest record of a lane has waited: looked up once for each place the cursor stands at. */
static void look_at_head(struct destination *d, struct lane *lane)
{
	int64_t t = 0;
	uint64_t seq = lane->row.next_seq;
	if (lane->looked_at_head == seq && lane->head_t) return;
	arena_reset(&d->chooser.scratch);
	bool waits =
	    seq < lane->stream->end(d->shared) && lane->stream->time(d->shared, seq, &d->chooser.scratch, &t) == OK;
	lane->looked_at_head = seq;
	pthread_mutex_lock(&d->lock);
	lane->head_t = waits ? t : 0;
	pthread_mutex_unlock(&d->lock);
}

/* The records in between are given up, visibly. Nothing of the lane is on its way. Profiles come all of them anew: their last state is what
 * counts. */
static bool skip_to(struct destination *d, struct lane *lane, uint64_t position, const char *why)
{
	uint64_t from = lane->row.next_seq, gap = position > from ? lane_records(lane, position - from) : 0;
	log_error(LOG_DELIVER, "destination %.*s has expired: %llu records of its stream %s from position %llu on %s",
		  STR_ARG(d->name), (unsigned long long)gap, lane->stream->name, (unsigned long long)from, why);
	pthread_mutex_lock(&d->lock);
	lane->row.expired_records += gap;
	pthread_mutex_unlock(&d->lock);
	lanes_repair(d, lane, position);
	return destination_write(d);
}

/* May records of the lane be too old? Who withdrew must be told however late. */
static bool has_max_hold(const struct destination *d, const struct lane *lane)
{
	return d->flow.max_hold_us && lane->head_t && lane->stream->id != STREAM_OF_NOTICES && !lane_is_held(d, lane);
}

static bool is_overdue(const struct destination *d, const struct lane *lane)
{
	if (lane->row.next_seq < lane->stream->first(d->shared)) return true;
	if (lane->stream->id != STREAM_OF_EVENTS && lane->row.next_seq > lane->stream->end(d->shared)) return true;
	return has_max_hold(d, lane) && clock_wall_us() - lane->head_t > d->flow.max_hold_us;
}

/* Retention went past the cursor, or its oldest record has waited for longer than the destination may hold any. */
static bool expire(struct destination *d, struct lane *lane)
{
	uint64_t first = lane->stream->first(d->shared), position;
	int64_t now = clock_wall_us();
	if (!is_overdue(d, lane)) return true;
	d->expired_at_us = clock_mono_us();
	if (lane->row.next_seq < first) return skip_to(d, lane, first, "were trimmed before it took them");
	/* The start refuses a cursor ahead of the journal; the feed may be of an older backup. */
	if (lane->stream->id != STREAM_OF_EVENTS && lane->row.next_seq > lane->stream->end(d->shared))
		return skip_to(d, lane, first, "are not there: the profiles are older than its cursor");
	int rc = stream_position_at(lane->stream, d->shared, now - d->flow.max_hold_us, &position);
	if (rc || position <= lane->row.next_seq) return true;
	return skip_to(d, lane, position, "waited for longer than max_hold");
}

/* ── handing over ────────────────────────────────────────────────────────── */

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

static void launch(struct destination *d, struct flight *flight)
{
	flight->until_us = clock_mono_us() + d->shared->tuning.answer_us;
	int rc = destination_hand_over(d, flight->handover);
	if (rc == OK) {
		destination_land(d, flight, true);
		return;
	}
	flight->next = d->flights;
	d->flights = flight;
	d->flight_count++;
}

/* Those that were answered, or are waited for no longer. */
static void land_all(struct destination *d, bool is_end)
{
	int64_t now = clock_mono_us();
	for (struct flight **at = &d->flights; *at;) {
		struct flight *flight = *at;
		bool is_answered = handover_poll(flight->handover) == OK;
		if (!is_answered && now < flight->until_us && !is_end) {
			at = &flight->next;
			continue;
		}
		*at = flight->next;
		d->flight_count--;
		destination_land(d, flight, is_answered);
	}
}

/* Some things are done only when nothing is on its way, which with several handovers at a time might never be: then what is there lands first.
 * Lanes may be overdue all the time: a second's worth goes out in between. */
static bool wants_quiet(struct destination *d)
{
	if (!d->flight_count) d->awaits_landing = false;
	if (!d->flight_count) return false;
	for (const struct flight *f = d->flights; f; f = f->next)
		if (f->is_alone) return true;
	pthread_mutex_lock(&d->lock);
	bool has_queued = d->has_queued;
	pthread_mutex_unlock(&d->lock);
	if (d->awaits_landing || has_queued || lanes_may_repair(d)) return true;
	if (d->expired_at_us && clock_mono_us() - d->expired_at_us < US_PER_SECOND) return false;
	for (size_t i = 0; i < d->lane_count; i++)
		if (is_overdue(d, &d->lanes[i])) return true;
	return false;
}

static bool may_launch(struct destination *d)
{
	bool is_trying = d->breaker.state != BREAKER_CLOSED;
	if (!breaker_allows(&d->breaker, clock_mono_us()) || wants_quiet(d)) return false;
	return d->flight_count + d->is_rehearsing < (is_trying ? 1 : d->flow.concurrency);
}

static int64_t next_landing(const struct destination *d)
{
	int64_t until = clock_mono_us() + IDLE_US;
	for (const struct flight *f = d->flights; f; f = f->next)
		if (f->until_us < until) until = f->until_us;
	return until;
}

/* While the plugin works on what it has: the next window is read. */
static bool read_ahead(struct destination *d)
{
	bool did = false;
	struct lane *lane = &d->lanes[d->turn];
	if (d->flow.batch_age_us || lane_is_held(d, lane) || lane_has_waiting(lane)) return false;
	return lane_pull(lane, d->shared->windows, &d->streams, &did) == OK && did;
}

/* *did: something went out. */
static bool hand_over(struct destination *d, bool *did, int64_t *wait_until_us)
{
	struct flight *flight;
	release_answered(d);
	*did = false;
	if (d->abandoned_count >= ABANDONED_MAX) {
		fail_and_wait(d, STR("it answers none of its pending batches"));
		return true;
	}
	int rc = destination_fill(d, &flight, wait_until_us);
	if (rc) {
		fail_and_wait(d, str_from(status_str(rc)));
		return true;
	}
	*did = flight != NULL;
	if (flight) launch(d, flight);
	return true;
}

/* ── the round ───────────────────────────────────────────────────────────── */

/* *did: there is nothing else to do in this round. */
static bool obey(struct destination *d, bool *did)
{
	struct order order = order_of(d);
	*did = order.has_seek || order.is_paused;
	if (order.has_seek && !d->flight_count) return go_back(d, order.seek_seq);
	if (*did) {
		if (!destination_settle(d, true)) return false;
		destination_wait(d, d->flight_count ? next_landing(d) : clock_mono_us() + IDLE_US, true);
	}
	return true;
}

/* Differs when something was read or settled. */
static uint64_t progress_of(const struct destination *d)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < d->lane_count; i++) sum += d->lanes[i].end + d->lanes[i].row.next_seq;
	return sum;
}

/* Where new lanes begin is durable before anything is handed over: a snapshot is followed by all that changed since its beginning. */
static bool write_new(struct destination *d)
{
	bool is_new = false;
	for (size_t i = 0; i < d->lane_count; i++) is_new |= d->lanes[i].is_new;
	return !is_new || destination_write(d);
}

static bool expire_all(struct destination *d)
{
	bool goes_on = write_new(d);
	lanes_keep(d);
	if (d->flight_count) return goes_on;
	for (size_t i = 0; i < d->lane_count && goes_on; i++) goes_on = expire(d, &d->lanes[i]);
	return goes_on;
}

bool destination_round(struct destination *d)
{
	bool did;
	int64_t wait_until = clock_mono_us() + IDLE_US;
	land_all(d, false);
	rehearsal_run(d);
	for (size_t i = 0; i < d->lane_count; i++) look_at_head(d, &d->lanes[i]);
	if (!destination_settle(d, false) || !obey(d, &did)) return false;
	if (did || destination_is_stopping(d)) return true;
	if (!d->instance && !destination_create(d)) {
		fail_and_wait(d, STR("the plugin could not be created; its own text is in the log"));
		return true;
	}
	if (!expire_all(d)) return false;
	if (!may_launch(d)) {
		if (d->flight_count && read_ahead(d)) return true;
		int64_t until = d->breaker.state == BREAKER_OPEN ? d->breaker.until_us : wait_until;
		int64_t landing = next_landing(d);
		if (!destination_settle(d, true)) return false;
		destination_wait(d, d->flight_count && landing < until ? landing : until, false);
		return true;
	}
	uint64_t before = progress_of(d);
	if (!hand_over(d, &did, &wait_until) || did) return true;
	if (!destination_settle(d, false)) return false;
	if (progress_of(d) != before) return true; /* nothing of it was for this destination */
	if (!destination_settle(d, true)) return false;
	int64_t landing = next_landing(d);
	destination_wait(d, landing < wait_until ? landing : wait_until, true);
	return true;
}

static void await_answer(struct destination *d, int64_t until_us)
{
	destination_run_timers(d);
	int64_t timer = instance_next_timer(d->instance), landing = next_landing(d);
	if (landing < until_us) until_us = landing;
	pthread_mutex_lock(&d->lock);
	bool was_answered = d->was_answered;
	d->was_answered = false;
	pthread_mutex_unlock(&d->lock);
	if (!was_answered) http_wait(d->http, timer < until_us ? timer : until_us);
}

/* The end: what is on its way may still be answered, for a moment. */
void destination_finish(struct destination *d, bool can_write)
{
	int64_t until = clock_mono_us() + HANDOVER_STOP_GRACE_US;
	for (land_all(d, false); d->flights && clock_mono_us() < until; land_all(d, false)) await_answer(d, until);
	land_all(d, true);
	if (can_write) (void)!destination_settle(d, true);
}
