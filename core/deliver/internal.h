/* internal: the dispatcher itself, for deliver.c and its tests. */
#pragma once

#include "deliver/destination.h"
#include "deliver/subscription.h"

struct deliver {
	struct deliver_shared shared;
	pthread_mutex_t admin; /* start, stop, reload: one at a time; may wait for plugins */
	pthread_mutex_t lock;  /* the list; never held while waiting: the fold takes it */
	struct destination *destinations;
	struct destination *left_behind;
	struct subscriptions *subscriptions;
	bool is_started;
};
