/* How a destination is doing: its metrics, and its row for operators. */
#include <stdio.h>

#include "base/clock.h"
#include "deliver/destination.h"

static struct metric *metric_of(const struct destination *d, enum metric_type type, const char *name, const char *help)
{
	char labels[INSTANCE_NAME_MAX + 20];
	snprintf(labels, sizeof labels, "destination=\"%.*s\"", STR_ARG(d->name));
	return metric_get(type, name, labels, help);
}

void destination_make_metrics(struct destination *d)
{
	d->delivered =
	    metric_of(d, METRIC_COUNTER, "cdpd_destination_delivered_total", "Records the destination acknowledged.");
	d->dropped =
	    metric_of(d, METRIC_COUNTER, "cdpd_destination_dropped_total", "Records the destination can never take.");
	d->retries = metric_of(d, METRIC_COUNTER, "cdpd_destination_retries_total",
			       "Records handed over in vain, to be tried again.");
	d->expired = metric_of(d, METRIC_COUNTER, "cdpd_destination_expired_records_total",
			       "Records that retention trimmed before the destination took them.");
	d->denied = metric_of(d, METRIC_COUNTER, "cdpd_destination_denied_total",
			      "Records not handed over because the person does not consent.");
	d->filtered = metric_of(d, METRIC_COUNTER, "cdpd_destination_filtered_total",
				"Records that the destination's events, segments, where or mapping leave out.");
	d->unmapped = metric_of(d, METRIC_COUNTER, "cdpd_destination_unmapped_total",
				"Records that became dead letters because the mapping could not be filled.");
	d->letters_lost = metric_of(d, METRIC_COUNTER, "cdpd_destination_dead_letters_lost_total",
				    "Dead letters that made room for newer ones, or whose record was trimmed.");
	d->letters = metric_of(d, METRIC_GAUGE, "cdpd_destination_dead_letters", "Dead letters that are kept.");
	d->lag = metric_of(d, METRIC_GAUGE, "cdpd_destination_lag_records",
			   "Records between the fold and the destination's cursor.");
	d->lag_seconds = metric_of(d, METRIC_GAUGE, "cdpd_destination_lag_seconds",
				   "Age of the oldest record that waits for the destination.");
	d->paused = metric_of(d, METRIC_GAUGE, "cdpd_destination_paused", "1 while an operator has paused it.");
	d->failing = metric_of(d, METRIC_GAUGE, "cdpd_destination_failing", "1 while the destination takes nothing.");
}

void destination_show_counters(const struct destination *d)
{
	metric_set(d->delivered, (int64_t)d->lane->row.delivered);
	metric_set(d->dropped, (int64_t)d->lane->row.dropped);
	metric_set(d->retries, (int64_t)d->lane->row.retries);
	metric_set(d->expired, (int64_t)d->lane->row.expired_records);
	metric_set(d->denied, (int64_t)d->lane->row.denied);
	metric_set(d->filtered, (int64_t)d->lane->row.filtered);
	metric_set(d->unmapped, (int64_t)d->lane->row.unmapped);
	metric_set(d->letters_lost, (int64_t)d->lane->row.letters_lost);
}

/* ── status ──────────────────────────────────────────────────────────────── */

static uint64_t lag_of(const struct destination *d, uint64_t next_seq)
{
	uint64_t end = d->lane->stream->end(d->shared);
	return end > next_seq ? end - next_seq : 0;
}

static int64_t lag_us_of(uint64_t lag, int64_t head_t)
{
	int64_t now = clock_wall_us();
	return lag && head_t && now > head_t ? now - head_t : 0;
}

void destination_show_lag(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	uint64_t next_seq = d->lane->row.next_seq;
	int64_t head_t = d->lane->head_t;
	pthread_mutex_unlock(&d->lock);
	uint64_t lag = lag_of(d, next_seq);
	metric_set(d->lag, (int64_t)lag);
	metric_set(d->lag_seconds, lag_us_of(lag, head_t) / US_PER_SECOND);
}

int destination_status(struct destination *d, struct arena *arena, struct destination_status *out)
{
	pthread_mutex_lock(&d->lock);
	struct cursor_row row = d->lane->row;
	bool is_failing = d->is_failing;
	int64_t head_t = d->lane->head_t;
	out->is_paused = d->order.is_paused;
	int rc = arena_str(arena, str_from(d->last_error), &out->last_error);
	pthread_mutex_unlock(&d->lock);
	out->cursor = row.next_seq;
	out->lag = lag_of(d, row.next_seq);
	out->lag_us = lag_us_of(out->lag, head_t);
	out->delivered = row.delivered;
	out->dropped = row.dropped;
	out->retries = row.retries;
	out->expired_records = row.expired_records;
	out->denied = row.denied;
	out->filtered = row.filtered;
	out->unmapped = row.unmapped;
	out->letters_lost = row.letters_lost;
	out->is_failing = is_failing;
	out->last_success_us = row.last_success_us;
	if (rc == OK) rc = arena_str(arena, d->name, &out->name);
	return rc == OK ? arena_str(arena, str_from(plugin_info(d->plugin)->name), &out->plugin) : rc;
}
