/* planned: holds an event against the tracking plan, as it was sent, before anything private is taken out of it. */
#pragma once

#include "ingest/internal.h"

/* OK, perhaps with event.violations set (they lie in the worker's buffer until the next event); or ERR_INVALID with the draft's fault.
 * Nothing happens without a plan. */
MUST_USE int planned_check(struct intake *in, struct draft *draft);
