#include "deliver/deliver.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "deliver/internal.h"

int deliver_new(struct journal *journal, struct people *people, const struct config *config, struct deliver **out)
{
	*out = NULL;
	struct deliver *deliver = calloc(1, sizeof *deliver);
	if (!deliver) return ERR_NOMEM;
	CHECK(pthread_mutex_init(&deliver->lock, NULL) == 0 && pthread_mutex_init(&deliver->admin, NULL) == 0);
	deliver->shared = (struct deliver_shared){
	    .journal = journal,
	    .people = people,
	    .epoch = journal_epoch(journal),
	    .tuning = deliver_tuning_default,
	};
	int rc = cursors_open(config->store_path, deliver->shared.epoch, journal_next_seq(journal),
			      &deliver->shared.cursors);
	if (rc == OK) rc = windows_new(&deliver->shared, &deliver->shared.windows);
	if (rc == OK) rc = subscriptions_new(deliver->shared.cursors, &deliver->subscriptions);
	struct destination **at = &deliver->destinations;
	for (size_t i = 0; i < config->destination_count && rc == OK; i++) {
		rc = destination_new(&deliver->shared, config, &config->destinations[i], at);
		if (rc == OK) at = &(*at)->next;
	}
	if (rc) {
		deliver_free(deliver);
		return rc;
	}
	*out = deliver;
	return OK;
}

void deliver_set_publisher(struct deliver *deliver, struct publisher *publisher)
{
	deliver->shared.publisher = publisher;
}

void deliver_set_spaces(struct deliver *deliver, struct spaces *spaces)
{
	deliver->shared.spaces = spaces;
}

struct subscriptions *deliver_subscriptions(const struct deliver *deliver)
{
	return deliver->subscriptions;
}

int deliver_start(struct deliver *deliver)
{
	int rc = OK;
	pthread_mutex_lock(&deliver->admin);
	deliver->is_started = true;
	rc = windows_start(deliver->shared.windows);
	for (struct destination *d = deliver->destinations; d && rc == OK; d = d->next) rc = destination_start(d);
	pthread_mutex_unlock(&deliver->admin);
	return rc;
}

void deliver_wake(struct deliver *deliver)
{
	pthread_mutex_lock(&deliver->lock);
	for (struct destination *d = deliver->destinations; d; d = d->next) destination_nudge(d);
	pthread_mutex_unlock(&deliver->lock);
}

/* Stops and frees a list. A destination whose plugin does not come back is left alone for ever: its thread may still
 * return into it. */
static void end_all(struct deliver *deliver, struct destination *list)
{
	for (struct destination *d = list; d; d = d->next) destination_ask_to_stop(d);
	int64_t until = clock_mono_us() + deliver->shared.tuning.stop_us;
	for (struct destination *d = list, *next; d; d = next) {
		next = d->next;
		bool has_ended = destination_join(d, until);
		destination_hide(d);
		if (has_ended) {
			destination_free(d);
			continue;
		}
		log_error(LOG_DELIVER, "destination %.*s did not stop, it is left behind (its plugin does not return)",
			  STR_ARG(d->name));
		d->next = deliver->left_behind;
		deliver->left_behind = d;
	}
}

static struct destination *take_all(struct deliver *deliver)
{
	pthread_mutex_lock(&deliver->lock);
	struct destination *list = deliver->destinations;
	deliver->destinations = NULL;
	pthread_mutex_unlock(&deliver->lock);
	return list;
}

void deliver_stop(struct deliver *deliver)
{
	pthread_mutex_lock(&deliver->admin);
	deliver->is_started = false;
	end_all(deliver, take_all(deliver));
	if (deliver->shared.windows) windows_stop(deliver->shared.windows);
	pthread_mutex_unlock(&deliver->admin);
}

void deliver_free(struct deliver *deliver)
{
	if (!deliver) return;
	deliver_stop(deliver);
	/* Memory that a left-behind thread may still look at stays. */
	if (deliver->left_behind) return;
	subscriptions_free(deliver->subscriptions);
	windows_free(deliver->shared.windows);
	cursors_close(deliver->shared.cursors);
	pthread_mutex_destroy(&deliver->lock);
	pthread_mutex_destroy(&deliver->admin);
	free(deliver);
}

/* ── reload ──────────────────────────────────────────────────────────────── */

/* The new list, checked as a whole before anything running is touched. */
static int make_list(struct deliver *deliver, const struct config *config, struct destination **list)
{
	struct destination **at = list;
	int rc = OK;
	*list = NULL;
	for (size_t i = 0; i < config->destination_count && rc == OK; i++) {
		rc = destination_new(&deliver->shared, config, &config->destinations[i], at);
		if (rc == OK) at = &(*at)->next;
	}
	return rc;
}

static void free_list(struct destination *list)
{
	while (list) {
		struct destination *next = list->next;
		destination_free(list);
		list = next;
	}
}

/* Puts running destinations that stay the same in the place of their copies. *old keeps the ones that end. */
static void keep_same(struct destination **list, struct destination **old)
{
	for (struct destination **at = list; *at; at = &(*at)->next) {
		struct destination **was = old;
		while (*was && !destination_is_same(*was, *at)) was = &(*was)->next;
		if (!*was) continue;
		struct destination *copy = *at, *kept = *was;
		*was = kept->next;
		kept->next = copy->next;
		*at = kept;
		destination_free(copy);
	}
}

/* Those that changed begin where their predecessor stopped. */
static int start_new(struct deliver *deliver, struct destination *list)
{
	int rc = OK;
	for (struct destination *d = list; d && rc == OK; d = d->next) {
		if (d->has_thread || !deliver->is_started) continue;
		rc = destination_read_cursor(d);
		if (rc == OK) rc = destination_start(d);
	}
	return rc;
}

int deliver_reload(struct deliver *deliver, const struct config *config)
{
	struct destination *list;
	pthread_mutex_lock(&deliver->admin);
	int rc = make_list(deliver, config, &list);
	if (rc) {
		free_list(list);
		pthread_mutex_unlock(&deliver->admin);
		return rc;
	}
	pthread_mutex_lock(&deliver->lock);
	struct destination *old = deliver->destinations;
	keep_same(&list, &old);
	deliver->destinations = list;
	pthread_mutex_unlock(&deliver->lock);
	end_all(deliver, old);
	rc = start_new(deliver, list);
	pthread_mutex_unlock(&deliver->admin);
	deliver_wake(deliver);
	return rc;
}

int deliver_status(struct deliver *deliver, struct arena *arena, struct destination_status **out, size_t *count)
{
	size_t total = 0;
	int rc = OK;
	*count = 0;
	pthread_mutex_lock(&deliver->lock);
	for (const struct destination *d = deliver->destinations; d; d = d->next) total++;
	*out = arena_array(arena, struct destination_status, total + 1);
	if (!*out) rc = ERR_NOMEM;
	for (struct destination *d = deliver->destinations; d && rc == OK; d = d->next) {
		rc = destination_status(d, arena, &(*out)[*count]);
		if (rc == OK) ++*count;
	}
	pthread_mutex_unlock(&deliver->lock);
	for (size_t i = 0; i < *count && rc == OK; i++) { /* from disk: not while the fold waits for the lock */
		struct destination_status *status = &(*out)[i];
		rc = letters_count(deliver->shared.cursors, status->name, &status->letters, &status->letters_queued);
	}
	return rc;
}
