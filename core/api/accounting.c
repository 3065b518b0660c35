#include "api/accounting.h"

static uint64_t sum_rejected(const struct accounting *a)
{
	return a->journal.rejected + a->verdicts[OUTCOME_CONFLICT] + a->verdicts[OUTCOME_REFUSED] +
	       a->verdicts[OUTCOME_DENIED] + a->verdicts[OUTCOME_SUPPRESSED] + a->verdicts[OUTCOME_QUARANTINED];
}

/* The journal and the checkpoint are read one after the other while both may move. The rest (records, so events at most) lies between
 * what the fold had left before and after. At rest the bounds meet and the rest must be exactly 0. */
void accounting_read(struct journal *journal, struct people *people, struct accounting *out)
{
	uint64_t applied_before = people_applied(people);
	uint64_t next_before = journal_next_seq(journal);
	journal_counters(journal, &out->journal);
	people_verdicts(people, out->verdicts);
	uint64_t applied_after = people_applied(people);
	uint64_t next_after = journal_next_seq(journal);
	out->received = out->journal.received;
	out->applied = out->verdicts[OUTCOME_APPLIED];
	out->duplicate = out->verdicts[OUTCOME_DUPLICATE];
	out->erased = out->verdicts[OUTCOME_ERASED];
	out->rejected = sum_rejected(out);
	out->pending = (int64_t)(out->received - out->applied - out->duplicate - out->erased - out->rejected);
	int64_t least = applied_after > next_before ? -(int64_t)(applied_after - next_before) : 0;
	int64_t most = next_after > applied_before ? (int64_t)(next_after - applied_before) : 0;
	out->is_balanced = out->pending >= least && out->pending <= most;
}
