#include "deliver/destination.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "deliver/lanes.h"

const struct deliver_tuning deliver_tuning_default = {
    .answer_us = 30 * US_PER_SECOND,
    .backoff_min_us = 200 * US_PER_MS,
    .backoff_max_us = 60 * US_PER_SECOND,
    .parked_max_us = 300 * US_PER_SECOND,
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
	if (rc == OK) rc = http_tls_copy(&d->arena, &conf->async.http_tls, &d->async.http_tls);
	if (rc) return rc;
	return arena_str(&d->arena, conf->name, &d->name);
}

static int read_lane(struct destination *d, struct lane *lane)
{
	struct cursor_row row = {.next_seq = 0};
	uint64_t letters;
	enum stream_id stream = lane->stream->id;
	int rc = cursors_get(d->shared->cursors, d->name, stream, &row);
	lane->is_new = rc == ERR_NOT_FOUND;
	if (lane->is_new) {
		row.next_seq = lanes_start(d->shared, &d->selection, lane->stream);
		rc = OK;
	}
	if (rc == OK) rc = letters_last(d->shared->cursors, d->name, stream, &letters);
	if (rc) return rc;
	d->letters_until[stream] = letters;
	lane_seek(lane, row.next_seq);
	lane->committed = row.next_seq;
	lane->committed_at_us = clock_mono_us();
	pthread_mutex_lock(&d->lock);
	lane->row = row;
	pthread_mutex_unlock(&d->lock);
	return OK;
}

/* Rows of streams that it reads no more are kept, like those of destinations that the config no longer names. */
static void leave_unread(struct destination *d)
{
	size_t kept = 0;
	for (size_t i = 0; i < d->parked.count; i++)
		if (lane_of(d, d->parked.items[i].stream)) d->parked.items[kept++] = d->parked.items[i];
	d->parked.count = kept;
}

int destination_read_cursor(struct destination *d)
{
	uint64_t letters = 0, queued = 0;
	struct order order = {.is_paused = false};
	int rc = OK;
	for (size_t i = 0; i < d->lane_count && rc == OK; i++) rc = read_lane(d, &d->lanes[i]);
	if (rc == OK) lanes_begin(d);
	if (rc == OK) rc = order_get(d->shared->cursors, d->name, &order);
	if (rc == OK) rc = letters_count(d->shared->cursors, d->name, &letters, &queued);
	if (rc == OK) rc = parked_load(d->shared->cursors, d->name, &d->parked);
	leave_unread(d);
	pthread_mutex_lock(&d->lock);
	d->has_queued = queued > 0;
	d->order = order;
	pthread_mutex_unlock(&d->lock);
	if (rc == OK) destination_note_state(d);
	return rc;
}

/* What it is told of how records are handed over; zeros are the defaults of who made the configuration by hand. */
static struct conf_flow read_flow(const struct conf_instance *conf)
{
	struct conf_flow flow = conf->flow;
	if (!flow.batch_records) flow.batch_records = CONF_BATCH_RECORDS;
	if (!flow.batch_bytes) flow.batch_bytes = CONF_BATCH_BYTES;
	if (!flow.concurrency) flow.concurrency = 1;
	return flow;
}

static void add_lanes(struct destination *d)
{
	enum stream_id streams[STREAM_COUNT];
	size_t windows = (d->flow.batch_records + WINDOW_RECORDS_MAX - 1) / WINDOW_RECORDS_MAX;
	d->lane_count = lanes_choose(&d->selection, d->is_gated, streams);
	for (size_t i = 0; i < d->lane_count; i++)
		lane_init(&d->lanes[i], stream_get(streams[i]), 2 + windows * d->flow.concurrency);
}

/* Everything that destination_free takes apart. */
static int make(struct deliver_shared *shared, const struct config *config, const struct conf_instance *conf,
		struct destination *d)
{
	int rc = read_conf(d, config, conf);
	if (rc == OK) rc = people_reader_new(shared->people, &d->reader);
	if (rc) return rc;
	d->gate = (struct gate){d->name, d->is_gated, &d->selection, shared->epoch};
	d->flow = read_flow(conf);
	stream_reader_init(&d->streams, shared, d->reader);
	chooser_init(&d->chooser, d->reader);
	destination_make_metrics(d);
	add_lanes(d);
	return destination_read_cursor(d);
}

int destination_new(struct deliver_shared *shared, const struct config *config, const struct conf_instance *conf,
		    struct destination **out)
{
	pthread_condattr_t attr;
	*out = NULL;
	struct destination *d = calloc(1, sizeof *d);
	if (!d) return ERR_NOMEM;
	d->shared = shared;
	d->lease = -1;
	arena_init(&d->arena, 1024, 0);
	atomic_init(&d->wants_records, true);
	CHECK(pthread_mutex_init(&d->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&d->changed, &attr) == 0);
	pthread_condattr_destroy(&attr);
	int rc = make(shared, config, conf, d);
	if (rc) {
		destination_free(d);
		return rc;
	}
	*out = d;
	return OK;
}

void destination_free(struct destination *d)
{
	if (!d) return;
	CHECK(!d->has_thread && !d->instance && !d->flights);
	if (d->reader) {
		stream_reader_fini(&d->streams);
		chooser_fini(&d->chooser);
		people_reader_free(d->reader);
	}
	for (size_t i = 0; i < d->lane_count; i++) lane_fini(&d->lanes[i]);
	person_set_fini(&d->airborne);
	person_set_fini(&d->skipped);
	parked_list_fini(&d->parked);
	letter_changes_fini(&d->changes);
	free(d->parked_rows);
	free(d->answers);
	arena_fini(&d->arena);
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static bool is_same_http(const struct destination *a, const struct destination *b)
{
	if (a->async.http_connections != b->async.http_connections || a->guard.count != b->guard.count ||
	    a->async.http_requests_per_second != b->async.http_requests_per_second ||
	    !http_tls_is_same(&a->async.http_tls, &b->async.http_tls))
		return false;
	for (size_t i = 0; i < a->guard.count; i++) {
		const struct http_allowed *x = &a->guard.items[i], *y = &b->guard.items[i];
		if (!str_eq(x->host, y->host) || x->bits != y->bits ||
		    memcmp(x->address, y->address, sizeof x->address) != 0)
			return false;
	}
	return true;
}

static bool is_same_flow(const struct conf_flow *a, const struct conf_flow *b)
{
	return a->batch_records == b->batch_records && a->batch_bytes == b->batch_bytes &&
	       a->batch_age_us == b->batch_age_us && a->concurrency == b->concurrency &&
	       a->records_per_second == b->records_per_second && a->max_attempts == b->max_attempts &&
	       a->max_hold_us == b->max_hold_us;
}

bool destination_is_same(const struct destination *d, const struct destination *other)
{
	return str_eq(d->name, other->name) && d->plugin == other->plugin && d->is_gated == other->is_gated &&
	       plugin_conf_is_same(d->conf, other->conf) && is_same_http(d, other) &&
	       is_same_flow(&d->flow, &other->flow) && selection_is_same(&d->selection, &other->selection);
}

/* ── the thread ──────────────────────────────────────────────────────────── */

static void *run(void *ctx)
{
	struct destination *d = ctx;
	bool goes_on = true;
	while (goes_on && !destination_is_stopping(d)) goes_on = destination_round(d);
	d->is_broken = !goes_on;
	if (!goes_on)
		destination_note_failure(
		    d, STR("its cursor cannot be made durable: stopped until the daemon is restarted"));
	destination_finish(d, goes_on);
	lanes_let_go(d);
	rehearsal_end(d);
	destination_destroy(d);
	pthread_mutex_lock(&d->lock);
	d->is_finished = true;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

int destination_start(struct destination *d)
{
	char name[16];
	destination_show_all(d);
	if (pthread_create(&d->thread, NULL, run, d)) return ERR_NOMEM;
	(void)snprintf(name, sizeof name, "to:%.*s", STR_ARG(d->name));
	(void)pthread_setname_np(d->thread, name);
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

void destination_nudge(struct destination *d)
{
	if (atomic_load(&d->wants_records)) destination_wake(d);
}

void destination_redrive(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	d->has_queued = true;
	pthread_mutex_unlock(&d->lock);
	destination_wake(d);
}

void destination_ask_to_stop(struct destination *d)
{
	atomic_store(&d->stop, true);
	pthread_mutex_lock(&d->lock);
	pthread_cond_broadcast(&d->changed);
	if (d->http) http_wake(d->http);
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
