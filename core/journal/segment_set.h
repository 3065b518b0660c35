/* segment_set: all segments in order of their positions. Readers hold a reference to the one they read, so
 * that closing and deleting never pull it away; few sealed ones are open at a time. Thread-safe. */
#pragma once

#include <pthread.h>

#include "journal/segment.h"

#define SEGMENT_OPEN_MAX 64

struct segment_set {
	pthread_mutex_t lock;
	char *dir;
	uint64_t epoch;
	struct segment **items; /* ascending; the last is the active one */
	size_t count, capacity, open_count;
	struct segment **trimmed; /* out of reach, deleted once their last reader is gone */
	size_t trimmed_count;
	uint64_t ticks; /* orders the uses */
	uint64_t sealed_bytes;
};

/* Finds the segments there are; opens none. */
MUST_USE int segment_set_init(struct segment_set *set, const char *dir);
void segment_set_fini(struct segment_set *set);
/* Room for one more, so that segment_set_add cannot fail. */
MUST_USE int segment_set_reserve(struct segment_set *set);
/* Takes the segment, which is open for writing, as the new active one; the old one is sealed, its newest record
 * was of `last_t`. */
void segment_set_add(struct segment_set *set, struct segment *segment, int64_t last_t);
/* The active segment was opened by its owner. */
void segment_set_note_open(struct segment_set *set);
struct segment *segment_set_active(struct segment_set *set); /* NULL: there is none yet */
/* The active one, which is closed, leaves the set and is freed; its files stay. */
void segment_set_drop_active(struct segment_set *set);

/* The open segment that holds `seq`. ERR_GONE: before the first one; ERR_CORRUPT: in a hole; ERR_BUSY: too many are
 * in use. Release it. */
MUST_USE int segment_acquire(struct segment_set *set, uint64_t seq, struct segment **out);
void segment_release(struct segment_set *set, struct segment *segment);

/* First position of the segment that holds `seq`, and of the next one; *is_sealed: it is not written any more. ERR_GONE. */
MUST_USE int segment_set_range(struct segment_set *set, uint64_t seq, uint64_t *first_seq, uint64_t *end_seq,
			       bool *is_sealed);
/* Puts the closed segment at `path` in the place of `old`, which is sealed and which the caller holds. Readers of the old one
 * keep it; it is deleted with the trimmed ones. ERR_GONE: `old` was trimmed meanwhile; else nothing was changed either. */
MUST_USE int segment_set_exchange(struct segment_set *set, struct segment *old, const char *path);
/* The oldest sealed segment if it lies wholly below `checkpoint`: its end and its newest time. ERR_NOT_FOUND: none. */
MUST_USE int segment_set_oldest(struct segment_set *set, uint64_t checkpoint, uint64_t *end_seq, int64_t *last_t);
/* No reader gets at segments wholly below `first_seq` from now on. */
void segment_set_trim(struct segment_set *set, uint64_t first_seq);
/* Deletes trimmed segments that nobody reads any more. */
void segment_set_remove_trimmed(struct segment_set *set);
uint64_t segment_set_bytes(struct segment_set *set); /* of the sealed ones */
