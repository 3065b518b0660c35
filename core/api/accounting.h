/* accounting: received = applied + duplicate + rejected + erased + pending. Every event is in exactly one of them; the
 * counters come from the transactions that did it. */
#pragma once

#include "journal/journal.h"
#include "profile/people.h"

struct accounting {
	uint64_t received, applied, duplicate, rejected, erased;
	int64_t pending;  /* what is left of received */
	bool is_balanced; /* pending is what the fold has yet to see: 0 at rest */
	uint64_t verdicts[OUTCOME_VERDICT_COUNT];
	struct journal_counters journal;
};

/* Any thread. Counters that move meanwhile are allowed for: then is_balanced says that the rest lies within what moved. */
void accounting_read(struct journal *journal, struct people *people, struct accounting *out);
