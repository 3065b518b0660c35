#include "fold/fold.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

#include "base/secret.h"
#include "fold/append.h"
#include "fold/backfill.h"
#include "fold/payload.h"
#include "fold/worker.h"

#define DEFINITION_BYTES_MAX ((size_t)4 << 20)
#define RECORD_BLOCK         ((size_t)256 << 10)

/* ── start checks ────────────────────────────────────────────────────────── */

static int check_epoch(struct fold *fold)
{
	int rc = people_bind_epoch(fold->people, journal_epoch(fold->journal));
	if (rc == ERR_FOREIGN) {
		log_error(LOG_FOLD,
			  "the profiles belong to another journal (epoch %016" PRIx64 ", the journal's is %016" PRIx64
			  "): put back the journal they were made from, or start from an empty profiles folder",
			  people_epoch(fold->people), journal_epoch(fold->journal));
	}
	return rc;
}

static int check_position(struct fold *fold)
{
	uint64_t first = journal_first_seq(fold->journal), end = journal_next_seq(fold->journal);
	if (fold->next > end && end > 0) {
		log_error(LOG_FOLD,
			  "the checkpoint is ahead of the journal (%" PRIu64 ", the journal ends before %" PRIu64
			  "): acknowledged records are missing, restore the journal that belongs to it",
			  fold->next, end);
		return ERR_CORRUPT;
	}
	if (fold->next < first) {
		log_error(LOG_FOLD,
			  "records %" PRIu64 " to %" PRIu64 " are not folded yet and no longer in the journal",
			  fold->next, first - 1);
		return ERR_GONE;
	}
	return OK;
}

static void check_marker(struct fold *fold)
{
	const struct marker_page *page = fold->marker.page;
	if (page->suspect_from >= page->suspect_to) return;
	/* Old records are in hand while a new feature counts them. */
	if (page->suspect_from < backfill_behind(fold) || page->suspect_to > journal_next_seq(fold->journal)) {
		marker_acquit(&fold->marker); /* from before a restore or a power cut */
		return;
	}
	log_warn(LOG_FOLD,
		 "cdpd ended while positions %" PRIu64 " to %" PRIu64 " were being folded (%" PRIu64
		 " times by a crash of the fold, %" PRIu64 " times by another cause)",
		 page->suspect_from, page->suspect_to - 1, page->crashes, page->deaths);
}

/* ── definitions ─────────────────────────────────────────────────────────── */

/* Is the journal's newest definition this very payload (folded or not), and not left out? */
static bool is_recorded(const struct fold *fold, struct str payload)
{
	uint8_t newest[SHA256_SIZE], hash[SHA256_SIZE];
	uint64_t seq;
	if (!journal_definition(fold->journal, &seq, newest) || journal_is_quarantined(fold->journal, seq))
		return false;
	return sha256(payload, hash) == OK && memcmp(hash, newest, sizeof hash) == 0;
}

static int append_definition(struct fold *fold, struct str text)
{
	struct arena arena;
	struct str payload;
	uint64_t seq = 0;
	arena_init(&arena, RECORD_BLOCK, 0);
	int rc = payload_write_definition(&arena, text, journal_first_seq(fold->journal), &payload);
	bool is_new = !rc && !is_recorded(fold, payload);
	if (is_new) rc = append_and_wait(fold->journal, RECORD_DEFINITION, payload, 0, &seq);
	arena_fini(&arena);
	if (rc)
		log_error(LOG_FOLD, "the changed definitions could not be recorded (%s)", status_str(rc));
	else if (is_new)
		log_info(LOG_FOLD, "definitions recorded at position %" PRIu64, seq);
	return rc;
}

/* Appends the definitions of `config` unless the newest in the journal are known to be equal. When that cannot be told they
 * are appended in any case: folding an equal definition changes nothing. */
static int define(struct fold *fold, const struct config *config)
{
	struct buf text;
	buf_init(&text, DEFINITION_BYTES_MAX);
	(void)pthread_mutex_lock(&fold->lock);
	int rc = definitions_write(config, &text);
	bool is_known = fold->definition.len > 0 && str_eq(buf_str(&text), buf_str(&fold->definition));
	if (!rc && !is_known) rc = append_definition(fold, buf_str(&text));
	if (!rc) {
		struct buf old = fold->definition;
		fold->definition = text;
		text = old;
		atomic_store(&fold->changes_retention_us, config->changes_retention_us);
	}
	(void)pthread_mutex_unlock(&fold->lock);
	buf_fini(&text);
	return rc;
}

/* With nothing pending the active text is the newest; otherwise only the pending records could tell. */
static int know_definition(struct fold *fold)
{
	if (fold->next != journal_next_seq(fold->journal)) return OK;
	return buf_append_str(&fold->definition, people_definitions_text(fold->people));
}

int fold_reload(struct fold *fold, const struct config *config)
{
	return define(fold, config);
}

/* ── life ────────────────────────────────────────────────────────────────── */

static void init_sync(struct fold *fold)
{
	pthread_condattr_t attributes;
	(void)pthread_mutex_init(&fold->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&fold->wake, &attributes);
	(void)pthread_cond_init(&fold->task_done, &attributes);
	(void)pthread_condattr_destroy(&attributes);
}

static struct fold *fold_alloc(struct journal *journal, struct people *people, const struct fold_options *options)
{
	struct fold *fold = calloc(1, sizeof *fold);
	if (!fold) return NULL;
	fold->magic = FOLD_MAGIC;
	fold->journal = journal;
	fold->people = people;
	fold->on_commit = options->on_commit;
	fold->on_fatal = options->on_fatal;
	fold->ctx = options->ctx;
	init_sync(fold);
	buf_init(&fold->definition, DEFINITION_BYTES_MAX);
	journal_batch_init(&fold->batch);
	journal_batch_init(&fold->past);
	arena_init(&fold->arena, RECORD_BLOCK, 0);
	meter_init(&fold->meter);
	return fold;
}

int fold_new(struct journal *journal, struct people *people, const struct fold_options *options, struct fold **out)
{
	*out = NULL;
	struct fold *fold = fold_alloc(journal, people, options);
	if (!fold) return ERR_NOMEM;
	int rc = dedup_open(people_env(people), &fold->dedup);
	if (!rc) rc = check_epoch(fold);
	if (!rc) {
		worker_rewind(fold);
		rc = check_position(fold);
	}
	if (!rc) rc = marker_open(&fold->marker, options->config->store_path);
	if (!rc) {
		check_marker(fold);
		worker_publish(fold);
		rc = know_definition(fold);
	}
	if (!rc) rc = define(fold, options->config);
	if (rc) {
		fold_free(fold);
		return rc;
	}
	*out = fold;
	return OK;
}

int fold_start(struct fold *fold)
{
	sigset_t all, before;
	CHECK(!fold->is_started);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
	int failure = pthread_create(&fold->thread, NULL, worker_main, fold);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failure) return ERR_NOMEM;
	(void)pthread_setname_np(fold->thread, "cdpd-fold");
	fold->is_started = true;
	return OK;
}

void fold_stop(struct fold *fold)
{
	if (!fold->is_started) return;
	(void)pthread_mutex_lock(&fold->lock);
	atomic_store(&fold->should_stop, true);
	(void)pthread_cond_broadcast(&fold->wake);
	(void)pthread_mutex_unlock(&fold->lock);
	journal_wake(fold->journal);
	(void)pthread_join(fold->thread, NULL);
	fold->is_started = false;
}

void fold_free(struct fold *fold)
{
	if (!fold) return;
	CHECK(fold->magic == FOLD_MAGIC && !fold->is_started);
	marker_close(&fold->marker);
	dedup_close(fold->dedup);
	journal_batch_fini(&fold->batch);
	journal_batch_fini(&fold->past);
	arena_fini(&fold->arena);
	buf_fini(&fold->definition);
	(void)pthread_cond_destroy(&fold->task_done);
	(void)pthread_cond_destroy(&fold->wake);
	(void)pthread_mutex_destroy(&fold->lock);
	fold->magic = 0;
	free(fold);
}

void fold_status(const struct fold *fold, struct fold_status *out)
{
	uint64_t end = journal_next_seq(fold->journal);
	out->applied = atomic_load(&fold->applied);
	out->pending = end > out->applied ? end - out->applied : 0;
	out->dedup_ids = atomic_load(&fold->dedup_ids);
	out->dedup_window_us = atomic_load(&fold->dedup_window_us);
	out->maybe_duplicates = atomic_load(&fold->maybe_duplicates);
	out->is_ready = atomic_load(&fold->is_ready);
}
