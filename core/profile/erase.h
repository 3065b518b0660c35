/* erase: a person, or one identifier of one, leaves the profiles. What the journal still holds is taken out afterwards
 * (core/privacy); what an erasure needs to be repeated, or an identity decision to be replayed, is kept as keyed hashes.
 *
 * The text of an identifier that was erased is "namespace:~<32 hex digits of its fragment's id>". */
#pragma once

#include "profile/people.h"

#define RECEIPT_SIZE 16

struct people_erasure {
	uint8_t receipt[RECEIPT_SIZE];
	const struct fragment_id *fragments;
	size_t count;
	bool is_whole;     /* whoever is one person with them goes too */
	int64_t before_us; /* events up to this time are blocked from now on; 0: `t` */
};
/* Of a record of kind erasure; fragments live in the arena. ERR_CORRUPT. */
MUST_USE int erasure_decode(struct str payload, struct arena *arena, struct people_erasure *out);
/* Deletes rows, links and derived state; others of the same person stay one person. Erasing again changes nothing but the time up to
 * which events are blocked. The fold's thread, in a transaction, at the record's position. */
MUST_USE int people_erase(struct people *people, const struct people_erasure *erasure, uint64_t seq, int64_t t);

/* Gives the record of an act an outcome that counts nowhere: `applied`, so that exporters see it in its place. */
MUST_USE int people_note_act(struct people *people, uint64_t seq);

/* What is left of an erased event: cdpd.v1.StoredErasedEvent. */
struct erased_event {
	struct str identifiers[32]; /* strongest first; none: it was never applied */
	size_t identifier_count;
	struct str previous_anonymous, previous_user;
	uint32_t rights, flags;
	int64_t event_time_us;
	bool is_expired; /* not its person was erased: its type is kept for a shorter time */
};
MUST_USE int erased_event_encode(const struct erased_event *event, struct arena *arena, struct str *payload);
MUST_USE int erased_event_decode(struct str payload, struct arena *arena, struct erased_event *out); /* ERR_CORRUPT */
/* Decides identities as the event did when it was whole; no traits, no features, no outcome. */
MUST_USE int people_apply_erased(struct people *people, const struct erased_event *erased, uint64_t seq, int64_t t);

bool identifier_is_hashed(struct str identifier);
/* "namespace:~…" of an identifier; in the arena. */
MUST_USE int identifier_hash_text(const struct fragment_id *id, struct str identifier, struct arena *arena,
				  struct str *out);

/* ── for the sweep of the journal (any thread, inside people_read_begin/end) ─ */

struct erased_row {
	uint64_t seq;      /* of the erasure's record */
	int64_t before_us; /* events up to this time are blocked */
	uint8_t receipt[RECEIPT_SIZE];
	uint64_t late_seq; /* newest blocked event; 0: none */
};
MUST_USE int people_erased(struct people_reader *reader, const struct fragment_id *id,
			   struct erased_row *out); /* ERR_NOT_FOUND */
/* Every erased fragment; non-zero of `fn` stops. */
MUST_USE int people_each_erased(struct people_reader *reader,
				int (*fn)(void *ctx, const struct fragment_id *id, const struct erased_row *row),
				void *ctx);
uint64_t people_changes_floor(
    const struct people_reader *reader); /* changes up to here are gone; inside begin and end */
/* Does the change tell values of somebody who was erased after it? It may not be blanked yet. */
MUST_USE int people_change_is_erased(struct people_reader *reader, const struct change *change, bool *out);
/* What is to be done about one event of the journal: *hit says that it is an erased person's, `row` whose; then *husk is what may stay.
 * `outcome`: the fold's, NULL when it is not known any more. */
struct erasure_view; /* parses events; one a thread */
MUST_USE int erasure_view_new(struct erasure_view **out);
void erasure_view_free(struct erasure_view *view);
MUST_USE int erasure_judge_event(struct people_reader *reader, struct erasure_view *view, uint64_t seq,
				 struct str payload, const struct outcome *outcome, struct arena *arena, bool *hit,
				 struct erased_row *row, struct erased_event *husk);
/* The husk of an event whose type is not kept any longer; it keeps its outcome. */
MUST_USE int erasure_expire_event(struct people_reader *reader, struct erasure_view *view, uint64_t seq,
				  const struct cdpd_event *event, const struct outcome *outcome, struct arena *arena,
				  struct erased_event *husk);
/* The same for a husk: *hit when it still names somebody erased since. */
MUST_USE int erasure_judge_husk(struct people_reader *reader, uint64_t seq, struct arena *arena, bool *hit,
				struct erased_event *husk);
/* Does some string in this text (whole or cut JSON) name an erased identifier? For rejects' excerpts. */
MUST_USE int erasure_names(struct people_reader *reader, struct str text, struct arena *arena, bool *hit);
/* Is the text "namespace:value" that of an identifier erased after `seq`? Its hashed text then. */
MUST_USE int erasure_of_text(struct people_reader *reader, struct str identifier, uint64_t seq, struct arena *arena,
			     bool *hit, struct str *hashed);

/* ── cleaning up (the fold's thread, in a transaction) ───────────────────── */

/* Sets the outcome of each position to `erased`, where there is one. */
MUST_USE int people_outcomes_erase(struct people *people, const uint64_t *seqs, size_t count);
/* Blanks the bodies of erased persons' changes from `after` on, at most `max` rows looked at. *next: go on after it; *done: that was all. */
MUST_USE int people_changes_blank(struct people *people, uint64_t after, size_t max, uint64_t *next, size_t *blanked,
				  bool *done);
/* Writes the profiles anew without what was deleted (store_copy, store_swap_in). Outside a transaction. */
MUST_USE int people_compact(struct people *people, const _Atomic bool *stop);
