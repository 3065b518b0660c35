/* segment: what others do with segments: the fold's calls around its records, and reading. */
#pragma once

#include "profile/people.h"

/* ── the fold's thread ───────────────────────────────────────────────────── */

/* Logical time at which something is due or at which a re-evaluation wants to go on, seen from `t`; INT64_MAX: neither. */
int64_t people_wake_at(const struct people *people, int64_t t);
/* Something is due at or before `t`. */
bool people_is_due(const struct people *people, int64_t t);
/* Fires at most `max` of what is due at or before `t`, in order, each at its own time, caused by the record at `seq` (its time is `t`). In a transaction. */
MUST_USE int people_fire_due(struct people *people, uint64_t seq, int64_t t, size_t max);
/* A clock record: while held, time stands still at `t` and nothing is due. In a transaction. */
void people_hold(struct people *people, bool is_held, int64_t t);
bool people_is_scanning(const struct people *people); /* inside a transaction */
/* After a definition changed: evaluates up to `max` profiles more. In a transaction. The same calls give the same result, however they
 * are cut into transactions, as long as a transaction with a new definition begins with it. */
MUST_USE int people_scan_segments(struct people *people, int64_t t, size_t max);

/* ── reading ─────────────────────────────────────────────────────────────── */

struct segment_progress {
	size_t defined;
	uint64_t scan_seq; /* of the definition that is being taken over; 0: all are evaluated */
	uint64_t scan_count;
	unsigned scan_permille;
	int64_t next_due; /* INT64_MAX: none */
	bool is_held;
};
void people_segment_progress(const struct people *people, struct segment_progress *out); /* any thread */

/* The rest: inside read_begin/end, results in the arena. */
struct segment_info {
	struct str name, when; /* when: canonical JSON */
	uint64_t members;
};
MUST_USE int people_segments(struct people_reader *reader, struct arena *arena, struct segment_info **out,
			     size_t *count); /* by name */
/* ERR_NOT_FOUND: no such segment. */
MUST_USE int people_segment(struct people_reader *reader, struct str name, struct arena *arena,
			    struct segment_info *out);

struct segment_member {
	struct fragment_id id;
	struct str identifier; /* the strongest, "namespace:value" */
	int64_t since;
};
/* Up to `limit` members with ids after `after` (NULL: from the first). ERR_NOT_FOUND: no such segment. */
MUST_USE int people_segment_members(struct people_reader *reader, struct str name, const struct fragment_id *after,
				    size_t limit, struct arena *arena, struct segment_member **out, size_t *count);
MUST_USE int people_due_waiting(struct people_reader *reader, uint64_t *count);
