/* due: what time and changed definitions ask of the fold around its records. Only logical time and positions decide, so a replay
 * does the same, however it is cut into transactions. */
#pragma once

#include "fold/worker.h"

/* Fires, in slices with commits between them, everything due at or before the record's time; leaves a transaction open. Until it is
 * done the record counts as not folded. */
MUST_USE int due_fire(struct fold *fold, const struct record *record);
/* Lets a running re-evaluation go on by what this kind of record allows. In the record's transaction. */
MUST_USE int due_scan(struct fold *fold, const struct record *record);
