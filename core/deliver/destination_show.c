/* How a destination is doing: its metrics, and its row for operators. */
#include <stdio.h>

#include "base/clock.h"
#include "deliver/lanes.h"
#include "deliver/snapshot.h"

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

/* What all lanes have done; next_seq is of the first. */
static struct cursor_row sum_of(const struct destination *d)
{
	struct cursor_row sum = d->lanes[0].row;
	for (size_t i = 1; i < d->lane_count; i++) {
		const struct cursor_row *row = &d->lanes[i].row;
		sum.delivered += row->delivered;
		sum.dropped += row->dropped;
		sum.retries += row->retries;
		sum.expired_records += row->expired_records;
		sum.denied += row->denied;
		sum.filtered += row->filtered;
		sum.unmapped += row->unmapped;
		sum.letters_lost += row->letters_lost;
		if (row->last_success_us > sum.last_success_us) sum.last_success_us = row->last_success_us;
	}
	return sum;
}

void destination_show_counters(const struct destination *d)
{
	const struct cursor_row sum = sum_of(d);
	metric_set(d->delivered, (int64_t)sum.delivered);
	metric_set(d->dropped, (int64_t)sum.dropped);
	metric_set(d->retries, (int64_t)sum.retries);
	metric_set(d->expired, (int64_t)sum.expired_records);
	metric_set(d->denied, (int64_t)sum.denied);
	metric_set(d->filtered, (int64_t)sum.filtered);
	metric_set(d->unmapped, (int64_t)sum.unmapped);
	metric_set(d->letters_lost, (int64_t)sum.letters_lost);
}

/* ── status ──────────────────────────────────────────────────────────────── */

static uint64_t lag_of(const struct destination *d, const struct lane *lane)
{
	uint64_t end = lane->stream->end(d->shared), next = lane->row.next_seq;
	return lane_records(lane, end > next ? end - next : 0);
}

struct behind {
	uint64_t records;
	int64_t us;
};

/* Under the lock. */
static struct behind behind_of(const struct destination *d)
{
	struct behind all = {0, 0};
	int64_t now = clock_wall_us();
	for (size_t i = 0; i < d->lane_count; i++) {
		const struct lane *lane = &d->lanes[i];
		uint64_t lag = lag_of(d, lane);
		int64_t us = lag && lane->head_t && now > lane->head_t ? now - lane->head_t : 0;
		all.records += lag;
		if (us > all.us) all.us = us;
	}
	return all;
}

void destination_show_lag(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	struct behind behind = behind_of(d);
	pthread_mutex_unlock(&d->lock);
	metric_set(d->lag, (int64_t)behind.records);
	metric_set(d->lag_seconds, behind.us / US_PER_SECOND);
}

static double walk_of(const struct destination *d)
{
	for (size_t i = 0; i < d->lane_count; i++) {
		uint64_t position = d->lanes[i].row.next_seq;
		if (d->lanes[i].stream->id == STREAM_OF_SNAPSHOT && snapshot_is_running(position))
			return snapshot_progress(position);
	}
	return -1;
}

int destination_status(struct destination *d, struct arena *arena, struct destination_status *out)
{
	pthread_mutex_lock(&d->lock);
	struct cursor_row row = sum_of(d);
	struct behind behind = behind_of(d);
	bool is_failing = d->is_failing;
	out->is_paused = d->order.is_paused;
	out->snapshot = walk_of(d);
	int rc = arena_str(arena, str_from(d->last_error), &out->last_error);
	pthread_mutex_unlock(&d->lock);
	out->records = d->selection.records;
	out->cursor = d->lanes[0].stream->id == STREAM_OF_EVENTS ? row.next_seq : 0;
	out->lag = behind.records;
	out->lag_us = behind.us;
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
