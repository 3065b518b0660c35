#include "deliver/lanes.h"

#include "base/clock.h"
#include "deliver/snapshot.h"
#include "deliver/stream_feed.h"
#include "profile/scan.h"

#define REPAIR_EVERY_US (60 * US_PER_SECOND)

size_t lanes_choose(const struct selection *selection, bool is_gated, enum stream_id out[STREAM_COUNT])
{
	uint32_t records = selection->records;
	size_t count = 0;
	if (records & CONF_RECORD_EVENTS) out[count++] = STREAM_OF_EVENTS;
	out[count++] = STREAM_OF_SNAPSHOT;
	if (records & CONF_RECORD_PROFILES) out[count++] = STREAM_OF_PROFILES;
	if (records & CONF_RECORD_CHANGES) out[count++] = STREAM_OF_CHANGES;
	if (is_gated && records == CONF_RECORD_EVENTS) out[count++] = STREAM_OF_NOTICES;
	return count;
}

static bool begins_with_everybody(const struct selection *selection)
{
	if (!(selection->records & CONF_RECORD_PROFILES)) return false;
	return selection->start == CONF_START_AUTO || selection->start == CONF_START_SNAPSHOT;
}

uint64_t lanes_start(const struct deliver_shared *shared, const struct selection *selection,
		     const struct stream *stream)
{
	bool is_now = selection->start == CONF_START_NOW;
	switch (stream->id) {
	case STREAM_OF_SNAPSHOT: return begins_with_everybody(selection) ? SNAPSHOT_START : SNAPSHOT_DONE;
	case STREAM_OF_PROFILES: is_now |= begins_with_everybody(selection); break;
	case STREAM_OF_NOTICES: is_now = true; break; /* nobody was handed over before */
	default: break;
	}
	return is_now ? stream->end(shared) : stream->first(shared);
}

static const struct lane *find(const struct destination *d, enum stream_id stream)
{
	for (size_t i = 0; i < d->lane_count; i++)
		if (d->lanes[i].stream->id == stream) return &d->lanes[i];
	return NULL;
}

struct lane *lane_of(struct destination *d, enum stream_id stream)
{
	return (struct lane *)(uintptr_t)find(d, stream);
}

bool lane_is_held(const struct destination *d, const struct lane *lane)
{
	return lane->stream->id == STREAM_OF_PROFILES && lanes_walked(d) >= 0;
}

double lanes_walked(const struct destination *d)
{
	const struct lane *snapshot = find(d, STREAM_OF_SNAPSHOT);
	bool is_running = snapshot && snapshot_is_running(snapshot->row.next_seq);
	return is_running ? snapshot_progress(snapshot->row.next_seq) : -1;
}

uint64_t lane_records(const struct lane *lane, uint64_t positions)
{
	switch (lane->stream->id) {
	case STREAM_OF_EVENTS: return positions;
	case STREAM_OF_SNAPSHOT: return 0; /* says in its own way how far it is */
	default: return positions / FEED_PARTS;
	}
}

static void seek(struct destination *d, struct lane *lane, uint64_t position)
{
	lane_seek(lane, position);
	pthread_mutex_lock(&d->lock);
	lane->row.next_seq = position;
	lane->head_t = 0;
	pthread_mutex_unlock(&d->lock);
}

void lanes_begin(struct destination *d)
{
	struct lane *snapshot = lane_of(d, STREAM_OF_SNAPSHOT);
	const struct lane *profiles = find(d, STREAM_OF_PROFILES);
	if (!profiles || !profiles->is_new || snapshot->is_new || !begins_with_everybody(&d->selection)) return;
	seek(d, snapshot, snapshot_is_running(snapshot->row.next_seq) ? SNAPSHOT_REPAIR : SNAPSHOT_START);
}

void lanes_let_go(struct destination *d)
{
	people_end_lease(d->shared->people, d->lease);
	d->lease = -1;
}

static uint64_t repair_start(const struct destination *d)
{
	const struct lane *snapshot = find(d, STREAM_OF_SNAPSHOT);
	/* One that is cut short was to bring everybody. */
	return d->is_gated || snapshot->row.next_seq < SNAPSHOT_ERASED ? SNAPSHOT_REPAIR : SNAPSHOT_ERASED;
}

bool lanes_may_repair(const struct destination *d)
{
	const struct lane *snapshot = find(d, STREAM_OF_SNAPSHOT);
	bool is_early = d->repaired_at_us && clock_mono_us() - d->repaired_at_us < REPAIR_EVERY_US;
	return snapshot->row.owes_repair && !is_early && !snapshot_is_running(snapshot->row.next_seq);
}

/* Of who takes no profiles: whoever is gated must hear of withdrawals, everybody of erasures. A destination that misses something all the time is not
 * told all of it all the time. */
static void begin_repair(struct destination *d)
{
	struct lane *snapshot = lane_of(d, STREAM_OF_SNAPSHOT);
	if (d->flight_count || !lanes_may_repair(d)) return;
	seek(d, snapshot, repair_start(d));
	pthread_mutex_lock(&d->lock);
	snapshot->row.owes_repair = 0;
	snapshot->row.repairs++;
	pthread_mutex_unlock(&d->lock);
	d->repaired_at_us = clock_mono_us();
}

void lanes_keep(struct destination *d)
{
	struct lane *snapshot = lane_of(d, STREAM_OF_SNAPSHOT);
	const struct lane *profiles = find(d, STREAM_OF_PROFILES);
	begin_repair(d);
	if (!profiles) {
		snapshot->series = snapshot->row.repairs;
		return;
	}
	snapshot->series = profiles->row.next_seq;
	if (lanes_walked(d) < 0) {
		lanes_let_go(d);
		return;
	}
	uint64_t seq = feed_seq(profiles->row.next_seq);
	if (d->lease < 0) d->lease = people_lease_changes(d->shared->people, seq ? seq - 1 : 0);
}

void lanes_repair(struct destination *d, struct lane *missed, uint64_t position)
{
	bool has_profiles = missed->stream->id == STREAM_OF_PROFILES;
	seek(d, missed, has_profiles ? missed->stream->end(d->shared) : position);
	if (has_profiles) {
		seek(d, lane_of(d, STREAM_OF_SNAPSHOT), SNAPSHOT_REPAIR);
		lanes_let_go(d);
	} else { /* written with the cursor that passes the gap: it is not forgotten at the end */
		pthread_mutex_lock(&d->lock);
		lane_of(d, STREAM_OF_SNAPSHOT)->row.owes_repair = 1;
		pthread_mutex_unlock(&d->lock);
	}
	lanes_keep(d);
}
