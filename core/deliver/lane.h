/* lane: a stream as one destination reads it: its cursor, and a bounded piece of the stream from there on with what became of each record in it.
 * Records may be settled in any order; the cursor is behind all that are. The destination's thread. */
#pragma once

#include "deliver/person_set.h"
#include "deliver/windows.h"

#define LANE_WINDOWS_MAX 64

enum lane_state { /* of a record */
		  LANE_WAITING,
		  LANE_OUT, /* handed over, not answered yet */
		  /* Settled: */
		  LANE_DELIVERED,
		  LANE_DROPPED,
		  LANE_DENIED,
		  LANE_FILTERED,
		  LANE_UNMAPPED,
		  LANE_GONE,
		  LANE_PARKED,
};

struct lane_window {
	struct stream_window *window;
	struct window_people *people; /* whose its records were when it was last looked at; NULL: not yet */
	size_t front;                 /* before it all records are settled, or were not asked for */
	uint8_t states[WINDOW_RECORDS_MAX];
	uint8_t tries[WINDOW_RECORDS_MAX]; /* handed over in vain */
};

struct lane {
	const struct stream *stream;
	struct lane_window *windows[LANE_WINDOWS_MAX]; /* in order of position */
	size_t count, most;
	struct lane_window *spare; /* one that is used again */
	uint64_t end;              /* everything below is in the windows, or settled */
	int64_t waits_since_us;    /* clock_mono_us: since when something waits; 0: nothing does */

	uint64_t series;         /* of a snapshot: which one it is */
	uint64_t looked_at_head; /* the position that head_t is of */
	uint64_t committed;      /* the durable cursor */
	bool is_new;             /* there is none yet */
	int64_t committed_at_us;
	uint64_t loose;        /* records handed over that are settled behind it, or about as many */
	struct cursor_row row; /* changed under the destination's lock */
	int64_t head_t;        /* journal's time of the record at the cursor, 0: nothing waits, or not looked at yet */
};
void lane_init(struct lane *lane, const struct stream *stream, size_t most_windows);
void lane_fini(struct lane *lane);
/* To begin at `position`: what was read is forgotten. Nothing of it is handed over at this moment. */
void lane_seek(struct lane *lane, uint64_t position);
/* Reads on, unless there is no room. *did: there was something. ERR_GONE: retention was quicker. */
MUST_USE int lane_pull(struct lane *lane, struct windows *windows, struct stream_reader *reader, bool *did);
/* Moves the cursor of `row` over what is settled and counts it there. */
void lane_settle(struct lane *lane, struct cursor_row *row);
bool lane_has_waiting(const struct lane *lane);
