/* How a destination is doing: its metrics, and its row for operators. */
#include <stdio.h>

#include "base/clock.h"
#include "deliver/lanes.h"

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
	d->parked_count =
	    metric_of(d, METRIC_GAUGE, "cdpd_destination_parked",
		      "Records that come again later, and those of the same persons that wait behind them.");
	d->breaker_state = metric_of(d, METRIC_GAUGE, "cdpd_destination_breaker",
				     "0 closed; 1 open: the other side is down; 2 half open: one attempt tells.");
	d->failing = metric_of(d, METRIC_GAUGE, "cdpd_destination_failing", "1 while the destination takes nothing.");
}

/* Of all lanes. */
static struct cursor_row sum_of(const struct destination *d)
{
	struct cursor_row sum = {.next_seq = 0};
	for (size_t i = 0; i < d->lane_count; i++) {
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
	const struct cursor_row row = sum_of(d); /* only this thread writes them */
	metric_set(d->delivered, (int64_t)row.delivered);
	metric_set(d->dropped, (int64_t)row.dropped);
	metric_set(d->retries, (int64_t)row.retries);
	metric_set(d->expired, (int64_t)row.expired_records);
	metric_set(d->denied, (int64_t)row.denied);
	metric_set(d->filtered, (int64_t)row.filtered);
	metric_set(d->unmapped, (int64_t)row.unmapped);
	metric_set(d->letters_lost, (int64_t)row.letters_lost);
}

/* ── its condition ───────────────────────────────────────────────────────── */

const char *destination_condition_name(enum destination_condition condition)
{
	static const char *const names[] = {"ok", "waiting", "trying", "full", "stopped"};
	return (size_t)condition < COUNT_OF(names) ? names[condition] : "unknown";
}

static enum destination_condition condition_of(const struct destination *d)
{
	if (d->is_broken) return DESTINATION_STOPPED;
	if (d->parked.count >= PARKED_MAX) return DESTINATION_FULL;
	return d->breaker.state == BREAKER_CLOSED ? DESTINATION_OK
	       : d->breaker.state == BREAKER_OPEN ? DESTINATION_WAITING
						  : DESTINATION_TRYING;
}

static bool is_down(enum destination_condition condition)
{
	return condition == DESTINATION_WAITING || condition == DESTINATION_TRYING;
}

void destination_note_state(struct destination *d)
{
	enum destination_condition now = condition_of(d);
	int64_t wait = d->breaker.until_us - clock_mono_us();
	pthread_mutex_lock(&d->lock);
	enum destination_condition was = d->shown.condition;
	if (!d->shown.since_us || (now != was && !(is_down(now) && is_down(was)))) d->shown.since_us = clock_wall_us();
	d->shown.condition = now;
	d->shown.parked = d->parked.count;
	d->shown.retry_at_us = now == DESTINATION_WAITING ? clock_wall_us() + (wait > 0 ? wait : 0) : 0;
	pthread_mutex_unlock(&d->lock);
}

void destination_show_state(struct destination *d)
{
	destination_note_state(d);
	metric_set(d->parked_count, (int64_t)d->parked.count);
	metric_set(d->breaker_state, (int64_t)d->breaker.state);
}

void destination_show_all(struct destination *d)
{
	destination_show_counters(d);
	destination_show_state(d);
	metric_set(d->paused, d->order.is_paused);
	metric_set(d->failing, 0);
}

void destination_hide(const struct destination *d)
{
	struct metric *const gauges[] = {d->failing, d->breaker_state, d->parked_count,
					 d->paused,  d->lag,           d->lag_seconds};
	for (size_t i = 0; i < COUNT_OF(gauges); i++) metric_set(gauges[i], 0);
}

/* ── status ──────────────────────────────────────────────────────────────── */

struct lag {
	uint64_t records;
	int64_t us;
};

/* Under the lock: of all lanes the records, and the age of the oldest. */
static struct lag lag_of(const struct destination *d)
{
	struct lag lag = {0};
	int64_t now = clock_wall_us();
	for (size_t i = 0; i < d->lane_count; i++) {
		const struct lane *lane = &d->lanes[i];
		uint64_t end = lane->stream->end(d->shared);
		if (end <= lane->row.next_seq) continue;
		lag.records += lane_records(lane, end - lane->row.next_seq);
		if (lane->head_t && now - lane->head_t > lag.us) lag.us = now - lane->head_t;
	}
	return lag;
}

void destination_show_lag(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	const struct lag lag = lag_of(d);
	pthread_mutex_unlock(&d->lock);
	metric_set(d->lag, (int64_t)lag.records);
	metric_set(d->lag_seconds, lag.us / US_PER_SECOND);
}

int destination_status(struct destination *d, struct arena *arena, struct destination_status *out)
{
	pthread_mutex_lock(&d->lock);
	const struct cursor_row row = sum_of(d);
	const struct lag lag = lag_of(d);
	out->cursor = d->lanes[0].stream->id == STREAM_OF_EVENTS ? d->lanes[0].row.next_seq : 0;
	out->snapshot = d->selection.records & CONF_RECORD_PROFILES ? lanes_walked(d) : -1;
	out->is_failing = d->is_failing;
	out->is_paused = d->order.is_paused;
	out->state = d->shown;
	int rc = arena_str(arena, str_from(d->last_error), &out->last_error);
	pthread_mutex_unlock(&d->lock);
	out->records = d->selection.records;
	out->lag = lag.records;
	out->lag_us = lag.us;
	out->delivered = row.delivered;
	out->dropped = row.dropped;
	out->retries = row.retries;
	out->expired_records = row.expired_records;
	out->denied = row.denied;
	out->filtered = row.filtered;
	out->unmapped = row.unmapped;
	out->letters_lost = row.letters_lost;
	out->last_success_us = row.last_success_us;
	if (rc == OK) rc = arena_str(arena, d->name, &out->name);
	return rc == OK ? arena_str(arena, str_from(plugin_info(d->plugin)->name), &out->plugin) : rc;
}
