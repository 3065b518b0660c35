#include "enrich/enrichers.h"

#include <stdlib.h>
#include <time.h>

#include "enrich/internal.h"

#define IDLE_US          US_PER_SECOND
#define FULL_PAUSE_US    (100 * US_PER_MS)
#define COUNT_EVERY_US   (5 * US_PER_SECOND)
#define SCRATCH_MAX      ((size_t)64 << 20)
#define RELEASED_AT_ONCE 256

/* ── results on their way into the journal ───────────────────────────────── */

bool outbox_has_room(const struct enrichers *all)
{
	return all->outbox_count < OUTBOX_MAX;
}

bool outbox_put(struct enrichers *all, const struct resolution *resolution)
{
	if (all->outbox_count == all->outbox_room) {
		size_t room = all->outbox_room ? 2 * all->outbox_room : 64;
		struct resolution *outbox = realloc(all->outbox, room * sizeof *outbox);
		if (!outbox) return false;
		all->outbox = outbox;
		all->outbox_room = room;
	}
	struct resolution *copy = &all->outbox[all->outbox_count];
	*copy = *resolution;
	if (arena_str(&all->outbox_arena, resolution->enricher, &copy->enricher) ||
	    arena_str(&all->outbox_arena, resolution->patch, &copy->patch) ||
	    arena_str(&all->outbox_arena, resolution->reason, &copy->reason))
		return false;
	all->outbox_count++;
	return true;
}

struct appending {
	struct journal_append append;
	pthread_mutex_t lock;
	pthread_cond_t settled;
	bool is_settled;
};

static void on_appended(struct loop_task *task)
{
	struct journal_append *append =
	    (struct journal_append *)(void *)((char *)task - offsetof(struct journal_append, settled));
	struct appending *appending = (struct appending *)(void *)append;
	(void)pthread_mutex_lock(&appending->lock);
	appending->is_settled = true;
	(void)pthread_cond_signal(&appending->settled);
	(void)pthread_mutex_unlock(&appending->lock);
}

static int append_entries(struct journal *journal, const struct journal_entry *entries, size_t count)
{
	struct appending appending = {.append = {.entries = entries, .entry_count = count},
				      .lock = PTHREAD_MUTEX_INITIALIZER,
				      .settled = PTHREAD_COND_INITIALIZER};
	appending.append.settled.run = on_appended;
	int rc = journal_submit(journal, &appending.append);
	if (rc) return rc;
	(void)pthread_mutex_lock(&appending.lock);
	while (!appending.is_settled) (void)pthread_cond_wait(&appending.settled, &appending.lock);
	(void)pthread_mutex_unlock(&appending.lock);
	return appending.append.status;
}

/* Who was erased since must not come back with an answer. */
static int blank_erased(struct enrichers *all, size_t count)
{
	uint64_t applied;
	int rc = people_read_begin(all->reader, &applied);
	if (rc) return rc;
	for (size_t i = 0; i < count && !rc; i++) {
		struct resolution *resolution = &all->outbox[i];
		struct outcome outcome;
		if (resolution->patch.len == 0) continue;
		rc = person_is_there(all->reader, resolution->event_seq, &outcome);
		if (rc != ERR_NOT_FOUND) continue;
		*resolution = (struct resolution){.event_seq = resolution->event_seq,
						  .enricher = resolution->enricher,
						  .is_given_up = true,
						  .patch = STR_NONE,
						  .reason = STR_NONE};
		rc = OK;
	}
	people_read_end(all->reader);
	return rc;
}

/* One transaction of the journal. */
static int append_some(struct enrichers *all, size_t count)
{
	arena_reset(&all->arena);
	struct journal_entry *entries = arena_array(&all->arena, struct journal_entry, count);
	int rc = entries ? blank_erased(all, count) : ERR_NOMEM;
	for (size_t i = 0; i < count && !rc; i++) {
		entries[i] = (struct journal_entry){.kind = RECORD_RESOLUTION};
		rc = resolution_encode(&all->outbox[i], &all->arena, &entries[i].payload);
	}
	return rc ? rc : append_entries(all->journal, entries, count);
}

/* What the journal does not take now it takes later: what is in the outbox is asked by nobody. */
static void flush(struct enrichers *all, int64_t now, int64_t *due_us)
{
	while (all->outbox_count && now >= all->outbox_retry_us) {
		size_t count = all->outbox_count < OUTBOX_MAX ? all->outbox_count : OUTBOX_MAX;
		int rc = append_some(all, count);
		if (rc) {
			all->outbox_retry_us = now + FULL_PAUSE_US;
			break;
		}
		all->outbox_count -= count;
		memmove(all->outbox, all->outbox + count, all->outbox_count * sizeof *all->outbox);
	}
	if (all->outbox_count == 0)
		arena_reset(&all->outbox_arena);
	else if (all->outbox_retry_us < *due_us)
		*due_us = all->outbox_retry_us;
}

/* ── waits for enrichers that are no more ────────────────────────────────── */

static bool is_known(const struct enrichers *all, uint64_t key)
{
	for (const struct enricher *e = all->list; e; e = e->next)
		if (e->key == key) return true;
	return false;
}

static int release_row(void *ctx, const struct await_row *row)
{
	struct enrichers *all = ctx;
	struct await_cursor next = {row->seq, row->enricher};
	if (!is_known(all, row->enricher)) {
		const struct resolution resolution = {.event_seq = row->seq,
						      .enricher = row->name,
						      .is_given_up = true,
						      .patch = STR_NONE,
						      .reason = STR("the enricher was removed")};
		if (!outbox_has_room(all) || !outbox_put(all, &resolution)) return 1;
	}
	all->release = next;
	return 0;
}

/* Every wait is looked at once; after a reload all are again. */
static int release(struct enrichers *all, uint64_t applied)
{
	struct await_cursor before;
	int rc = OK;
	if (applied < all->release_after) return OK;
	do {
		before = all->release;
		rc = people_read_begin(all->reader, &applied);
		if (rc) return rc;
		rc = people_awaits(all->reader, all->release.seq, all->release.after, RELEASED_AT_ONCE, release_row,
				   all);
		people_read_end(all->reader);
	} while (!rc && outbox_has_room(all) && (before.seq != all->release.seq || before.after != all->release.after));
	return rc;
}

static void count_waits(struct enrichers *all, int64_t now)
{
	uint64_t applied, count;
	if (now - all->counted_at_us < COUNT_EVERY_US && all->counted_at_us) return;
	all->counted_at_us = now;
	if (people_read_begin(all->reader, &applied) != OK) return;
	if (people_await_count(all->reader, &count) == OK) metric_set(all->waiting, (int64_t)count);
	people_read_end(all->reader);
}

/* ── the thread ──────────────────────────────────────────────────────────── */

static void settle_all(struct enrichers *all)
{
	(void)pthread_mutex_lock(&all->lock);
	struct question *settled = all->settled;
	all->settled = NULL;
	all->was_woken = false;
	(void)pthread_mutex_unlock(&all->lock);
	while (settled) {
		struct question *question = settled;
		settled = question->next_settled;
		enricher_settle(question->enricher, question);
	}
}

static bool take_ended(struct enricher *e)
{
	(void)pthread_mutex_lock(&e->all->lock);
	bool was_ended = e->was_ended;
	e->was_ended = false;
	(void)pthread_mutex_unlock(&e->all->lock);
	return was_ended;
}

static void turn(struct enrichers *all, int64_t *due_us)
{
	uint64_t applied = people_applied(all->people);
	int64_t now = clock_mono_us();
	settle_all(all);
	int rc = release(all, applied);
	for (struct enricher *e = all->list; e; e = e->next) {
		if (take_ended(e)) {
			enricher_ended(e);
			settle_all(all); /* it holds nothing any more: that must be seen before it is judged again */
		}
		int failed = enricher_turn(e, applied, due_us);
		if (!rc) rc = failed;
	}
	flush(all, now, due_us);
	count_waits(all, now);
	if (rc) log_warn(LOG_PLUGIN, "asking enrichers is held up, it is tried again (%s)", status_str(rc));
}

static bool wait_until(struct enrichers *all, int64_t due_us)
{
	const struct timespec until = {.tv_sec = due_us / US_PER_SECOND, .tv_nsec = due_us % US_PER_SECOND * 1000};
	(void)pthread_mutex_lock(&all->lock);
	if (!all->should_stop && !all->was_woken && !all->settled)
		(void)pthread_cond_timedwait(&all->changed, &all->lock, &until);
	bool goes_on = !all->should_stop;
	(void)pthread_mutex_unlock(&all->lock);
	return goes_on;
}

static void *run(void *ctx)
{
	struct enrichers *all = ctx;
	int64_t due_us;
	do {
		due_us = clock_mono_us() + IDLE_US;
		turn(all, &due_us);
	} while (wait_until(all, due_us));
	settle_all(all); /* what was answered by now is kept */
	flush(all, clock_mono_us(), &due_us);
	return NULL;
}

static int start_thread(struct enrichers *all)
{
	all->should_stop = false;
	all->release = (struct await_cursor){0};
	all->release_after = journal_next_seq(all->journal);
	if (pthread_create(&all->thread, NULL, run, all)) return ERR_NOMEM;
	(void)pthread_setname_np(all->thread, "cdpd-enrich");
	all->has_thread = true;
	return OK;
}

static void stop_thread(struct enrichers *all)
{
	if (!all->has_thread) return;
	(void)pthread_mutex_lock(&all->lock);
	all->should_stop = true;
	(void)pthread_cond_broadcast(&all->changed);
	(void)pthread_mutex_unlock(&all->lock);
	(void)pthread_join(all->thread, NULL);
	all->has_thread = false;
}

/* ── life ────────────────────────────────────────────────────────────────── */

static int add(struct enrichers *all, const struct config *config, const struct conf_instance *conf,
	       struct enricher ***at)
{
	struct arena arena;
	struct buf errors;
	struct checked_instance checked = {.name = STR_NONE};
	arena_init(&arena, 1024, 0);
	buf_init(&errors, (size_t)64 << 10);
	int rc =
	    plugin_check_instances(&arena, config, conf, 1, CDPD_CAP_ENRICH | CDPD_CAP_ENRICH_ASYNC, &checked, &errors);
	struct str text = str_trim(buf_str(&errors));
	if (text.len) log_error(LOG_PLUGIN, "%.*s", STR_ARG(text));
	buf_fini(&errors);
	if (rc || !plugin_is_async(checked.plugin)) {
		arena_fini(&arena);
		return rc;
	}
	rc = enricher_new(all, config, conf, checked.plugin, checked.conf, &arena, *at);
	if (!rc) *at = &(**at)->next;
	return rc;
}

static int make_list(struct enrichers *all, const struct config *config, struct enricher **list)
{
	struct enricher **at = list;
	int rc = OK;
	*list = NULL;
	for (size_t i = 0; i < config->enricher_count && !rc; i++) rc = add(all, config, &config->enrichers[i], &at);
	return rc;
}

static int start_list(struct enricher *list)
{
	int rc = OK;
	for (struct enricher *e = list; e && !rc; e = e->next) rc = enricher_start(e);
	return rc;
}

/* An enricher whose plugin does not come back is left alone for ever. */
static void end_list(struct enrichers *all, struct enricher *list)
{
	for (struct enricher *e = list; e; e = e->next)
		if (e->runner) runner_stop(e->runner);
	int64_t until = clock_mono_us() + STOP_US;
	for (struct enricher *e = list; e; e = e->next) {
		if (!e->runner || runner_join(e->runner, until)) continue;
		log_error(LOG_PLUGIN, "enricher %.*s did not stop, it is left behind (its plugin does not return)",
			  STR_ARG(e->name));
		e->is_left_behind = true;
	}
	/* Their tickets may still lie among the settled ones: what they answered counts. */
	settle_all(all);
	for (struct enricher *e = list, *next; e; e = next) {
		next = e->next;
		if (!e->is_left_behind) {
			enricher_free(e);
			continue;
		}
		e->next = all->left_behind;
		all->left_behind = e;
	}
}

int enrichers_new(struct journal *journal, struct people *people, struct spaces *spaces, const struct config *config,
		  struct enrichers **out)
{
	pthread_condattr_t attr;
	*out = NULL;
	struct enrichers *all = calloc(1, sizeof *all);
	if (!all) return ERR_NOMEM;
	all->journal = journal;
	all->people = people;
	all->spaces = spaces;
	arena_init(&all->arena, 65536, SCRATCH_MAX);
	arena_init(&all->outbox_arena, 65536, 0);
	CHECK(pthread_mutex_init(&all->lock, NULL) == 0 && pthread_mutex_init(&all->admin, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&all->changed, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
	all->waiting =
	    metric_get(METRIC_GAUGE, "cdpd_awaits", NULL, "Answers of asynchronous enrichers that events wait for.");
	int rc = people_reader_new(people, &all->reader);
	if (!rc) rc = make_list(all, config, &all->list);
	if (rc) {
		enrichers_free(all);
		return rc;
	}
	*out = all;
	return OK;
}

int enrichers_start(struct enrichers *all)
{
	(void)pthread_mutex_lock(&all->admin);
	int rc = start_list(all->list);
	if (!rc) rc = start_thread(all);
	(void)pthread_mutex_unlock(&all->admin);
	return rc;
}

void enrichers_wake(struct enrichers *all)
{
	(void)pthread_mutex_lock(&all->lock);
	all->was_woken = true;
	(void)pthread_cond_broadcast(&all->changed);
	(void)pthread_mutex_unlock(&all->lock);
}

/* Running ones that stay the same take the place of their copies; *old keeps those that end. */
static void keep_same(struct enricher **list, struct enricher **old)
{
	for (struct enricher **at = list; *at; at = &(*at)->next) {
		struct enricher **was = old;
		while (*was && !enricher_is_same(*was, *at)) was = &(*was)->next;
		if (!*was) continue;
		struct enricher *copy = *at, *kept = *was;
		*was = kept->next;
		kept->next = copy->next;
		*at = kept;
		enricher_free(copy);
	}
}

static void free_list(struct enricher *list)
{
	while (list) {
		struct enricher *next = list->next;
		enricher_free(list);
		list = next;
	}
}

int enrichers_reload(struct enrichers *all, const struct config *config)
{
	struct enricher *list;
	(void)pthread_mutex_lock(&all->admin);
	int rc = make_list(all, config, &list);
	if (rc) {
		free_list(list);
		(void)pthread_mutex_unlock(&all->admin);
		return rc;
	}
	stop_thread(all);
	struct enricher *old = all->list;
	keep_same(&list, &old);
	all->list = list;
	end_list(all, old);
	rc = start_list(list);
	if (!rc) rc = start_thread(all);
	(void)pthread_mutex_unlock(&all->admin);
	return rc;
}

void enrichers_stop(struct enrichers *all)
{
	(void)pthread_mutex_lock(&all->admin);
	stop_thread(all);
	struct enricher *list = all->list;
	all->list = NULL;
	end_list(all, list);
	int64_t due_us = INT64_MAX;
	flush(all, clock_mono_us(), &due_us);
	(void)pthread_mutex_unlock(&all->admin);
}

void enrichers_free(struct enrichers *all)
{
	if (!all) return;
	enrichers_stop(all);
	/* Memory that a left-behind thread may still look at stays. */
	if (all->left_behind) return;
	if (all->reader) people_reader_free(all->reader);
	free(all->outbox);
	arena_fini(&all->arena);
	arena_fini(&all->outbox_arena);
	(void)pthread_cond_destroy(&all->changed);
	(void)pthread_mutex_destroy(&all->lock);
	(void)pthread_mutex_destroy(&all->admin);
	free(all);
}
