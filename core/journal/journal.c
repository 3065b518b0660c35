#include "journal/journal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "cdpd/v1/store.pb-c.h"
#include "journal/state.h"

/* One transaction takes no more than this, so that an ack never waits for someone else's flood. */
#define TXN_BYTES_MAX (16u << 20)
#define TXN_COUNT_MAX 8192
#define ACTOR_MAX     200

/* ── opening ── */

static int begin_new(struct journal *journal)
{
	struct journal_meta *meta = &journal->meta;
	const struct position_list none = {0};
	*meta = (struct journal_meta){.first_seq = 1, .next_seq = 1, .next_reject_id = 1, .created_t = clock_wall_us()};
	while (meta->epoch == 0) random_bytes(&meta->epoch, sizeof meta->epoch);
	int rc = segment_set_reserve(&journal->segments);
	if (rc != OK) return rc;
	struct segment *segment = segment_new(journal->dir, meta->first_seq);
	if (!segment) return ERR_NOMEM;
	rc = segment_create(segment, journal->dir, meta, &none, seal_map_bytes(&journal->conf));
	if (rc == OK)
		segment_set_add(&journal->segments, segment, 0);
	else
		segment_free(segment);
	return rc;
}

static int open_active(struct journal *journal)
{
	struct segment *segment = segment_set_active(&journal->segments);
	int rc = segment_open(segment, seal_map_bytes(&journal->conf), false, 0, &journal->meta);
	if (rc == OK) segment_set_note_open(&journal->segments);
	return rc;
}

/* The newest segment was never finished. It may go if nothing can have been in it: the one before ends where
 * it begins, or it is the very first. */
static int drop_unfinished(struct journal *journal)
{
	struct segment_set *set = &journal->segments;
	struct segment *unfinished = segment_set_active(set);
	uint64_t first_seq = unfinished->first_seq;
	struct journal_meta before = {.next_seq = 1};
	if (set->count >= 2) {
		struct segment *previous = set->items[set->count - 2];
		int rc = segment_open(previous, previous->bytes, true, 0, &before);
		segment_close(previous);
		if (rc != OK) return rc;
	}
	if (before.next_seq != first_seq) return ERR_CORRUPT;
	log_warn(LOG_JOURNAL, "%s was never finished and is made anew", unfinished->path);
	int rc = store_remove_env(unfinished->path);
	if (rc == OK) segment_set_drop_active(set);
	return rc;
}

/* What lies below the first position is left from a retention that was cut short. */
static int check_segments(struct journal *journal)
{
	struct segment_set *set = &journal->segments;
	set->epoch = journal->meta.epoch;
	segment_set_trim(set, journal->meta.first_seq);
	segment_set_remove_trimmed(set);
	if (set->items[0]->first_seq != journal->meta.first_seq) return ERR_CORRUPT;
	if (journal->active->first_seq == journal->meta.first_seq) return OK;
	/* The one before the newest is opened to see that nothing is missing between them. */
	struct segment *previous;
	int rc = segment_acquire(set, journal->active->first_seq - 1, &previous);
	if (rc != OK) return rc;
	rc = previous->end_seq == journal->active->first_seq ? OK : ERR_CORRUPT;
	segment_release(set, previous);
	return rc;
}

static int open_segments(struct journal *journal)
{
	int rc = segment_remove_leftover(journal->dir);
	if (rc == OK) rc = segment_set_init(&journal->segments, journal->dir);
	if (rc != OK) return rc;
	if (journal->segments.count > 0) {
		rc = open_active(journal);
		if (rc == ERR_NOT_FOUND) {
			rc = drop_unfinished(journal);
			if (rc == OK && journal->segments.count > 0) rc = open_active(journal);
		}
	}
	if (rc == OK && journal->segments.count == 0) rc = begin_new(journal);
	if (rc != OK) return rc;
	journal->active = segment_set_active(&journal->segments);
	rc = segment_read_quarantined(journal->active, &journal->quarantined);
	return rc == OK ? check_segments(journal) : rc;
}

static void show(struct journal *journal)
{
	const struct journal_meta *meta = &journal->meta;
	journal->counters = meta->counters;
	journal->definition_seq = meta->definition_seq;
	memcpy(journal->definition_hash, meta->definition_hash, sizeof meta->definition_hash);
	atomic_store(&journal->first_seq, meta->first_seq);
	atomic_store(&journal->next_seq, meta->next_seq);
	atomic_store(&journal->last_t, meta->last_t);
	atomic_store(&journal->is_held, meta->is_clock_held);
	atomic_store(&journal->quarantined_count, journal->quarantined.count);
	atomic_store(&journal->due_t, INT64_MAX);
	atomic_store(&journal->bytes, segment_set_bytes(&journal->segments) + store_used_bytes(journal->active->env));
}

static void init_locks(struct journal *journal)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&journal->appended, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&journal->lock, NULL);
}

static void init_metrics(struct journal *journal)
{
	journal->commit_seconds = metric_get(METRIC_HISTOGRAM, "cdpd_journal_commit_seconds", NULL,
					     "Time the journal's commits took, fsync included.");
	journal->bytes_gauge = metric_get(METRIC_GAUGE, "cdpd_journal_bytes", NULL, "Bytes of the journal on disk.");
}

static int open_all(struct journal *journal, const char *store_path)
{
	if (asprintf(&journal->dir, "%s/journal", store_path) < 0) {
		journal->dir = NULL;
		return ERR_NOMEM;
	}
	int rc = store_make_dir(store_path);
	if (rc == OK) rc = store_make_dir(journal->dir);
	if (rc == OK) rc = open_segments(journal);
	if (rc == OK) rc = disk_init(&journal->disk, store_path, &journal->conf);
	if (rc != OK) log_error(LOG_JOURNAL, "%s cannot be opened (%s)", journal->dir, status_str(rc));
	return rc;
}

int journal_open(const char *store_path, const struct conf_journal *conf, struct journal **out)
{
	*out = NULL;
	struct journal *journal = calloc(1, sizeof *journal);
	if (!journal) return ERR_NOMEM;
	journal->magic = JOURNAL_MAGIC;
	journal->conf = *conf;
	init_locks(journal);
	init_metrics(journal);
	queue_init(&journal->queue, conf->queue_bytes);
	int rc = open_all(journal, store_path);
	if (rc != OK) {
		journal_close(journal);
		return rc;
	}
	clock_watch_init(&journal->watch, clock_source_real());
	show(journal);
	*out = journal;
	return OK;
}

void journal_close(struct journal *journal)
{
	if (!journal) return;
	CHECK(journal->magic == JOURNAL_MAGIC && !journal->is_running);
	if (journal->segments.dir) segment_set_fini(&journal->segments);
	if (journal->disk.path) disk_fini(&journal->disk);
	queue_fini(&journal->queue);
	free(journal->quarantined.seqs);
	free(journal->dir);
	pthread_cond_destroy(&journal->appended);
	pthread_mutex_destroy(&journal->lock);
	free(journal);
}

/* ── the thread ── */

static void take_and_commit(struct journal *journal, int64_t timeout_us)
{
	size_t bytes;
	struct journal_append *chain = queue_take(&journal->queue, TXN_BYTES_MAX, TXN_COUNT_MAX, timeout_us, &bytes);
	if (chain) commit_chain(journal, chain, bytes);
}

static void *run(void *arg)
{
	struct journal *journal = arg;
	CHECK(journal->magic == JOURNAL_MAGIC);
	while (!queue_is_drained(&journal->queue)) {
		take_and_commit(journal, upkeep_timeout_us(journal));
		upkeep(journal);
	}
	return NULL;
}

int journal_start(struct journal *journal)
{
	sigset_t all, before;
	clock_watch_rebase(&journal->watch);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&journal->thread, NULL, run, journal);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0) return ERR_NOMEM;
	(void)pthread_setname_np(journal->thread, "cdpd-journal");
	journal->is_running = true;
	return OK;
}

void journal_stop(struct journal *journal)
{
	queue_close(&journal->queue);
	if (journal->is_running) pthread_join(journal->thread, NULL);
	journal->is_running = false;
	while (!queue_is_drained(&journal->queue)) take_and_commit(journal, 0); /* never started: settle all the same */
	atomic_store(&journal->is_closed, true);
	journal_wake(journal);
}

void journal_set_conf(struct journal *journal, const struct conf_journal *conf)
{
	pthread_mutex_lock(&journal->lock);
	journal->conf = *conf;
	pthread_mutex_unlock(&journal->lock);
	queue_set_max(&journal->queue, conf->queue_bytes);
	disk_set_conf(&journal->disk, conf);
}

void journal_conf(struct journal *journal, struct conf_journal *out)
{
	pthread_mutex_lock(&journal->lock);
	*out = journal->conf;
	pthread_mutex_unlock(&journal->lock);
}

void journal_on_panic(struct journal *journal, void (*fn)(void *ctx), void *ctx)
{
	journal->on_panic = fn;
	journal->panic_ctx = ctx;
}

void journal_set_clock(struct journal *journal, struct clock_source source)
{
	clock_watch_init(&journal->watch, source);
}

/* ── appending ── */

int journal_submit(struct journal *journal, struct journal_append *append)
{
	if (atomic_load(&journal->has_panicked)) return ERR_PANIC;
	if (disk_is_refusing(&journal->disk) && !append->is_urgent) return ERR_FULL;
	return queue_push(&journal->queue, append);
}

struct waiting {
	struct journal_append append;
	pthread_mutex_t lock;
	pthread_cond_t settled;
	bool is_settled;
};

static void on_settled(struct loop_task *task)
{
	struct waiting *waiting = (struct waiting *)((char *)task - offsetof(struct waiting, append.settled));
	pthread_mutex_lock(&waiting->lock);
	waiting->is_settled = true;
	/* Under the lock: the waiter's stack is gone once it can return. */
	pthread_cond_signal(&waiting->settled);
	pthread_mutex_unlock(&waiting->lock);
}

int journal_append_wait(struct journal *journal, enum record_kind kind, struct str payload, uint64_t *seq)
{
	const struct journal_entry entry = {kind, payload};
	struct waiting waiting = {
	    .append = {.entries = &entry, .entry_count = 1, .is_urgent = true, .settled = {.run = on_settled}}};
	pthread_mutex_init(&waiting.lock, NULL);
	pthread_cond_init(&waiting.settled, NULL);
	int rc = journal_submit(journal, &waiting.append);
	if (rc == OK) {
		pthread_mutex_lock(&waiting.lock);
		while (!waiting.is_settled) pthread_cond_wait(&waiting.settled, &waiting.lock);
		pthread_mutex_unlock(&waiting.lock);
		rc = waiting.append.status;
		if (seq) *seq = waiting.append.first_seq;
	}
	pthread_cond_destroy(&waiting.settled);
	pthread_mutex_destroy(&waiting.lock);
	return rc;
}

int journal_confirm_clock(struct journal *journal, struct str actor)
{
	if (!journal_clock_is_held(journal)) return ERR_NOT_FOUND;
	char name[ACTOR_MAX + 1] = {0};
	uint8_t payload[ACTOR_MAX + 32];
	memcpy(name, actor.ptr, actor.len < ACTOR_MAX ? actor.len : ACTOR_MAX);
	Cdpd__V1__StoredClock clock = CDPD__V1__STORED_CLOCK__INIT;
	clock.act = CDPD__V1__STORED_CLOCK__ACT__CONFIRM;
	clock.actor = name;
	CHECK(cdpd__v1__stored_clock__get_packed_size(&clock) <= sizeof payload);
	size_t len = cdpd__v1__stored_clock__pack(&clock, payload);
	return journal_append_wait(journal, RECORD_CLOCK, str_of(payload, len), NULL);
}

/* ── what others may know ── */

uint64_t journal_epoch(const struct journal *journal)
{
	return journal->segments.epoch;
}

uint64_t journal_first_seq(const struct journal *journal)
{
	return atomic_load(&journal->first_seq);
}

uint64_t journal_next_seq(const struct journal *journal)
{
	return atomic_load(&journal->next_seq);
}

int64_t journal_last_t(const struct journal *journal)
{
	return atomic_load(&journal->last_t);
}

uint64_t journal_bytes(const struct journal *journal)
{
	return atomic_load(&journal->bytes);
}

/* The lock is no part of what a reader sees. */
static pthread_mutex_t *lock_of(const struct journal *journal)
{
	return (pthread_mutex_t *)(uintptr_t)&journal->lock;
}

void journal_counters(const struct journal *journal, struct journal_counters *out)
{
	pthread_mutex_lock(lock_of(journal));
	*out = journal->counters;
	pthread_mutex_unlock(lock_of(journal));
}

static int compare_seqs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

bool journal_is_quarantined(const struct journal *journal, uint64_t seq)
{
	if (atomic_load(&journal->quarantined_count) == 0) return false;
	pthread_mutex_lock(lock_of(journal));
	const struct position_list *list = &journal->quarantined;
	bool is_in = bsearch(&seq, list->seqs, list->count, sizeof seq, compare_seqs) != NULL;
	pthread_mutex_unlock(lock_of(journal));
	return is_in;
}

bool journal_definition(struct journal *journal, uint64_t *seq, uint8_t hash[DEFINITION_HASH_SIZE])
{
	pthread_mutex_lock(&journal->lock);
	*seq = journal->definition_seq;
	memcpy(hash, journal->definition_hash, DEFINITION_HASH_SIZE);
	pthread_mutex_unlock(&journal->lock);
	return *seq != 0;
}

bool journal_clock_is_held(const struct journal *journal)
{
	return atomic_load(&journal->is_held);
}

void journal_set_due(struct journal *journal, int64_t t)
{
	atomic_store(&journal->due_t, t);
	queue_poke(&journal->queue);
}

void journal_set_checkpoint(struct journal *journal, uint64_t seq)
{
	atomic_store(&journal->checkpoint, seq);
}

void journal_release_ballast(struct journal *journal)
{
	(void)disk_release_ballast(&journal->disk);
}

const char *journal_refusal(const struct journal *journal)
{
	if (atomic_load(&journal->has_panicked)) return "a write to the disk failed, cdpd must restart";
	if (atomic_load(&journal->is_closed)) return "cdpd is shutting down";
	if (atomic_load(&journal->disk.is_refusing)) return "the disk is almost full";
	return NULL;
}
