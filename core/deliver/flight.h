/* flight: records on their way to a destination's plugin: a handover, and what each record of it was. */
#pragma once

#include "deliver/lane.h"
#include "plugin/handover.h"

enum flight_source {
	FLIGHT_LANE,    /* in a row */
	FLIGHT_PARKED,  /* come again */
	FLIGHT_LETTERS, /* dead letters that were queued again */
};

struct cargo {
	uint64_t position, journal_seq;
	uint8_t fragment[16];
	struct fragment_id person; /* when it left; of zeros: nobody's */
	uint32_t attempts;         /* in vain, before this one */
	bool has_notice;           /* its answer is kept */
	uint8_t notice_id[NOTICE_ID_SIZE];
	struct lane_window *window; /* FLIGHT_LANE: where it stands in the lane */
	size_t index;
};

struct flight {
	struct flight *next;
	enum flight_source source;
	struct lane *lane;
	struct handover *handover;
	struct arena *arena; /* of texts that the handover's records point into; lives as long as they do */
	struct cargo *cargo; /* in it; in the order of the handover's records */
	size_t count, most, bytes, bytes_most;
	bool is_alone;     /* nothing may follow while it is on its way */
	uint64_t named_at; /* the snapshot that the persons of the cargo are of */
	int64_t until_us;  /* clock_mono_us: when it is given up */
};

MUST_USE int flight_new(enum flight_source source, struct lane *lane, size_t most, size_t bytes_most,
			struct flight **out);
/* Lets go of the handover too. */
void flight_free(struct flight *flight);
static inline bool flight_is_full(const struct flight *flight)
{
	return flight->count == flight->most || flight->bytes >= flight->bytes_most;
}
/* An erasure told once of all ids of a person: it is in order with the records of each, so that nothing may be on its way with it. */
static inline bool is_told_alone(const struct stream_record *record)
{
	static const uint8_t nobody[sizeof record->fragment];
	return record->notice == NOTICE_ERASED && memcmp(record->fragment, nobody, sizeof nobody) == 0;
}
/* Of `record` in `window`, which is kept; as `json`. */
MUST_USE int flight_add(struct flight *flight, struct stream_window *window, const struct stream_record *record,
			struct str json, const struct cargo *cargo);
