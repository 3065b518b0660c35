#include "base/clock.h"
#include "enrich/patched.h"
#include "fold/payload.h"
#include "fold/resolve.h"
#include "profile/awaits.h"
#include "profile/backfill.h"
#include "training/job.h"

#define BATCH_RECORDS 1024
#define BATCH_BYTES   ((size_t)1 << 20)
#define PICKED_MAX    256
/* Of one transaction of the job's own people; small, for it is memory that the daemon has to share. */
#define OPEN_RECORDS ((size_t)20000)
#define OPEN_PAGES   ((size_t)6000)
#define ROOM_FACTOR  2 /* times the journal's own disk_free_min is left free */

/* What the fold said of a record. */
struct verdict {
	struct outcome outcome;
	bool is_applied;
	bool is_unasked;          /* no enricher answered it or will */
	bool is_husk;             /* an erased person's, whom the sweep of the journal has not come to */
	struct erased_event husk; /* in the verdicts' arena */
};

struct replay {
	struct job *job;
	struct journal_batch batch;
	struct arena arena; /* of the batch's verdicts */
	struct verdict *verdicts;
};

/* ── transactions ────────────────────────────────────────────────────────── */

int replay_begin(struct job *job)
{
	bool is_full = job->is_open && (++job->open_records >= OPEN_RECORDS || people_pages(job->own) >= OPEN_PAGES);
	int rc = is_full ? replay_commit(job) : OK;
	if (rc || job->is_open) return rc;
	rc = people_begin(job->own);
	job->is_open = rc == OK;
	job->open_records = 0;
	return rc;
}

int replay_commit(struct job *job)
{
	if (!job->is_open) return OK;
	job->is_open = false;
	return people_commit(job->own, job->own_seq + 1, job->t);
}

/* ── verdicts ────────────────────────────────────────────────────────────── */

static int on_await(void *ctx, const struct await_row *row)
{
	*(uint64_t *)ctx = row->seq;
	return 1;
}

static int look_at_asking(struct job *job, uint64_t seq, struct verdict *verdict)
{
	const struct definitions *definitions = people_definitions(job->own);
	uint64_t waits = 0;
	verdict->is_unasked = false;
	if (!definitions || !definitions->enricher_count || verdict->outcome.resolution_seq) return OK;
	int rc = people_awaits(job->live, seq, 0, 1, on_await, &waits);
	verdict->is_unasked = waits != seq;
	return rc;
}

static int judge(struct replay *replay, const struct record *record, struct verdict *verdict)
{
	struct job *job = replay->job;
	struct erased_row row;
	*verdict = (struct verdict){.is_applied = false};
	if (record->kind != RECORD_EVENT) return OK;
	int rc = people_get_outcome(job->live, record->seq, &verdict->outcome);
	if (rc == ERR_NOT_FOUND) return OK;
	verdict->is_applied = rc == OK && verdict->outcome.verdict == OUTCOME_APPLIED;
	if (!rc && job->has_erased)
		rc = erasure_judge_event(job->live, job->view, record->seq, record->payload, &verdict->outcome,
					 &replay->arena, &verdict->is_husk, &row, &verdict->husk);
	return rc || !verdict->is_applied ? rc : look_at_asking(job, record->seq, verdict);
}

/* All of a batch in one window: people change meanwhile, what was decided on these records does not. */
static int judge_all(struct replay *replay, const struct record *records, size_t count)
{
	struct job *job = replay->job;
	uint64_t applied;
	arena_reset(&replay->arena);
	replay->verdicts = arena_array(&replay->arena, struct verdict, count + 1);
	if (!replay->verdicts) return ERR_NOMEM;
	int rc = people_read_begin(job->live, &applied);
	if (rc) return rc;
	for (size_t i = 0; i < count && !rc; i++) rc = judge(replay, &records[i], &replay->verdicts[i]);
	people_read_end(job->live);
	return rc;
}

/* ── events ──────────────────────────────────────────────────────────────── */

static int note_label(struct job *job, const struct record *record, const struct cdpd_event *event,
		      const struct verdict *verdict)
{
	double value;
	bool hit;
	int rc = event_match_test(job->label, event, &hit, &value);
	if (rc || !hit) return rc;
	int64_t at = event->event_time_us < job->t ? event->event_time_us : job->t;
	return labels_put(&job->labels, verdict->outcome.fragment, at, record->seq, value);
}

static int is_point(struct job *job, const struct cdpd_event *event, bool *hit)
{
	double value;
	*hit = false;
	return job->points ? event_match_test(job->points, event, hit, &value) : OK;
}

/* Of the fold's verdict only what was applied is left: consent, suppression and duplicates are not decided again. */
static int fold_event(struct job *job, struct cdpd_event *event, const struct verdict *verdict)
{
	struct apply_result result;
	event->flags &= ~(uint32_t)EVENT_CONSENT;
	if (verdict->is_unasked) event->flags |= EVENT_UNENRICHED;
	int rc = people_apply(job->own, event, job->own_seq, job->t, &result);
	if (rc) return rc;
	if (result.verdict != OUTCOME_APPLIED || !people_definitions(job->own)->enricher_count) return OK;
	/* Answers look for it. */
	struct outcome outcome = {.verdict = result.verdict, .previous_seq = result.previous_seq};
	memcpy(outcome.fragment, result.fragment.bytes, sizeof outcome.fragment);
	return people_put_outcome(job->own, job->own_seq, &outcome);
}

/* All that was ever answered. */
static int patch(struct job *job, const struct verdict *verdict, struct cdpd_event *event)
{
	uint64_t seqs[ASYNC_ENRICHERS_MAX], applied;
	size_t count;
	if (job->set.clock != TRAINING_EVENT_TIME || !verdict->outcome.resolution_seq) return OK;
	int rc = people_read_begin(job->live, &applied);
	if (rc) return rc;
	rc = people_read_resolutions(job->live, &verdict->outcome, seqs, &count);
	people_read_end(job->live);
	return rc ? rc : event_patch(job->journal, &job->scratch, seqs, count, event);
}

static int take_event(struct job *job, const struct record *record, const struct verdict *verdict)
{
	struct cdpd_event event;
	struct fragment_id fragment;
	bool is_at_point;
	int rc = event_decode(record->payload, &job->scratch, &event);
	if (rc) return rc == ERR_CORRUPT ? OK : rc;
	rc = patch(job, verdict, &event);
	memcpy(fragment.bytes, verdict->outcome.fragment, sizeof fragment.bytes);
	if (!rc) rc = is_point(job, &event, &is_at_point);
	if (!rc && is_at_point && job->set.moment == TRAINING_BEFORE) rc = points_take(job, &fragment, record->seq);
	if (!rc) rc = note_label(job, record, &event, verdict);
	if (!rc) rc = fold_event(job, &event, verdict);
	if (!rc && is_at_point && job->set.moment == TRAINING_AFTER) rc = points_take(job, &fragment, record->seq);
	return rc;
}

/* ── other records ───────────────────────────────────────────────────────── */

static int take_husk(struct job *job, const struct record *record)
{
	struct erased_event husk;
	int rc = erased_event_decode(record->payload, &job->scratch, &husk);
	return rc ? rc : people_apply_erased(job->own, &husk, job->own_seq, job->t);
}

static int take_act(struct job *job, const struct record *record)
{
	struct people_act act;
	int rc = payload_read_act(&job->scratch, record->payload, &act);
	enum people_act_kind kind = record->kind == RECORD_MERGE ? PEOPLE_MERGE : PEOPLE_UNMERGE;
	return rc ? rc : people_act(job->own, kind, &act, job->own_seq, job->t);
}

static int take_erasure(struct job *job, const struct record *record)
{
	struct people_erasure erasure;
	int rc = erasure_decode(record->payload, &job->scratch, &erasure);
	return rc ? rc : people_erase(job->own, &erasure, job->own_seq, job->t);
}

static int take_resolution(struct job *job, const struct record *record)
{
	const struct resolving in = {job->own, job->journal, &job->scratch};
	const struct definitions *definitions = people_definitions(job->own);
	if (!definitions || !definitions->enricher_count) return OK;
	return resolve_apply(&in, record);
}

static int define(struct job *job, struct str text)
{
	if (str_eq(text, people_definitions_text(job->own))) return OK;
	int rc = replay_commit(job);
	if (!rc) rc = replay_begin(job);
	if (rc) return rc;
	return people_define_since(job->own, text, job->own_seq, job->t, job->own_seq);
}

static int take_definition(struct job *job, const struct record *record)
{
	struct str text, made;
	uint64_t oldest;
	if (job->set.clock == TRAINING_EVENT_TIME) return OK;
	int rc = payload_read_definition(&job->scratch, record->payload, &text, &oldest);
	if (!rc) rc = define_make(job, text, &made);
	return rc ? rc : define(job, made);
}

static int take_kind(struct job *job, const struct record *record, const struct verdict *verdict)
{
	switch (record->kind) {
	case RECORD_EVENT:
		if (verdict->is_husk) return people_apply_erased(job->own, &verdict->husk, job->own_seq, job->t);
		return verdict->is_applied ? take_event(job, record, verdict) : OK;
	case RECORD_ERASED_EVENT: return take_husk(job, record);
	case RECORD_MERGE:
	case RECORD_UNMERGE: return take_act(job, record);
	case RECORD_ERASURE: return take_erasure(job, record);
	case RECORD_RESOLUTION: return take_resolution(job, record);
	case RECORD_DEFINITION: return take_definition(job, record);
	case RECORD_SUPPRESSION: /* and who was suppressed is in the verdicts */
	case RECORD_TICK:
	case RECORD_CLOCK:
	case RECORD_QUARANTINE: break;
	}
	return OK;
}

/* `t`: of the time that is meant throughout. */
static int take_record(struct job *job, const struct record *record, const struct verdict *verdict, int64_t t)
{
	if (t < job->t) t = job->t;
	if (!job->t) points_start_grid(job, t);
	int rc = points_advance(job, t, record->seq);
	if (rc) return rc;
	job->t = t;
	/* Answers name events by their positions; in another order there are none. */
	job->own_seq = job->set.clock == TRAINING_ARRIVAL ? record->seq : job->own_seq + 1;
	arena_reset(&job->scratch);
	rc = replay_begin(job);
	if (!rc && !journal_is_quarantined(job->journal, record->seq)) rc = take_kind(job, record, verdict);
	atomic_fetch_add_explicit(&job->done, 1, memory_order_relaxed);
	return rc;
}

/* ── the journal ─────────────────────────────────────────────────────────── */

int replay_may_go_on(const struct job *job)
{
	uint64_t bytes;
	int64_t unasked = clock_mono_us() - atomic_load(&job->asked_at);
	if (atomic_load(&job->should_stop) || unasked > TRAINING_ASK_SECONDS * US_PER_SECOND) return ERR_CLOSED;
	if (journal_refusal(job->journal)) return ERR_FULL;
	int rc = store_free_bytes(job->folder, &bytes);
	return rc || bytes >= ROOM_FACTOR * job->config->journal.disk_free_min ? rc : ERR_FULL;
}

static int take_batch(struct replay *replay)
{
	struct job *job = replay->job;
	int rc = replay_may_go_on(job);
	if (!rc) rc = judge_all(replay, replay->batch.records, replay->batch.count);
	for (size_t i = 0; i < replay->batch.count && !rc; i++) {
		const struct record *record = &replay->batch.records[i];
		if (record->seq >= job->end) break;
		rc = take_record(job, record, &replay->verdicts[i], record->t);
	}
	return rc;
}

static int run_by_arrival(struct replay *replay)
{
	struct job *job = replay->job;
	int rc = OK;
	for (uint64_t seq = job->first; seq < job->end && !rc;) {
		rc = journal_read(job->journal, seq, BATCH_RECORDS, BATCH_BYTES, &replay->batch);
		if (!rc) rc = take_batch(replay);
		if (!rc) seq = replay->batch.records[replay->batch.count - 1].seq + 1;
	}
	return rc;
}

struct picked { /* records that lie anywhere */
	struct record records[PICKED_MAX];
	int64_t times[PICKED_MAX];
	size_t count;
};

/* ERR_NOT_FOUND: there are no more. */
static int pick(struct replay *replay, struct sorter *order, struct picked *picked)
{
	uint64_t seq;
	int rc = OK;
	arena_reset(&replay->batch.arena);
	for (picked->count = 0; picked->count < PICKED_MAX && !rc; picked->count += rc == OK) {
		rc = sorter_next(order, &picked->times[picked->count], &seq);
		if (!rc)
			rc = journal_get(replay->job->journal, seq, &replay->batch.arena,
					 &picked->records[picked->count]);
		else if (rc == ERR_NOT_FOUND && picked->count)
			return OK;
	}
	return rc;
}

static int run_by_event_time(struct replay *replay)
{
	struct picked picked;
	struct sorter *order;
	int rc = order_make(replay->job, &order);
	if (rc) return rc;
	picked.count = 0;
	while (!rc) {
		rc = replay_may_go_on(replay->job);
		if (!rc) rc = pick(replay, order, &picked);
		if (!rc) rc = judge_all(replay, picked.records, picked.count);
		for (size_t i = 0; i < picked.count && !rc; i++)
			rc = take_record(replay->job, &picked.records[i], &replay->verdicts[i], picked.times[i]);
	}
	sorter_free(order);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int define_at_start(struct job *job)
{
	job->own_seq = 1;
	int rc = define(job, job->define_first);
	return rc ? rc : replay_commit(job);
}

int replay_run(struct job *job)
{
	struct replay replay = {.job = job};
	journal_batch_init(&replay.batch);
	arena_init(&replay.arena, (size_t)256 << 10, 0);
	int rc = define_at_start(job);
	if (!rc) rc = seed_links(job);
	if (!rc) rc = job->set.clock == TRAINING_ARRIVAL ? run_by_arrival(&replay) : run_by_event_time(&replay);
	if (!rc) rc = points_finish(job, job->about.until_us, job->end);
	if (!rc) rc = replay_commit(job);
	if (!rc) rc = rows_finish(job->rows);
	journal_batch_fini(&replay.batch);
	arena_fini(&replay.arena);
	return rc;
}
