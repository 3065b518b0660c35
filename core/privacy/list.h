/* list: the erasures that were asked for, in `state/erasures`: apart from the data they are about, so that putting back an
 * older copy of that data does not bring back anybody. It holds no text of a person: fragments are keyed hashes. Thread-safe. */
#pragma once

#include "profile/erase.h"
#include "store/store.h"

#define RECEIPT_TEXT_SIZE (2 * RECEIPT_SIZE + 1)

enum erasure_state { ERASURE_PENDING, ERASURE_FOLDING, ERASURE_REWRITING, ERASURE_DONE, ERASURE_STATE_COUNT };
const char *erasure_state_name(enum erasure_state state);

struct erasure {
	uint8_t receipt[RECEIPT_SIZE]; /* time and random bytes: later ones sort behind */
	enum erasure_state state;
	bool is_whole;
	uint64_t epoch, seq; /* of its record; seq 0: not known to be in the journal */
	int64_t requested_us, folded_us, done_us;
	int64_t before_us; /* its record's time, once it is repeated; else 0 */
	uint64_t events, rejects, changes, segments, segments_rewritten, segments_total;
	uint64_t repeats; /* times it was asked of the journal again after a restore */
	struct fragment_id *fragments;
	size_t fragment_count;
	struct str actor, reason;
};

struct erasure_list;
MUST_USE int erasure_list_open(const char *store_path, struct erasure_list **out);
void erasure_list_close(struct erasure_list *list);
/* Durable when it returns OK. */
MUST_USE int erasure_list_put(struct erasure_list *list, const struct erasure *erasure);
MUST_USE int erasure_list_put_all(struct erasure_list *list, const struct erasure *erasures, size_t count);
MUST_USE int erasure_list_remove(struct erasure_list *list, const uint8_t receipt[RECEIPT_SIZE]);
/* How far each rule of journal.event_retention has come in the journal of that epoch, beside the list: positions below are done.
 * ERR_NOT_FOUND; ERR_CORRUPT. */
MUST_USE int expiry_mark_put(struct erasure_list *list, struct str event, uint64_t epoch, uint64_t through);
MUST_USE int expiry_mark_get(struct erasure_list *list, struct str event, uint64_t epoch, uint64_t *through);
/* Copied into the arena. ERR_NOT_FOUND. */
MUST_USE int erasure_list_get(struct erasure_list *list, const uint8_t receipt[RECEIPT_SIZE], struct arena *arena,
			      struct erasure *out);
/* Newest first, below `below` (NULL: from the newest). */
MUST_USE int erasure_list_read(struct erasure_list *list, const uint8_t *below, size_t max, struct arena *arena,
			       struct erasure **out, size_t *count);
