#include "plugin/watchdog.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct watched *list;
	pthread_t thread;
	bool has_thread;
	uintptr_t generation; /* a thread of an older one ends */
} watchdog = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void tell(struct watched *watched, const char *name, int64_t late_us)
{
	char labels[100];
	if (watched->is_told) return;
	watched->is_told = true;
	(void)snprintf(labels, sizeof labels, "enricher=\"%s\"", name);
	metric_add(
	    metric_get(METRIC_COUNTER, "cdpd_enricher_late_total", labels, "Calls in which it held up an io thread."),
	    1);
	log_warn(LOG_PLUGIN, "enricher %s holds up an io thread, for %lld ms by now: requests there wait", name,
		 (long long)(late_us / US_PER_MS));
}

static void look(struct watched *watched, int64_t now)
{
	uint64_t entered = atomic_load_explicit(&watched->entered, memory_order_relaxed);
	const char *name = atomic_load_explicit(&watched->inside, memory_order_acquire);
	if (!name || entered != watched->seen) {
		watched->seen = entered;
		watched->since_us = now;
		watched->is_told = false;
		return;
	}
	if (now - watched->since_us >= WATCHDOG_LATE_US) tell(watched, name, now - watched->since_us);
}

static void *run(void *ctx)
{
	uintptr_t generation = (uintptr_t)ctx;
	(void)pthread_mutex_lock(&watchdog.lock);
	while (watchdog.generation == generation) {
		struct timespec until;
		int64_t wall = clock_wall_us() + WATCHDOG_LATE_US / 2;
		until = (struct timespec){.tv_sec = wall / US_PER_SECOND, .tv_nsec = wall % US_PER_SECOND * 1000};
		for (struct watched *watched = watchdog.list; watched; watched = watched->next)
			look(watched, clock_mono_us());
		(void)pthread_cond_timedwait(&watchdog.changed, &watchdog.lock, &until);
	}
	(void)pthread_mutex_unlock(&watchdog.lock);
	return NULL;
}

int watchdog_add(struct watched *watched)
{
	int rc = OK;
	(void)pthread_mutex_lock(&watchdog.lock);
	watched->next = watchdog.list;
	watchdog.list = watched;
	if (!watchdog.has_thread) {
		watchdog.has_thread = pthread_create(&watchdog.thread, NULL, run, (void *)watchdog.generation) == 0;
		if (!watchdog.has_thread) {
			watchdog.list = watched->next;
			rc = ERR_NOMEM;
		}
	}
	(void)pthread_mutex_unlock(&watchdog.lock);
	return rc;
}

void watchdog_remove(struct watched *watched)
{
	bool is_last = false;
	(void)pthread_mutex_lock(&watchdog.lock);
	for (struct watched **at = &watchdog.list; *at; at = &(*at)->next) {
		if (*at != watched) continue;
		*at = watched->next;
		is_last = watchdog.list == NULL;
		break;
	}
	pthread_t thread = watchdog.thread;
	if (is_last) {
		watchdog.has_thread = false;
		watchdog.generation++;
		(void)pthread_cond_broadcast(&watchdog.changed);
	}
	(void)pthread_mutex_unlock(&watchdog.lock);
	if (is_last) (void)pthread_join(thread, NULL);
}
