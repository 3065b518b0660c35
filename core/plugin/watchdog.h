/* watchdog: looks now and then whether an io thread is still inside the same call of a sync enricher, and names it. Entering and leaving a
 * call cost two stores. */
#pragma once

#include <stdatomic.h>

#include "base/metric.h"

#define WATCHDOG_LATE_US INT64_C(250000) /* a call that takes longer holds up everybody on its io thread */

struct watched { /* one io thread's chain */
	struct watched *next;
	_Atomic(const char *) inside; /* name of the enricher; NULL: none */
	_Atomic uint64_t entered;     /* calls */

	/* the watchdog's */
	uint64_t seen;
	int64_t since_us;
	bool is_told;
};

static inline void watched_enter(struct watched *watched, const char *name)
{
	atomic_store_explicit(&watched->entered, atomic_load_explicit(&watched->entered, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	atomic_store_explicit(&watched->inside, name, memory_order_release);
}

static inline void watched_leave(struct watched *watched)
{
	atomic_store_explicit(&watched->inside, NULL, memory_order_relaxed);
}

/* The first begins the watchdog's thread, the last ends it. Names live as long as the chain. ERR_NOMEM. */
MUST_USE int watchdog_add(struct watched *watched);
void watchdog_remove(struct watched *watched);
