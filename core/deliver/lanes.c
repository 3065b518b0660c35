#include "deliver/lanes.h"

#include "base/clock.h"
#include "deliver/snapshot.h"
#include "deliver/stream_feed.h"
#include "profile/scan.h"

static void add(struct destination *d, enum stream_id stream)
{
	d->lanes[d->lane_count++] = (struct lane){.stream = stream_get(stream)};
}

void lanes_make(struct destination *d)
{
	uint32_t records = d->selection.records;
	d->lane_count = 0;
	if (records & CONF_RECORD_EVENTS) add(d, STREAM_OF_EVENTS);
	if (records & CONF_RECORD_PROFILES) {
		add(d, STREAM_OF_SNAPSHOT);
		add(d, STREAM_OF_PROFILES);
	}
	if (records & CONF_RECORD_CHANGES) add(d, STREAM_OF_CHANGES);
	if (d->is_gated && records == CONF_RECORD_EVENTS) add(d, STREAM_OF_NOTICES);
	d->lane = &d->lanes[0];
	d->lease = -1;
}

struct lane *lane_of(struct destination *d, enum stream_id stream)
{
	for (size_t i = 0; i < d->lane_count; i++)
		if (d->lanes[i].stream->id == stream) return &d->lanes[i];
	return NULL;
}

uint64_t lane_records(const struct lane *lane, uint64_t positions)
{
	switch (lane->stream->id) {
	case STREAM_OF_EVENTS: return positions;
	case STREAM_OF_SNAPSHOT: return 0; /* says in its own way how far it is */
	default: return positions / FEED_PARTS;
	}
}

/* ── where they begin ────────────────────────────────────────────────────── */

static bool begins_with_everybody(const struct destination *d)
{
	return d->selection.start == CONF_START_AUTO || d->selection.start == CONF_START_SNAPSHOT;
}

static uint64_t start_of(const struct destination *d, const struct stream *stream)
{
	bool is_now = d->selection.start == CONF_START_NOW;
	switch (stream->id) {
	case STREAM_OF_SNAPSHOT: return begins_with_everybody(d) ? SNAPSHOT_START : SNAPSHOT_DONE;
	case STREAM_OF_PROFILES: is_now |= begins_with_everybody(d); break;
	case STREAM_OF_NOTICES: is_now = true; break; /* nobody was handed over before */
	default: break;
	}
	return is_now ? stream->end(d->shared) : stream->first(d->shared);
}

static int read_lane(struct destination *d, struct lane *lane)
{
	struct cursor_row row = {.next_seq = 0};
	int rc = cursors_get(d->shared->cursors, d->name, lane->stream->id, &row);
	lane->is_new = rc == ERR_NOT_FOUND;
	if (lane->is_new) {
		row.next_seq = start_of(d, lane->stream);
		rc = OK;
	}
	lane->committed_seq = row.next_seq;
	lane->committed_at_us = clock_mono_us();
	pthread_mutex_lock(&d->lock);
	lane->row = row;
	pthread_mutex_unlock(&d->lock);
	return rc;
}

int lanes_read(struct destination *d)
{
	int rc = OK;
	for (size_t i = 0; i < d->lane_count && rc == OK; i++) rc = read_lane(d, &d->lanes[i]);
	return rc;
}

static int write_lanes(struct destination *d, bool all)
{
	struct store_txn *txn;
	int rc = cursors_begin(d->shared->cursors, &txn);
	if (rc) return rc;
	for (size_t i = 0; i < d->lane_count; i++)
		if (all || d->lanes[i].is_new)
			cursors_write(d->shared->cursors, txn, d->name, d->lanes[i].stream->id, &d->lanes[i].row);
	if ((rc = cursors_commit(d->shared->cursors, txn))) return rc;
	for (size_t i = 0; i < d->lane_count; i++) {
		if (!all && !d->lanes[i].is_new) continue;
		d->lanes[i].committed_seq = d->lanes[i].row.next_seq;
		d->lanes[i].committed_at_us = clock_mono_us();
		d->lanes[i].is_new = false;
	}
	return OK;
}

int lanes_settle(struct destination *d)
{
	bool is_new = false;
	for (size_t i = 0; i < d->lane_count; i++) is_new |= d->lanes[i].is_new;
	return is_new ? write_lanes(d, false) : OK;
}

/* ── profiles and their snapshot ─────────────────────────────────────────── */

static bool is_walking(const struct destination *d)
{
	for (size_t i = 0; i < d->lane_count; i++)
		if (d->lanes[i].stream->id == STREAM_OF_SNAPSHOT) return snapshot_is_running(d->lanes[i].row.next_seq);
	return false;
}

bool lane_is_held(const struct destination *d, const struct lane *lane)
{
	bool is_walk = is_walking(d);
	if (lane->stream->id == STREAM_OF_SNAPSHOT) return !is_walk;
	return lane->stream->id == STREAM_OF_PROFILES && is_walk;
}

int lanes_repair(struct destination *d, uint64_t *gap)
{
	struct lane *profiles = lane_of(d, STREAM_OF_PROFILES), *snapshot = lane_of(d, STREAM_OF_SNAPSHOT);
	if (!profiles || !snapshot) return ERR_NOT_FOUND;
	uint64_t at = profiles->row.next_seq, first = feed_first(d->shared), end = feed_end(d->shared);
	if (at >= first && at <= end) return ERR_NOT_FOUND;
	*gap = at < first ? (first - at) / FEED_PARTS : 0;
	pthread_mutex_lock(&d->lock);
	profiles->row.expired_records += *gap;
	profiles->row.next_seq = end;
	snapshot->row.next_seq = SNAPSHOT_REPAIR;
	pthread_mutex_unlock(&d->lock);
	lanes_unlease(d);
	return write_lanes(d, true);
}

void lanes_lease(struct destination *d)
{
	const struct lane *profiles = lane_of(d, STREAM_OF_PROFILES);
	if (!profiles || !is_walking(d)) {
		lanes_unlease(d);
		return;
	}
	uint64_t seq = feed_seq(profiles->row.next_seq);
	if (d->lease < 0) d->lease = people_lease_changes(d->shared->people, seq ? seq - 1 : 0);
}

void lanes_unlease(struct destination *d)
{
	people_end_lease(d->shared->people, d->lease);
	d->lease = -1;
}
