/* parked: records that a destination asked to be given later, and what came after them of the same persons, in delivery/: everybody else's go
 * on past them. A row says which record it is and whose; the content stays in the journal. Rows of destinations that the config no longer names
 * are kept. */
#pragma once

#include "deliver/cursor.h"
#include "deliver/person_set.h"

#define PARKED_MAX 10000 /* of one destination; beyond, it waits as a whole */

struct parked {
	enum stream_id stream;
	uint64_t position;    /* in its stream */
	uint64_t journal_seq; /* of the record that caused it: older than an erasure, it goes with the person */
	uint8_t fragment[16];
	uint32_t attempts; /* in vain; 0: it waits behind another of its person */
	int64_t due_us;    /* wall clock; of those that were tried */
	int64_t since_us;  /* wall clock */
	/* In memory alone. */
	struct fragment_id person; /* nobody: it waits behind none, and none behind it */
	bool is_head;              /* the oldest of its person in its stream */
	bool is_out;               /* handed over, not answered yet */
};

/* A destination's, by stream and position. One thread. */
struct parked_list {
	struct parked *items;
	size_t count, room;
	struct person_set persons[STREAM_COUNT]; /* of whom something is parked */
	uint64_t looked_at;                      /* the snapshot that persons are of; 0: of none */
	bool is_stale;                           /* heads and sets are to be made anew */
};
void parked_list_fini(struct parked_list *list);
/* What is in delivery/. */
MUST_USE int parked_load(struct cursors *cursors, struct str destination, struct parked_list *list);
struct parked *parked_find(const struct parked_list *list, enum stream_id stream, uint64_t position); /* NULL */
/* Puts it in its place, or over what is there. Pointers into the list end. */
MUST_USE int parked_put(struct parked_list *list, const struct parked *parked);
void parked_take(struct parked_list *list, enum stream_id stream, uint64_t position); /* out of the list */
/* Whose they are in the snapshot, when somebody may have become another since; heads and sets. Inside people_read_begin/end. */
MUST_USE int parked_look(struct parked_list *list, struct people_reader *reader, uint64_t renamed, uint64_t applied,
			 struct arena *scratch);
/* Is something of that person parked? After parked_look. */
static inline bool parked_has(const struct parked_list *list, enum stream_id stream, const struct fragment_id *person)
{
	return person_set_has(&list->persons[stream], person);
}
/* When the first of the heads is due, wall clock; INT64_MAX: none. After parked_look. */
int64_t parked_next_due(const struct parked_list *list);

/* ── rows ────────────────────────────────────────────────────────────────── */

struct parked_row { /* to be written */
	struct parked parked;
	bool is_gone;
};
/* In a transaction of cursors_begin, in order; `reader` is not open: what belongs to somebody erased meanwhile is not kept. */
MUST_USE int parked_write(struct cursors *cursors, struct store_txn *txn, struct people_reader *reader,
			  struct str destination, const struct parked_row *rows, size_t count);
/* Takes out those of erased persons; what is on disk of them stays until cursors_compact. */
MUST_USE int parked_erase(struct cursors *cursors, struct people_reader *reader, uint64_t *count);
