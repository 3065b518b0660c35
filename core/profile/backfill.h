/* backfill: a new feature counts what the journal still holds from before its definition. The fold's thread reads those records again,
 * some beside each record it folds, and adds the events that were applied to the states of the fragments they went into: afterwards the
 * feature is what it would be if it had been defined before the oldest of them. Events from the definition on are counted as they come.
 *
 * How far it is lies in the checkpoint and is moved by positions and logical time alone, so that a replay does the same. Segments that
 * read such a feature, directly or through others, wait: who is in them stays, nobody enters or leaves, until all is counted. */
#pragma once

#include "profile/people.h"

#define BACKFILL_NONE UINT64_MAX

/* Like people_define, with the oldest position that the journal held when the definition was written: new features count from there. */
MUST_USE int people_define_since(struct people *people, struct str text, uint64_t seq, int64_t t, uint64_t oldest);

/* ── the fold's thread ───────────────────────────────────────────────────── */

/* The oldest position that somebody has still to count; BACKFILL_NONE. As of the open transaction, or of the newest committed one. */
uint64_t people_backfill_next(const struct people *people);
/* How many positions may be counted beside the record at `seq`, of time `t`, after one of time `before`. Asked again for the same
 * record, what is left of it. In a transaction, with something to count. */
size_t people_backfill_grant(struct people *people, uint64_t seq, int64_t before, int64_t t);
/* Counts position `at`, which is people_backfill_next, of time `at_t`; `event`: NULL when it holds none. `seq` and `t`: the record beside
 * which this happens, the cause of the changes. In a transaction. */
MUST_USE int people_backfill_count(struct people *people, uint64_t at, int64_t at_t, const struct cdpd_event *event,
				   uint64_t seq, int64_t t);
/* Only outcomes tell whether an event is worth decoding: false when nobody would count it, else its outcome. In a transaction. */
MUST_USE int people_backfill_wants(struct people *people, uint64_t at, struct outcome *outcome, bool *wants);
/* The journal does not hold that position any more, but those from `first` on: they count from there. In a transaction. */
void people_backfill_skip(struct people *people, uint64_t first);
/* Some feature has all: the next transaction must begin with people_backfill_finish, which lets segments have it. */
bool people_backfill_is_ripe(const struct people *people);
MUST_USE int people_backfill_finish(struct people *people, uint64_t seq);

/* ── reading ─────────────────────────────────────────────────────────────── */

struct backfill_progress {
	uint32_t features;  /* that are not complete */
	uint64_t next, end; /* positions: the next to be counted, and where the last of them began to count live */
	unsigned permille;  /* of all that was to be counted */
};
void people_backfill_progress(const struct people *people, struct backfill_progress *out); /* any thread */
