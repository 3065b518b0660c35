/* sweep: one way through everything on disk that may hold bytes of erased persons. It may be cut off anywhere and begun again. */
#pragma once

#include <stdatomic.h>

#include "fold/fold.h"
#include "privacy/list.h"

struct sweep {
	struct journal *journal;
	struct people *people;
	struct fold *fold;
	const atomic_bool *stop;
	struct erasure *erasures; /* whose counts are raised */
	size_t erasure_count;
	/* After each segment: to show how far it is. May be NULL. */
	void (*on_progress)(void *ctx, const struct sweep *sweep);
	void *ctx;
	uint64_t segments, segments_rewritten, segments_total, events, rejects, changes;
};
/* Everything below `through`, which is folded. ERR_CLOSED; ERR_FULL and ERR_TIMEOUT: later, with more room. */
MUST_USE int sweep_run(struct sweep *sweep, uint64_t through);
