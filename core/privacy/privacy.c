#include "privacy/privacy.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/hash.h"
#include "base/metric.h"
#include "fold/payload.h"
#include "journal/rewrite.h"
#include "privacy/expiry.h"
#include "privacy/sweep.h"

#define ARENA_BLOCK   ((size_t)64 << 10)
#define BATCH_MAX     1000 /* erasures that one sweep settles */
#define LIST_PAGE     256
#define POLL_NS       5000000
#define RETRY_US      (10 * US_PER_SECOND)
#define LATE_US       (600 * US_PER_SECOND) /* between looks for blocked events that came late */
#define START_WAIT_US (60 * US_PER_SECOND)

struct privacy {
	struct journal *journal;
	struct people *people;
	struct fold *fold;
	void (*on_fatal)(void *ctx, int status);
	void *ctx;
	struct erasure_list *list;
	struct expiry *expiry;
	struct metric *open, *events, *rewritten, *compactions, *rejects, *letters;
	int (*erase_letters)(void *ctx, const _Atomic bool *stop, uint64_t *count); /* may be NULL */
	void *letters_ctx;

	pthread_t thread;
	bool is_started;
	atomic_bool stop, has_new_rules;
	pthread_mutex_t lock; /* of what follows, and of asking */
	pthread_cond_t asked;
	bool has_work;
	uint64_t swept; /* everything below was looked at; the thread's own */
};

struct erasure_list *privacy_list(struct privacy *privacy)
{
	return privacy->list;
}

/* ── life ────────────────────────────────────────────────────────────────── */

static void init_sync(struct privacy *privacy)
{
	pthread_condattr_t attributes;
	(void)pthread_mutex_init(&privacy->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&privacy->asked, &attributes);
	(void)pthread_condattr_destroy(&attributes);
}

static void init_metrics(struct privacy *privacy)
{
	privacy->open = metric_get(METRIC_GAUGE, "cdpd_erasures_open", NULL, "Erasures that are not done yet.");
	privacy->events = metric_get(METRIC_COUNTER, "cdpd_erased_events_total", NULL,
				     "Events whose content was taken out of the journal.");
	privacy->rejects = metric_get(METRIC_COUNTER, "cdpd_erased_rejects_total", NULL,
				      "Details of rejects that were deleted with a person.");
	privacy->letters = metric_get(METRIC_COUNTER, "cdpd_erased_dead_letters_total", NULL,
				      "Dead letters of destinations that were deleted with a person.");
	privacy->rewritten = metric_get(METRIC_COUNTER, "cdpd_journal_segments_rewritten_total", NULL,
					"Segments of the journal written anew to erase events.");
	privacy->compactions = metric_get(METRIC_COUNTER, "cdpd_profiles_compactions_total", NULL,
					  "Times the profiles were written anew without what was deleted.");
}

int privacy_new(const struct privacy_options *options, struct privacy **out)
{
	*out = NULL;
	struct privacy *privacy = calloc(1, sizeof *privacy);
	if (!privacy) return ERR_NOMEM;
	privacy->journal = options->journal;
	privacy->people = options->people;
	privacy->fold = options->fold;
	privacy->on_fatal = options->on_fatal;
	privacy->ctx = options->ctx;
	init_sync(privacy);
	init_metrics(privacy);
	int rc = erasure_list_open(options->store_path, &privacy->list);
	const struct expiry_options expiry = {
	    .journal = privacy->journal, .people = privacy->people, .list = privacy->list, .stop = &privacy->stop};
	if (!rc) rc = expiry_new(&expiry, &privacy->expiry);
	if (!rc && options->config) rc = privacy_set_config(privacy, options->config);
	if (rc) {
		privacy_free(privacy);
		return rc;
	}
	*out = privacy;
	return OK;
}

void privacy_set_letters(struct privacy *privacy, int (*erase)(void *ctx, const _Atomic bool *stop, uint64_t *count),
			 void *ctx)
{
	CHECK(!privacy->is_started);
	privacy->erase_letters = erase;
	privacy->letters_ctx = ctx;
}

void privacy_free(struct privacy *privacy)
{
	if (!privacy) return;
	CHECK(!privacy->is_started);
	expiry_free(privacy->expiry);
	erasure_list_close(privacy->list);
	(void)pthread_cond_destroy(&privacy->asked);
	(void)pthread_mutex_destroy(&privacy->lock);
	free(privacy);
}

/* ── the journal ─────────────────────────────────────────────────────────── */

static int append(struct privacy *privacy, struct erasure *erasure)
{
	const struct people_erasure act = {.fragments = erasure->fragments,
					   .count = erasure->fragment_count,
					   .is_whole = erasure->is_whole,
					   .before_us = erasure->before_us};
	struct people_erasure copy = act;
	struct arena arena;
	struct str payload;
	memcpy(copy.receipt, erasure->receipt, sizeof copy.receipt);
	arena_init(&arena, ARENA_BLOCK, 0);
	int rc = payload_write_erasure(&arena, &copy, erasure->actor, erasure->reason, &payload);
	if (!rc) rc = journal_append_wait(privacy->journal, RECORD_ERASURE, payload, &erasure->seq);
	arena_fini(&arena);
	if (!rc) erasure->epoch = journal_epoch(privacy->journal);
	return rc;
}

int privacy_suppress(struct privacy *privacy, const struct people_suppression *act, struct arena *arena, uint64_t *seq)
{
	struct str payload;
	int rc = payload_write_suppression(arena, act, &payload);
	return rc ? rc : journal_append_wait(privacy->journal, RECORD_SUPPRESSION, payload, seq);
}

/* ── asking ──────────────────────────────────────────────────────────────── */

static void make_receipt(uint8_t receipt[RECEIPT_SIZE], int64_t now)
{
	put_be64(receipt, (uint64_t)now);
	random_bytes(receipt + 8, RECEIPT_SIZE - 8);
}

/* What the request is about: the person's fragments, or the one that was named. */
static int read_fragments(struct people_reader *reader, struct str ref, bool is_whole, struct arena *arena,
			  struct profile *profile, struct fragment_id **ids, size_t *count)
{
	uint64_t applied;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	rc = people_get(reader, ref, PROFILE_IDENTIFIERS, clock_wall_us(), arena, profile);
	people_read_end(reader);
	if (rc) return rc;
	*count = is_whole ? profile->identifier_count : 1;
	*ids = arena_array(arena, struct fragment_id, *count);
	if (!*ids) return ERR_NOMEM;
	if (!is_whole) (*ids)[0] = profile->requested_id;
	for (size_t i = 0; is_whole && i < *count; i++) (*ids)[i] = profile->identifiers[i].fragment;
	return OK;
}

static bool covers(const struct erasure *erasure, const struct fragment_id *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t k = 0;
		while (k < erasure->fragment_count && memcmp(&erasure->fragments[k], &ids[i], sizeof ids[i]) != 0) k++;
		if (k == erasure->fragment_count) return false;
	}
	return true;
}

/* One that the fold has not reached yet. Open ones are among the newest. */
static int find_open(struct privacy *privacy, const struct fragment_id *ids, size_t count, struct arena *arena,
		     struct erasure *out)
{
	struct erasure *list;
	size_t listed;
	int rc = erasure_list_read(privacy->list, NULL, LIST_PAGE, arena, &list, &listed);
	for (size_t i = 0; i < listed && !rc; i++) {
		if (list[i].state == ERASURE_DONE || list[i].seq < people_applied(privacy->people)) continue;
		if (!covers(&list[i], ids, count)) continue;
		*out = list[i];
		return OK;
	}
	return rc ? rc : ERR_NOT_FOUND;
}

/* Nobody is known by that reference: perhaps because they were erased. */
static int find_done(struct privacy *privacy, struct people_reader *reader, struct str ref, struct arena *arena,
		     struct erasure *out)
{
	uint64_t applied;
	struct fragment_id id;
	struct erased_row row;
	struct str namespace_;
	bool is_id = str_starts(ref, STR("id:"));
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	rc = is_id ? fragment_id_parse((struct str){ref.ptr + 3, ref.len - 3}, &id)
		   : people_ref(reader, ref, arena, &id, &namespace_);
	if (!rc) rc = people_erased(reader, &id, &row);
	people_read_end(reader);
	return rc ? rc : erasure_list_get(privacy->list, row.receipt, arena, out);
}

static void wake(struct privacy *privacy)
{
	privacy->has_work = true;
	(void)pthread_cond_signal(&privacy->asked);
}

/* Noted before it is in the journal: whatever happens between the two, the next start asks again. */
static int ask(struct privacy *privacy, struct erasure *erasure)
{
	int rc = erasure_list_put(privacy->list, erasure);
	if (rc) return rc;
	rc = append(privacy, erasure);
	if (rc) {
		if (rc != ERR_PANIC && erasure_list_remove(privacy->list, erasure->receipt) != OK) rc = ERR_PANIC;
		return rc;
	}
	erasure->state = ERASURE_FOLDING;
	return erasure_list_put(privacy->list, erasure);
}

int privacy_erase(struct privacy *privacy, struct people_reader *reader, const struct erasure_request *request,
		  struct arena *arena, struct erasure *erasure)
{
	struct profile profile;
	struct fragment_id *ids;
	size_t count;
	int rc = read_fragments(reader, request->ref, request->is_whole, arena, &profile, &ids, &count);
	if (rc == ERR_NOT_FOUND) return find_done(privacy, reader, request->ref, arena, erasure);
	if (rc) return rc;
	(void)pthread_mutex_lock(&privacy->lock);
	rc = find_open(privacy, ids, count, arena, erasure);
	if (rc == ERR_NOT_FOUND) {
		*erasure = (struct erasure){.is_whole = request->is_whole,
					    .requested_us = clock_wall_us(),
					    .fragments = ids,
					    .fragment_count = count,
					    .actor = request->actor,
					    .reason = request->reason};
		make_receipt(erasure->receipt, erasure->requested_us);
		rc = ask(privacy, erasure);
		if (!rc) wake(privacy);
	}
	(void)pthread_mutex_unlock(&privacy->lock);
	return rc;
}

int privacy_get(struct privacy *privacy, struct str receipt, struct arena *arena, struct erasure *out)
{
	uint8_t id[RECEIPT_SIZE];
	if (hex_decode(receipt, id, sizeof id) != OK) return ERR_NOT_FOUND;
	return erasure_list_get(privacy->list, id, arena, out);
}

/* ── the thread ──────────────────────────────────────────────────────────── */

struct work {
	struct privacy *privacy;
	struct arena arena;
	struct erasure *items;
	size_t count;
	uint64_t through;
};

static int wait_for_fold(struct privacy *privacy, uint64_t seq, int64_t until_us)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};
	while (people_applied(privacy->people) <= seq) {
		if (atomic_load(&privacy->stop)) return ERR_CLOSED;
		if (until_us && clock_mono_us() > until_us) return ERR_TIMEOUT;
		(void)nanosleep(&pause, NULL);
	}
	return OK;
}

/* Every erasure that is not done, oldest first as far as they fit. */
static int collect(struct work *work)
{
	struct privacy *privacy = work->privacy;
	const uint8_t *below = NULL;
	size_t count;
	int64_t open = 0;
	arena_reset(&work->arena);
	work->count = 0;
	work->items = arena_array(&work->arena, struct erasure, BATCH_MAX);
	if (!work->items) return ERR_NOMEM;
	for (;;) {
		struct erasure *page;
		int rc = erasure_list_read(privacy->list, below, LIST_PAGE, &work->arena, &page, &count);
		if (rc) return rc;
		for (size_t i = 0; i < count; i++) {
			if (page[i].state == ERASURE_DONE || !page[i].seq) continue;
			open++;
			if (work->count < BATCH_MAX) work->items[work->count++] = page[i];
		}
		if (count < LIST_PAGE) break;
		below = page[count - 1].receipt;
	}
	metric_set(privacy->open, open);
	return OK;
}

static int put_all(struct work *work)
{
	return erasure_list_put_all(work->privacy->list, work->items, work->count);
}

static int fold_all(struct work *work)
{
	int rc = OK;
	for (size_t i = 0; i < work->count && !rc; i++) {
		struct erasure *erasure = &work->items[i];
		rc = wait_for_fold(work->privacy, erasure->seq, 0);
		if (erasure->seq >= work->through) work->through = erasure->seq + 1;
		if (!erasure->folded_us) erasure->folded_us = clock_wall_us();
		erasure->state = ERASURE_REWRITING;
		erasure->events = 0; /* counted again when it was cut off: husks are not */
	}
	return rc ? rc : put_all(work);
}

static void on_progress(void *ctx, const struct sweep *sweep)
{
	struct work *work = ctx;
	for (size_t i = 0; i < work->count; i++) {
		work->items[i].segments = sweep->segments;
		work->items[i].segments_rewritten = sweep->segments_rewritten;
		work->items[i].segments_total = sweep->segments_total;
		work->items[i].rejects = sweep->rejects;
	}
	if (put_all(work)) log_warn(LOG_PRIVACY, "the progress of an erasure could not be noted");
}

static int sweep_letters(struct privacy *privacy)
{
	uint64_t count = 0;
	if (!privacy->erase_letters) return OK;
	int rc = privacy->erase_letters(privacy->letters_ctx, &privacy->stop, &count);
	metric_add(privacy->letters, count);
	return rc;
}

static int sweep(struct work *work)
{
	struct privacy *privacy = work->privacy;
	struct sweep sweep = {.journal = privacy->journal,
			      .people = privacy->people,
			      .fold = privacy->fold,
			      .stop = &privacy->stop,
			      .erasures = work->items,
			      .erasure_count = work->count,
			      .on_progress = on_progress,
			      .ctx = work};
	int64_t start = clock_mono_us();
	int rc = sweep_run(&sweep, work->through);
	metric_add(privacy->events, sweep.events);
	metric_add(privacy->rejects, sweep.rejects);
	metric_add(privacy->rewritten, sweep.segments_rewritten);
	if (!rc) rc = sweep_letters(privacy);
	if (rc) return rc;
	metric_add(privacy->compactions, 1);
	privacy->swept = work->through;
	for (size_t i = 0; i < work->count; i++) work->items[i].changes = sweep.changes;
	log_info(LOG_PRIVACY,
		 "%zu erasures done: %" PRIu64 " events taken out of %" PRIu64 " of %" PRIu64 " segments in %" PRId64
		 " ms",
		 work->count, sweep.events, sweep.segments_rewritten, sweep.segments_total,
		 (clock_mono_us() - start) / US_PER_MS);
	return OK;
}

static int finish(struct work *work)
{
	for (size_t i = 0; i < work->count; i++) {
		work->items[i].state = ERASURE_DONE;
		work->items[i].done_us = clock_wall_us();
	}
	int rc = put_all(work);
	if (!rc) metric_set(work->privacy->open, 0);
	return rc;
}

static int note_late(void *ctx, const struct fragment_id *id, const struct erased_row *row)
{
	uint64_t *latest = ctx;
	(void)id;
	if (row->late_seq > *latest) *latest = row->late_seq;
	return 0;
}

/* Blocked events that came after their person was swept: as soon as their segment is sealed by itself. */
static int look_for_late(struct work *work)
{
	struct privacy *privacy = work->privacy;
	struct people_reader *reader;
	uint64_t applied, latest = 0, first, end;
	int rc = people_reader_new(privacy->people, &reader);
	if (rc) return rc;
	rc = people_read_begin(reader, &applied);
	if (!rc) rc = people_each_erased(reader, note_late, &latest);
	if (!rc) people_read_end(reader);
	people_reader_free(reader);
	if (rc || latest < privacy->swept || latest == 0) return rc;
	if (journal_segment(privacy->journal, latest, &first, &end) != OK || end == UINT64_MAX) return OK;
	work->through = end;
	rc = wait_for_fold(privacy, end - 1, 0);
	return rc ? rc : sweep(work);
}

static int work_once(struct work *work, bool is_time_for_late)
{
	int rc = collect(work);
	work->through = 0;
	if (!rc && work->count == 0) return is_time_for_late ? look_for_late(work) : OK;
	if (!rc) rc = fold_all(work);
	if (!rc) rc = sweep(work);
	return rc ? rc : finish(work);
}

/* Events of types that are kept for a shorter time. Told of a change of the rules, it looks at once. */
static int expire(struct privacy *privacy, int64_t *next)
{
	int64_t now = clock_mono_us(), interval = expiry_interval_us(privacy->expiry);
	bool is_new = atomic_exchange(&privacy->has_new_rules, false);
	int rc = is_new || now >= *next ? expiry_run(privacy->expiry, clock_wall_us()) : OK;
	if (is_new || now >= *next) *next = interval == INT64_MAX ? INT64_MAX : clock_mono_us() + interval;
	return rc;
}

int privacy_set_config(struct privacy *privacy, const struct config *config)
{
	int rc = expiry_set_rules(privacy->expiry, config->event_retention, config->event_retention_count);
	if (rc) return rc;
	atomic_store(&privacy->has_new_rules, true);
	(void)pthread_mutex_lock(&privacy->lock);
	wake(privacy);
	(void)pthread_mutex_unlock(&privacy->lock);
	return OK;
}

/* True: there is something to do; false: time has passed. */
static bool wait_for_work(struct privacy *privacy, int64_t until_us)
{
	const struct timespec until = {until_us / US_PER_SECOND, until_us % US_PER_SECOND * 1000};
	(void)pthread_mutex_lock(&privacy->lock);
	while (!privacy->has_work && !atomic_load(&privacy->stop))
		if (pthread_cond_timedwait(&privacy->asked, &privacy->lock, &until) == ETIMEDOUT) break;
	bool has_work = privacy->has_work;
	privacy->has_work = false;
	(void)pthread_mutex_unlock(&privacy->lock);
	return has_work;
}

static bool is_fatal(int rc)
{
	return rc == ERR_PANIC; /* a damaged segment is no reason to end: the rest goes on */
}

static void *run(void *arg)
{
	struct privacy *privacy = arg;
	struct work work = {.privacy = privacy};
	int64_t late_at = clock_mono_us(), expire_at = late_at;
	int rc = OK;
	arena_init(&work.arena, ARENA_BLOCK, 0);
	while (!atomic_load(&privacy->stop)) {
		bool is_late = clock_mono_us() >= late_at;
		rc = work_once(&work, is_late);
		if (is_late) late_at = clock_mono_us() + LATE_US;
		if (!rc) rc = expire(privacy, &expire_at);
		if (is_fatal(rc)) break;
		if (rc && rc != ERR_CLOSED)
			log_warn(LOG_PRIVACY, "erasing could not go on and is tried again in a while (%s)",
				 status_str(rc));
		int64_t next = rc ? clock_mono_us() + RETRY_US : late_at < expire_at ? late_at : expire_at;
		(void)wait_for_work(privacy, next);
	}
	if (is_fatal(rc)) {
		log_error(LOG_PRIVACY, "erasing has stopped (%s)", status_str(rc));
		if (privacy->on_fatal) privacy->on_fatal(privacy->ctx, rc);
	}
	arena_fini(&work.arena);
	return NULL;
}

/* ── after a restore ─────────────────────────────────────────────────────── */

/* Does the journal hold the record of this erasure? */
static bool is_in_journal(struct privacy *privacy, const struct erasure *erasure, struct arena *arena)
{
	struct record record;
	struct people_erasure act;
	if (!erasure->seq || erasure->epoch != journal_epoch(privacy->journal)) return false;
	int rc = journal_get(privacy->journal, erasure->seq, arena, &record);
	if (rc == ERR_GONE) return true; /* trimmed, so it was folded */
	if (rc || record.kind != RECORD_ERASURE) return false;
	return erasure_decode(record.payload, arena, &act) == OK &&
	       memcmp(act.receipt, erasure->receipt, sizeof act.receipt) == 0;
}

static int repeat(struct privacy *privacy, struct erasure *erasure)
{
	if (!erasure->before_us) erasure->before_us = erasure->requested_us;
	erasure->repeats++;
	erasure->state = ERASURE_FOLDING;
	erasure->folded_us = erasure->done_us = 0;
	int rc = append(privacy, erasure);
	return rc ? rc : erasure_list_put(privacy->list, erasure);
}

static int repeat_missing(struct privacy *privacy, struct arena *arena, size_t *count, uint64_t *last)
{
	uint8_t below[RECEIPT_SIZE];
	struct erasure *page;
	size_t listed;
	bool is_first = true;
	do {
		arena_reset(arena);
		int rc = erasure_list_read(privacy->list, is_first ? NULL : below, LIST_PAGE, arena, &page, &listed);
		for (size_t i = 0; i < listed && !rc; i++) {
			if (is_in_journal(privacy, &page[i], arena)) continue;
			rc = repeat(privacy, &page[i]);
			++*count;
			*last = page[i].seq;
		}
		if (rc) return rc;
		if (listed) memcpy(below, page[listed - 1].receipt, sizeof below);
		is_first = false;
	} while (listed == LIST_PAGE);
	return OK;
}

static int catch_up(struct privacy *privacy)
{
	struct arena arena;
	size_t count = 0;
	uint64_t last = 0;
	arena_init(&arena, ARENA_BLOCK, 0);
	int rc = repeat_missing(privacy, &arena, &count, &last);
	arena_fini(&arena);
	if (rc || !count) return rc;
	log_warn(LOG_PRIVACY, "%zu erasures are not in the journal (an older copy was put back) and are made again",
		 count);
	rc = wait_for_fold(privacy, last, clock_mono_us() + START_WAIT_US);
	if (rc == ERR_TIMEOUT) log_warn(LOG_PRIVACY, "they are not folded yet, and until then people may be seen");
	return rc == ERR_TIMEOUT ? OK : rc;
}

int privacy_start(struct privacy *privacy)
{
	sigset_t all, before;
	CHECK(!privacy->is_started);
	int rc = catch_up(privacy);
	if (rc) return rc;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
	int failure = pthread_create(&privacy->thread, NULL, run, privacy);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failure) return ERR_NOMEM;
	(void)pthread_setname_np(privacy->thread, "cdpd-privacy");
	privacy->is_started = true;
	return OK;
}

void privacy_stop(struct privacy *privacy)
{
	if (!privacy->is_started) return;
	(void)pthread_mutex_lock(&privacy->lock);
	atomic_store(&privacy->stop, true);
	(void)pthread_cond_broadcast(&privacy->asked);
	(void)pthread_mutex_unlock(&privacy->lock);
	(void)pthread_join(privacy->thread, NULL);
	privacy->is_started = false;
}

/* ── dry run ─────────────────────────────────────────────────────────────── */

#define WALK_MAX    50000 /* events of the person looked at */
#define WALK_STEP   500
#define CHANGES_MAX 200000
#define CHANGE_STEP 1000

static bool is_of(const struct fragment_id *ids, size_t count, const uint8_t id[16])
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(ids[i].bytes, id, 16) == 0) return true;
	return false;
}

static int count_segments(struct privacy *privacy, struct people_reader *reader, const struct fragment_id *ids,
			  size_t count, struct erasure_preview *out)
{
	struct arena arena;
	uint64_t below = 0, last_first = 0, applied, first, end;
	size_t walked = 0, items_count = WALK_STEP;
	int rc = OK;
	arena_init(&arena, ARENA_BLOCK, 0);
	while (!rc && items_count == WALK_STEP && walked < WALK_MAX) {
		struct chain_item *items;
		arena_reset(&arena);
		rc = people_read_begin(reader, &applied);
		if (rc) break;
		rc = people_chain(reader, &out->profile, below, WALK_STEP, &arena, &items, &items_count);
		people_read_end(reader);
		for (size_t i = 0; i < items_count && !rc; i++, walked++) {
			below = items[i].seq;
			if (!is_of(ids, count, items[i].outcome.fragment)) continue;
			if (journal_segment(privacy->journal, below, &first, &end) != OK || first == last_first)
				continue;
			last_first = first;
			out->segments++;
		}
	}
	if (walked >= WALK_MAX) out->is_cut = true;
	arena_fini(&arena);
	return rc;
}

static int count_changes(struct people_reader *reader, const struct fragment_id *ids, size_t count,
			 struct erasure_preview *out)
{
	struct arena arena;
	uint64_t after = 0, applied;
	size_t walked = 0, listed = CHANGE_STEP;
	int rc = OK;
	arena_init(&arena, ARENA_BLOCK, 0);
	while (!rc && listed == CHANGE_STEP && walked < CHANGES_MAX) {
		struct change *changes;
		arena_reset(&arena);
		rc = people_read_begin(reader, &applied);
		if (rc) break;
		if (!after) after = people_changes_floor(reader);
		rc = people_changes(reader, after, CHANGE_STEP, &arena, &changes, &listed);
		people_read_end(reader);
		if (rc == ERR_GONE)
			rc = OK, after = 0, listed = CHANGE_STEP;
		else if (!rc && listed) {
			for (size_t i = 0; i < listed; i++) out->changes += is_of(ids, count, changes[i].profile);
			after = changes[listed - 1].seq;
		}
		walked += CHANGE_STEP;
	}
	if (walked >= CHANGES_MAX) out->is_cut = true;
	arena_fini(&arena);
	return rc;
}

static int count_links(struct people_reader *reader, struct arena *arena, struct erasure_preview *out)
{
	struct link_row *rows;
	size_t count = 0;
	uint64_t applied;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	rc = people_links(reader, &out->profile, arena, &rows, &count);
	people_read_end(reader);
	out->links = count;
	return rc;
}

int privacy_preview(struct privacy *privacy, struct people_reader *reader, struct str ref, bool is_whole,
		    struct arena *arena, struct erasure_preview *out)
{
	struct fragment_id *ids;
	size_t count;
	*out = (struct erasure_preview){.fragments = 0};
	int rc = read_fragments(reader, ref, is_whole, arena, &out->profile, &ids, &count);
	if (rc) return rc;
	out->fragments = count;
	out->remaining = out->profile.identifier_count - count;
	for (size_t i = 0; i < out->profile.identifier_count; i++)
		if (is_of(ids, count, out->profile.identifiers[i].fragment.bytes))
			out->events += out->profile.identifiers[i].event_count;
	rc = count_links(reader, arena, out);
	if (!rc) rc = count_segments(privacy, reader, ids, count, out);
	return rc ? rc : count_changes(reader, ids, count, out);
}
