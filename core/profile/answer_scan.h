/* answer_scan: who answered a form, by walking the rows of all profiles in short read transactions. Rows that do not even hold the form's
 * name are passed over undecoded. What stands in a row that shows a profile is the truth, so joins, splits, erasures and
 * expiry need no bookkeeping: each person is met once in a snapshot, with the answers of that moment. */
#pragma once

#include "profile/people.h"

struct answer_found {                      /* one declared value that came with the form */
	struct str trait, question, value; /* value: JSON text */
	uint32_t version;
	int64_t at;
	bool is_expired; /* not in force any more */
};

struct answer_range { /* profile ids from `from` on, up to and including `to` */
	struct fragment_id from, to;
};

/* Calls `fn` for each person of the range that has answered `form`, until `budget_us` are over (at least one row is looked at); values live in
 * `scratch` until it returns, which is then reset. *last: the last id looked at; *is_done: the range is at its end. *seen: the newest
 * change of the snapshot. `fn` non-zero ends it with that status. The reader is not inside read_begin/end. */
MUST_USE int people_scan_answers(struct people_reader *reader, struct str form, const struct answer_range *range,
				 int64_t now, int64_t budget_us, struct arena *scratch,
				 int (*fn)(void *ctx, const struct answer_found *answers, size_t count), void *ctx,
				 struct fragment_id *last, bool *is_done, uint64_t *seen, uint64_t *applied);
