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

struct answer_scan {
	struct str form;
	struct answer_range range;
	int64_t now, budget_us; /* at least one row is looked at */
	/* One person. Values live in `scratch`, which is reset when it returns. Non-zero ends the scan with that status. */
	int (*fn)(void *ctx, const struct answer_found *answers, size_t count);
	void *ctx;
	struct arena *scratch;
};

struct answer_scanned {
	struct fragment_id last; /* looked at */
	bool is_done;            /* the range is at its end */
	uint64_t seen, applied;  /* of the snapshot: newest change, next seq to fold */
};

/* The people of the range who have answered the form, in one read transaction. The reader is not inside read_begin/end. */
MUST_USE int people_scan_answers(struct people_reader *reader, const struct answer_scan *scan,
				 struct answer_scanned *out);
