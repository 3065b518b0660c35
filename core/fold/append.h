/* append: the fold's own records (definitions, quarantines), appended to the journal and waited for. */
#pragma once

#include "journal/journal.h"

/* Urgent: may use the reserves of queue and disk. `quarantine_seq`: position that the journal indexes with it, or 0.
 * Not on a loop's thread. Tries again while the queue is full; otherwise the journal's answer. */
MUST_USE int append_and_wait(struct journal *journal, enum record_kind kind, struct str payload,
			     uint64_t quarantine_seq, uint64_t *seq);
