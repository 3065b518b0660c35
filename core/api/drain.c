#include "api/drain.h"

bool drain_watch(struct api_worker *worker, struct drain_watcher *watcher)
{
	watcher->link = NULL;
	if (atomic_load(&worker->api->is_draining)) return false;
	watcher->next = worker->drain_watchers;
	watcher->link = &worker->drain_watchers;
	if (watcher->next) watcher->next->link = &watcher->next;
	worker->drain_watchers = watcher;
	return true;
}

void drain_unwatch(struct drain_watcher *watcher)
{
	if (!watcher->link) return;
	*watcher->link = watcher->next;
	if (watcher->next) watcher->next->link = watcher->link;
	watcher->link = NULL;
}

void drain_tell(struct api_worker *worker)
{
	while (worker->drain_watchers) {
		struct drain_watcher *watcher = worker->drain_watchers;
		drain_unwatch(watcher);
		watcher->on_drain(watcher);
	}
}
