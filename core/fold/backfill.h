/* backfill: beside the records it folds, the fold reads old ones for features that were defined after them (profile/backfill.h). */
#pragma once

#include "fold/worker.h"

/* Before the record is applied: counts as many old positions as it brings, in slices with commits between them, and leaves a transaction
 * open when it did anything. Until it is done the record counts as not folded. */
MUST_USE int backfill_step(struct fold *fold, const struct record *record);
/* Everything below this position may be trimmed: it is folded, and no feature has still to count it. */
uint64_t backfill_behind(const struct fold *fold);
