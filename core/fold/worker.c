#include "fold/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "fold/append.h"
#include "fold/backfill.h"
#include "fold/due.h"
#include "fold/payload.h"
#include "profile/awaits.h"
#include "profile/segment.h"

#define BATCH_RECORDS  4096
#define BATCH_BYTES    ((size_t)4 << 20)
#define PAGE_CAP       ((size_t)24000) /* as estimated from above: 82 MB of dirty pages in truth */
#define PAGE_CAP_TIGHT ((size_t)500)   /* while there was no room for more */
/* A commit costs the journal's acks some disk time: at least this long between the end of one and the start of the next
 * piece of work, so that a steady stream makes few larger commits and a lone event is still seen at once. */
#define GAP_MS       20
#define GAP_BUSY_MS  40
#define BUSY_RECORDS 64
/* The longest a reader waits for what was folded; longer while catching up, when it is behind anyway. */
#define FRESH_MS    200
#define CATCH_UP_MS 1000
#define BEHIND      50000
#define CLOCK_EVERY 32 /* records between looks at the clock */
#define IDLE_MS     200
#define MAINTAIN_MS 1000
#define TROUBLE_MS  500
#define TRIM_ROWS   1000 /* and twice the records of the transaction: trimming keeps up with writing */

void worker_configure(struct fold *fold)
{
	const struct definitions *definitions = people_definitions(fold->people);
	dedup_configure(fold->dedup, definitions ? definitions->dedup_window_us : 0,
			definitions ? definitions->dedup_max_ids : 0);
}

void worker_rewind(struct fold *fold)
{
	uint64_t applied = people_applied(fold->people);
	fold->next = applied > 1 ? applied : 1; /* an empty checkpoint; positions count from 1 */
	fold->t = people_applied_t(fold->people);
	worker_configure(fold);
}

void worker_publish(struct fold *fold)
{
	struct dedup_stats stats;
	uint64_t verdicts[OUTCOME_VERDICT_COUNT];
	dedup_stats(fold->dedup, fold->t, &stats);
	people_verdicts(fold->people, verdicts);
	atomic_store(&fold->applied, fold->next);
	atomic_store(&fold->dedup_ids, stats.ids);
	atomic_store(&fold->maybe_duplicates, stats.maybe_duplicates);
	atomic_store(&fold->dedup_window_us, stats.window_us);
	metric_set(fold->meter.applied, (int64_t)fold->next);
	metric_set(fold->meter.lag, (int64_t)(journal_next_seq(fold->journal) - fold->next));
	metric_set(fold->meter.ids, (int64_t)stats.ids);
	metric_set(fold->meter.window, stats.window_us / US_PER_SECOND);
	metric_set(fold->meter.maybe, (int64_t)stats.maybe_duplicates);
	meter_set_verdicts(&fold->meter, verdicts);
}

/* Returns early when told to stop. */
static void pause_until(struct fold *fold, int64_t mono_us)
{
	struct timespec until = {.tv_sec = mono_us / US_PER_SECOND, .tv_nsec = mono_us % US_PER_SECOND * 1000};
	(void)pthread_mutex_lock(&fold->lock);
	while (!atomic_load(&fold->should_stop)) {
		if (pthread_cond_timedwait(&fold->wake, &fold->lock, &until) == ETIMEDOUT) break;
	}
	(void)pthread_mutex_unlock(&fold->lock);
}

/* ── transactions ────────────────────────────────────────────────────────── */

int worker_open_transaction(struct fold *fold)
{
	if (fold->is_open) return OK;
	int rc = people_begin(fold->people);
	if (rc) return rc;
	fold->is_open = true;
	fold->record_count = 0;
	fold->opened_at = clock_mono_us();
	return OK;
}

static int abandon(struct fold *fold)
{
	if (!fold->is_open) return OK;
	people_abort(fold->people);
	fold->is_open = false;
	worker_rewind(fold);
	return dedup_aborted(fold->dedup);
}

static int trim(struct fold *fold)
{
	uint64_t first = journal_first_seq(fold->journal);
	int64_t retention = atomic_load(&fold->changes_retention_us);
	bool may_age = retention > 0 && fold->t > retention && !journal_clock_is_held(fold->journal);
	int64_t before = may_age ? fold->t - retention : INT64_MIN;
	return people_trim(fold->people, first, before, TRIM_ROWS + 2 * fold->record_count);
}

/* The journal appends a tick when the earlier of the two comes and nothing else does. */
static void set_wake(struct fold *fold)
{
	int64_t dedup = dedup_next_due(fold->dedup, fold->next), people = people_wake_at(fold->people, fold->t);
	journal_set_due(fold->journal, dedup < people ? dedup : people);
}

static int write_transaction(struct fold *fold)
{
	int rc = dedup_flush(fold->dedup, people_txn(fold->people));
	if (!rc) rc = trim(fold);
	if (!rc) rc = people_oldest_await(fold->people, &fold->oldest_await);
	return rc ? rc : people_commit(fold->people, fold->next, fold->t);
}

/* The oldest record that will be read again: the journal keeps it and what follows. */
static uint64_t read_behind(const struct fold *fold)
{
	uint64_t behind = backfill_behind(fold);
	return fold->oldest_await < behind ? fold->oldest_await : behind;
}

int worker_commit(struct fold *fold)
{
	if (!fold->is_open) return OK;
	int64_t start = clock_mono_us();
	marker_begin(&fold->marker, fold->next - fold->record_count, fold->next);
	int rc = write_transaction(fold);
	marker_end(&fold->marker);
	if (rc) return rc;
	fold->is_open = false;
	fold->committed_at = clock_mono_us();
	fold->gap_records = fold->record_count;
	if (fold->is_in_trouble) log_info(LOG_FOLD, "folding goes on, there is room again");
	fold->is_in_trouble = false;
	fold->page_cap = PAGE_CAP;
	dedup_committed(fold->dedup);
	marker_passed(&fold->marker, backfill_behind(fold));
	metric_add(fold->meter.commits, 1);
	metric_observe_us(fold->meter.commit_seconds, fold->committed_at - start);
	worker_publish(fold);
	journal_set_checkpoint(fold->journal, read_behind(fold));
	set_wake(fold);
	if (fold->on_commit) fold->on_commit(fold->ctx, fold->next, people_last_change(fold->people));
	return OK;
}

bool worker_is_full(const struct fold *fold)
{
	if (people_pages(fold->people) >= fold->page_cap + dedup_overcount(fold->dedup)) return true;
	if (fold->record_count >= marker_step(&fold->marker, fold->next - 1)) return true;
	if (fold->record_count % CLOCK_EVERY) return false;
	bool is_behind = journal_next_seq(fold->journal) - fold->next > BEHIND;
	int64_t bound = (is_behind ? CATCH_UP_MS : FRESH_MS) * US_PER_MS;
	return clock_mono_us() - fold->opened_at >= bound;
}

/* ── records ─────────────────────────────────────────────────────────────── */

/* A definition begins a transaction: a re-evaluation must see everybody in the store. */
static int before_record(struct fold *fold, const struct record *record)
{
	int rc = record->kind == RECORD_DEFINITION ? worker_commit(fold) : OK;
	if (!rc) rc = backfill_step(fold, record);
	return rc ? rc : due_fire(fold, record);
}

static int after_record(struct fold *fold, const struct record *record)
{
	int rc = record->kind == RECORD_CLOCK ? due_fire(fold, record) : OK; /* confirmed: what was held is due now */
	return rc ? rc : due_scan(fold, record);
}

static int fold_record(struct fold *fold, const struct record *record)
{
	if (record->seq != fold->next) return ERR_CORRUPT;
	int rc = before_record(fold, record);
	if (rc) return rc;
	rc = apply_record(fold, record);
	if (rc == ERR_FORMAT) {
		rc = worker_commit(fold); /* what came before it stays folded */
		return rc ? rc : ERR_FORMAT;
	}
	if (!rc) rc = after_record(fold, record);
	if (rc) return rc;
	fold->next = record->seq + 1;
	fold->t = record->t;
	fold->record_count++;
	return worker_is_full(fold) ? worker_commit(fold) : OK;
}

int worker_quarantine(struct fold *fold, uint64_t seq)
{
	struct str payload;
	uint64_t at;
	if (journal_is_quarantined(fold->journal, seq)) return OK;
	arena_reset(&fold->arena);
	int rc = payload_write_quarantine(&fold->arena, seq, marker_plugin(&fold->marker), STR("crashed"), &payload);
	if (!rc) rc = append_and_wait(fold->journal, RECORD_QUARANTINE, payload, seq, &at);
	if (!rc) log_error(LOG_FOLD, "position %" PRIu64 " crashed the fold again and is quarantined", seq);
	return rc;
}

/* Alone in its transaction: should it crash again, nothing before it is folded a third time. */
static int fold_suspect(struct fold *fold, const struct record *record)
{
	int rc = worker_commit(fold);
	if (!rc && marker_is_guilty(&fold->marker, record->kind == RECORD_EVENT))
		rc = worker_quarantine(fold, record->seq);
	if (!rc) rc = fold_record(fold, record);
	return rc ? rc : worker_commit(fold);
}

static int fold_batch(struct fold *fold)
{
	uint64_t suspect;
	for (size_t i = 0; i < fold->batch.count; i++) {
		const struct record *record = &fold->batch.records[i];
		int rc;
		if (marker_suspect(&fold->marker, &suspect) && suspect == record->seq) {
			rc = fold_suspect(fold, record);
		} else {
			rc = fold_record(fold, record);
		}
		if (rc) return rc;
		if (fold->record_count % CLOCK_EVERY == 0 && atomic_load(&fold->should_stop)) return OK;
	}
	return OK;
}

/* The task of another thread: what is folded is committed first. What fails harmlessly is the caller's to try again. */
static int run_task(struct fold *fold)
{
	(void)pthread_mutex_lock(&fold->lock);
	const struct fold_task *task = fold->task;
	(void)pthread_mutex_unlock(&fold->lock);
	if (!task) return OK;
	int rc = worker_commit(fold);
	if (!rc && !task->is_outside) rc = worker_open_transaction(fold);
	if (rc) {
		task_finish(fold, rc);
		return rc;
	}
	rc = task_run(fold, task);
	if (!rc) rc = worker_commit(fold);
	int failure = rc ? abandon(fold) : OK;
	task_finish(fold, rc);
	return failure ? failure : rc == ERR_PANIC ? rc : OK;
}

static bool should_stand_back(struct fold *fold)
{
	uint64_t next = journal_next_seq(fold->journal);
	return burst_is_on(&fold->burst, next - fold->next, next, clock_mono_us());
}

/* What is folded is shown first. */
static int stand_back(struct fold *fold)
{
	int rc = worker_commit(fold);
	if (!rc) pause_until(fold, clock_mono_us() + GAP_MS * US_PER_MS);
	return rc;
}

static int fold_pending(struct fold *fold)
{
	while (!atomic_load(&fold->should_stop)) {
		if (atomic_load(&fold->has_task)) {
			int failure = run_task(fold);
			if (failure) return failure;
		}
		if (should_stand_back(fold)) {
			int failure = stand_back(fold);
			if (failure) return failure;
			continue;
		}
		int rc = journal_read(fold->journal, fold->next, BATCH_RECORDS, BATCH_BYTES, &fold->batch);
		if (rc == ERR_AGAIN) break;
		if (!rc) rc = fold_batch(fold);
		if (rc) return rc;
	}
	return worker_commit(fold);
}

/* ── turns ───────────────────────────────────────────────────────────────── */

/* With nothing to fold: deletes what is past its keeping, in slices, until a slice finds nothing. */
static int maintain(struct fold *fold)
{
	int64_t now = clock_mono_us();
	metric_set(fold->meter.lag, (int64_t)(journal_next_seq(fold->journal) - fold->next));
	if (now - fold->maintained_at < MAINTAIN_MS * US_PER_MS) return OK;
	int rc = worker_open_transaction(fold);
	if (rc) return rc;
	size_t before = store_dirty_pages(people_txn(fold->people));
	rc = dedup_flush(fold->dedup, people_txn(fold->people));
	if (!rc) rc = trim(fold);
	if (rc) return rc;
	if (store_dirty_pages(people_txn(fold->people)) != before) return worker_commit(fold);
	fold->maintained_at = now;
	return abandon(fold);
}

static int wait_for_records(struct fold *fold)
{
	int rc = journal_wait(fold->journal, fold->next, IDLE_MS);
	if (rc == ERR_CLOSED) pause_until(fold, clock_mono_us() + IDLE_MS * US_PER_MS);
	if (rc) return rc == ERR_CLOSED ? ERR_TIMEOUT : rc;
	int64_t gap = fold->gap_records < BUSY_RECORDS ? GAP_MS : GAP_BUSY_MS;
	int64_t earliest = fold->committed_at + gap * US_PER_MS;
	if (clock_mono_us() < earliest) pause_until(fold, earliest);
	return OK;
}

/* Out of room: nothing is lost, the records are in the journal. Whatever else fails ends the daemon. */
static int recover(struct fold *fold, int failure)
{
	int rc = failure == ERR_PANIC ? failure : abandon(fold);
	if (failure != ERR_FULL && failure != ERR_NOMEM && failure != ERR_BUSY) return failure;
	if (rc) return rc;
	if (!fold->is_in_trouble) {
		log_error(LOG_FOLD, "folding waits at position %" PRIu64 ", no room (%s)", fold->next,
			  status_str(failure));
	}
	fold->is_in_trouble = true;
	fold->page_cap = PAGE_CAP_TIGHT;
	if (failure == ERR_FULL) journal_release_ballast(fold->journal);
	pause_until(fold, clock_mono_us() + TROUBLE_MS * US_PER_MS);
	return OK;
}

static int turn(struct fold *fold)
{
	int rc = wait_for_records(fold);
	if ((!rc || rc == ERR_TIMEOUT) && atomic_load(&fold->has_task)) {
		int failure = run_task(fold);
		if (failure) return recover(fold, failure);
	}
	if (rc == ERR_TIMEOUT)
		rc = maintain(fold);
	else if (!rc)
		rc = fold_pending(fold);
	return rc ? recover(fold, rc) : OK;
}

/* Before anything is told to the journal: what waited at the last stop waits still. */
static int know_waits(struct fold *fold)
{
	int rc = people_begin(fold->people);
	if (rc) return rc;
	rc = people_oldest_await(fold->people, &fold->oldest_await);
	people_abort(fold->people);
	return rc;
}

void *worker_main(void *arg)
{
	struct fold *fold = arg;
	CHECK(fold->magic == FOLD_MAGIC);
	fold->page_cap = PAGE_CAP;
	marker_watch_signals(&fold->marker);
	feature_watch(fold->marker.page->plugin, sizeof fold->marker.page->plugin);
	int64_t start = clock_mono_us();
	int rc = dedup_load(fold->dedup, &fold->should_stop);
	if (!rc) rc = know_waits(fold);
	if (!rc) {
		log_info(LOG_FOLD, "folding from position %" PRIu64 ", %" PRIu64 " message ids read in %" PRId64 " ms",
			 fold->next, atomic_load(&fold->dedup_ids), (clock_mono_us() - start) / US_PER_MS);
		journal_set_checkpoint(fold->journal, read_behind(fold));
		set_wake(fold);
		atomic_store(&fold->is_ready, true);
	}
	while (!rc && !atomic_load(&fold->should_stop)) rc = turn(fold);
	if (rc && rc != ERR_CLOSED) {
		log_error(LOG_FOLD, "the fold stopped at position %" PRIu64 " (%s)", fold->next, status_str(rc));
		if (fold->on_fatal) fold->on_fatal(fold->ctx, rc);
	}
	feature_watch(NULL, 0);
	task_end(fold);
	return NULL;
}
