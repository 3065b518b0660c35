/* letter: dead letters: records that a destination can never take, with the reason, in delivery/. A row says which record of the journal it
 * is and whose; the content stays in the journal alone, so nothing of a person is kept twice. Any thread. */
#pragma once

#include "deliver/cursor.h"
#include "deliver/stream.h"
#include "plugin/handover.h"
#include "profile/people.h"

#define LETTERS_MAX       10000 /* of one destination; beyond, the oldest make room */
#define LETTER_REASON_MAX 200

enum letter_cause { /* numbers are stored */
		    LETTER_DROPPED,
		    LETTER_UNMAPPED,
		    LETTER_GIVEN_UP, /* after as many attempts as the destination is allowed */
		    LETTER_CAUSE_COUNT
};
const char *letter_cause_name(enum letter_cause cause);

struct letter {
	enum stream_id stream;
	uint64_t seq; /* position in its stream */
	uint64_t
	    journal_seq; /* of the record that caused it: older than an erasure, it goes with the person; of events `seq` */
	enum letter_cause cause;
	bool is_queued; /* to be handed over again */
	uint32_t attempts;
	int64_t at_us; /* wall clock, of the last attempt */
	uint8_t fragment[16];
	char reason[LETTER_REASON_MAX + 1];
};
/* `journal_seq`: as struct letter has it. */
struct letter letter_make(enum stream_id stream, uint64_t seq, uint64_t journal_seq, enum letter_cause cause,
			  const uint8_t fragment[16], uint32_t attempts, struct str reason);

/* What one step of a destination does to its letters: written with its cursor. Starts zeroed. */
struct letter_gone {
	enum stream_id stream;
	uint64_t seq;
};
struct letter_changes {
	struct letter *put;
	struct letter_gone *gone;
	size_t put_count, gone_count, put_room, gone_room;
};
MUST_USE int letter_changes_put(struct letter_changes *changes, const struct letter *letter);
MUST_USE int letter_changes_gone(struct letter_changes *changes, enum stream_id stream, uint64_t seq);
void letter_changes_clear(struct letter_changes *changes);
void letter_changes_fini(struct letter_changes *changes);
/* In a transaction of cursors_begin; `reader` is not open: what belongs to somebody erased meanwhile is not kept. *count: letters there are
 * now; *lost: old ones that made room. */
MUST_USE int letters_write(struct cursors *cursors, struct store_txn *txn, struct people_reader *reader,
			   struct str destination, const struct letter_changes *changes, uint64_t *count,
			   uint64_t *lost);

struct letter_row {
	struct str destination; /* in the arena */
	struct letter letter;
};
struct letter_place { /* of a list: where the last page ended */
	struct str destination;
	enum stream_id stream;
	uint64_t seq;
};
/* Up to `limit` by destination and position; of one destination, or of all when its name is empty. `after` NULL: from the first. */
MUST_USE int letters_list(struct cursors *cursors, struct str destination, const struct letter_place *after,
			  size_t limit, struct arena *arena, struct letter_row **out, size_t *count);
/* The last position of a stream that has a letter; 0: none. */
MUST_USE int letters_last(struct cursors *cursors, struct str destination, enum stream_id stream, uint64_t *seq);
MUST_USE int letters_count(struct cursors *cursors, struct str destination, uint64_t *count, uint64_t *queued);
/* Positions of one stream that are queued, ascending. */
MUST_USE int letters_queued(struct cursors *cursors, struct str destination, enum stream_id stream, size_t max,
			    uint64_t *seqs, size_t *count);

/* How many are of these fragments. */
MUST_USE int letters_of(struct cursors *cursors, const struct fragment_id *fragments, size_t fragment_count,
			uint64_t *count);

enum letter_deed { LETTER_REDRIVE, LETTER_DISCARD };
/* Of one position, or of all when `seq` is 0; durable. *count: how many it met. */
MUST_USE int letters_act(struct cursors *cursors, struct str destination, enum stream_id stream, uint64_t seq,
			 enum letter_deed deed, uint64_t *count);
/* Takes out the letters of erased persons; what is on disk of them stays until cursors_compact. */
MUST_USE int letters_erase(struct cursors *cursors, struct people_reader *reader, uint64_t *count);
