/* drain: who has something open for long is told on its own thread that the daemon shuts down, so that it can settle what it has
 * taken and say goodbye. Streams of other faces; HTTP's are ended by the connection layer. */
#pragma once

#include "api/internal.h"

struct drain_watcher { /* embedded; the worker's thread */
	struct drain_watcher *next, **link;
	void (*on_drain)(struct drain_watcher *watcher); /* once; may remove itself and others */
};
/* False: it drains already, and on_drain will not be called. */
bool drain_watch(struct api_worker *worker, struct drain_watcher *watcher);
void drain_unwatch(struct drain_watcher *watcher); /* may be called twice */
/* On the worker's thread, when the daemon drains: tells everybody. */
void drain_tell(struct api_worker *worker);
