#include "privacy/sweep.h"

#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/metric.h"
#include "event/resolution.h"
#include "journal/rewrite.h"
#include "privacy/names.h"

#define BATCH_RECORDS  2048
#define BATCH_BYTES    ((size_t)1 << 20)
#define ARENA_BLOCK    ((size_t)256 << 10)
#define OUTCOMES_SLICE 2000
#define CHANGES_SLICE  20000
#define PAUSE_NS       10000000

struct seqs {
	uint64_t *items;
	size_t count, room;
};

/* What is to be done to one segment. */
struct plan_of_segment {
	struct seqs records;  /* to be replaced */
	struct seqs outcomes; /* to be `erased` */
	struct seqs rejects;  /* ids of rows that go */
};

struct sweeping {
	struct sweep *sweep;
	struct people_reader *reader;
	struct erasure_view *view;
	struct journal_batch batch;
	struct arena arena;
	struct plan_of_segment plan;
	size_t record_at, reject_at; /* how far the rewriting is in the plan */
	int status;
};

static int push(struct seqs *seqs, uint64_t seq)
{
	if (seqs->count == seqs->room) {
		size_t room = seqs->room ? 2 * seqs->room : 1024;
		uint64_t *items = realloc(seqs->items, room * sizeof *items);
		if (!items) return ERR_NOMEM;
		seqs->items = items;
		seqs->room = room;
	}
	seqs->items[seqs->count++] = seq;
	return OK;
}

/* ── judging ─────────────────────────────────────────────────────────────── */

struct judgement {
	bool is_replaced, is_outcome;
	struct str payload; /* in the arena */
	uint16_t flags;
	struct erased_row row;
	bool has_row;
};

static int judge_event(struct sweeping *s, const struct record *record, const struct outcome *outcome,
		       struct judgement *out)
{
	struct erased_event husk;
	int rc = erasure_judge_event(s->reader, s->view, record->seq, record->payload, outcome, &s->arena,
				     &out->is_replaced, &out->row, &husk);
	if (rc || !out->is_replaced) return rc;
	out->has_row = out->is_outcome = true;
	out->flags = RECORD_FLAG_ERASED;
	return erased_event_encode(&husk, &s->arena, &out->payload);
}

/* Rewritten before; its outcome may not be, if that was cut off. */
static int judge_husk(struct sweeping *s, const struct record *record, const struct outcome *outcome,
		      struct judgement *out)
{
	struct erased_event husk;
	struct fragment_id fragment;
	struct erased_row row;
	out->is_outcome = outcome && outcome->verdict != OUTCOME_ERASED;
	out->flags = RECORD_FLAG_ERASED;
	int rc = erased_event_decode(record->payload, &s->arena, &husk);
	if (!rc && husk.is_expired && out->is_outcome) {
		/* Its person may be there still: then it was applied, and stays so. */
		memcpy(fragment.bytes, outcome->fragment, sizeof fragment.bytes);
		rc = people_erased(s->reader, &fragment, &row);
		out->is_outcome = !rc && outcome->verdict == OUTCOME_APPLIED && record->seq < row.seq;
		if (rc == ERR_NOT_FOUND) rc = OK;
	}
	if (!rc) rc = erasure_judge_husk(s->reader, record->seq, &s->arena, &out->is_replaced, &husk);
	return rc || !out->is_replaced ? rc : erased_event_encode(&husk, &s->arena, &out->payload);
}

/* What an enricher answered about an erased event goes with it. By the event's outcome; when that is not known any more, by its own. */
static int judge_resolution(struct sweeping *s, const struct record *record, struct judgement *out)
{
	struct resolution resolution;
	struct outcome outcome;
	struct fragment_id id;
	struct erased_row row;
	int rc = resolution_decode(record->payload, &s->arena, &resolution);
	if (rc || (resolution.patch.len == 0 && resolution.reason.len == 0)) return rc == ERR_CORRUPT ? OK : rc;
	rc = people_get_outcome(s->reader, resolution.event_seq, &outcome);
	if (rc == ERR_NOT_FOUND) rc = people_get_outcome(s->reader, record->seq, &outcome);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	out->is_replaced = outcome.verdict == OUTCOME_ERASED;
	memcpy(id.bytes, outcome.fragment, sizeof id.bytes);
	rc = out->is_replaced ? ERR_NOT_FOUND : people_erased(s->reader, &id, &row);
	if (rc == OK) out->is_replaced = resolution.event_seq < row.seq;
	if (rc && rc != ERR_NOT_FOUND) return rc;
	if (!out->is_replaced) return OK;
	const struct resolution blank = {.event_seq = resolution.event_seq,
					 .enricher = resolution.enricher,
					 .is_given_up = true,
					 .patch = STR_NONE,
					 .reason = STR_NONE};
	return resolution_encode(&blank, &s->arena, &out->payload);
}

/* The reader is open. */
static int judge(struct sweeping *s, const struct record *record, struct judgement *out)
{
	struct outcome outcome;
	*out = (struct judgement){.payload = STR_NONE};
	if (record->kind == RECORD_MERGE || record->kind == RECORD_UNMERGE)
		return names_hash(s->reader, record, &s->arena, &out->is_replaced, &out->payload);
	if (record->kind == RECORD_RESOLUTION) return judge_resolution(s, record, out);
	if (record->kind != RECORD_EVENT && record->kind != RECORD_ERASED_EVENT) return OK;
	int rc = people_get_outcome(s->reader, record->seq, &outcome);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	const struct outcome *known = rc ? NULL : &outcome;
	return record->kind == RECORD_EVENT ? judge_event(s, record, known, out) : judge_husk(s, record, known, out);
}

static void count_event(struct sweep *sweep, const struct judgement *judgement)
{
	sweep->events++;
	for (size_t i = 0; i < sweep->erasure_count; i++)
		if (memcmp(sweep->erasures[i].receipt, judgement->row.receipt, RECEIPT_SIZE) == 0)
			sweep->erasures[i].events++;
}

/* ── planning a segment ──────────────────────────────────────────────────── */

static int plan_record(struct sweeping *s, const struct record *record)
{
	struct judgement judgement;
	int rc = judge(s, record, &judgement);
	if (!rc && judgement.is_replaced) rc = push(&s->plan.records, record->seq);
	if (!rc && judgement.is_outcome) rc = push(&s->plan.outcomes, record->seq);
	if (!rc && judgement.has_row) count_event(s->sweep, &judgement);
	return rc;
}

static int plan_batch(struct sweeping *s, uint64_t end)
{
	uint64_t applied;
	arena_reset(&s->arena);
	int rc = people_read_begin(s->reader, &applied);
	if (rc) return rc;
	for (size_t i = 0; i < s->batch.count && !rc && s->batch.records[i].seq < end; i++)
		rc = plan_record(s, &s->batch.records[i]);
	people_read_end(s->reader);
	return rc;
}

static int plan_reject(void *ctx, const struct journal_reject_row *row)
{
	struct sweeping *s = ctx;
	uint64_t applied;
	bool is_hit = false;
	arena_reset(&s->arena);
	s->status = people_read_begin(s->reader, &applied);
	if (s->status) return 1;
	s->status = erasure_names(s->reader, row->reject.excerpt, &s->arena, &is_hit);
	if (!s->status && !is_hit) s->status = erasure_names(s->reader, row->reject.detail, &s->arena, &is_hit);
	people_read_end(s->reader);
	if (!s->status && is_hit) s->status = push(&s->plan.rejects, row->id);
	return s->status != OK;
}

static int plan_segment(struct sweeping *s, uint64_t first, uint64_t end)
{
	int rc = OK;
	s->plan.records.count = s->plan.outcomes.count = s->plan.rejects.count = 0;
	for (uint64_t seq = first; seq < end && !rc;) {
		if (atomic_load(s->sweep->stop)) return ERR_CLOSED;
		rc = journal_read(s->sweep->journal, seq, BATCH_RECORDS, BATCH_BYTES, &s->batch);
		if (!rc) rc = plan_batch(s, end);
		if (!rc) seq = s->batch.records[s->batch.count - 1].seq + 1;
	}
	if (rc) return rc;
	s->status = OK;
	rc = journal_segment_rejects(s->sweep->journal, first, plan_reject, s);
	return rc ? rc : s->status;
}

/* ── carrying it out ─────────────────────────────────────────────────────── */

static int replace(void *ctx, const struct record *record, struct journal_replacement *out)
{
	struct sweeping *s = ctx;
	struct judgement judgement;
	uint64_t applied;
	if (s->record_at == s->plan.records.count || s->plan.records.items[s->record_at] != record->seq) return OK;
	s->record_at++;
	arena_reset(&s->arena);
	int rc = people_read_begin(s->reader, &applied);
	if (rc) return rc;
	rc = judge(s, record, &judgement);
	people_read_end(s->reader);
	if (rc) return rc;
	*out = (struct journal_replacement){judgement.is_replaced, judgement.flags, judgement.payload};
	return OK;
}

/* The plan has ids newest first, the segment is walked from its oldest. */
static int drop_reject(void *ctx, const struct journal_reject_row *row, bool *goes)
{
	struct sweeping *s = ctx;
	size_t count = s->plan.rejects.count;
	*goes = s->reject_at < count && s->plan.rejects.items[count - 1 - s->reject_at] == row->id;
	if (*goes) s->reject_at++;
	return OK;
}

struct outcome_slice {
	const uint64_t *seqs;
	size_t count;
};

static int erase_outcomes(void *ctx, struct people *people)
{
	const struct outcome_slice *slice = ctx;
	return people_outcomes_erase(people, slice->seqs, slice->count);
}

static int settle_outcomes(struct sweeping *s)
{
	const struct seqs *seqs = &s->plan.outcomes;
	int rc = OK;
	for (size_t i = 0; i < seqs->count && !rc; i += OUTCOMES_SLICE) {
		size_t left = seqs->count - i;
		struct outcome_slice slice = {seqs->items + i, left < OUTCOMES_SLICE ? left : OUTCOMES_SLICE};
		rc = fold_run(s->sweep->fold, erase_outcomes, &slice, false);
	}
	return rc;
}

static int sweep_segment(struct sweeping *s, uint64_t first, uint64_t end)
{
	const struct journal_rewriter rewriter = {
	    .record = replace, .reject = drop_reject, .ctx = s, .stop = s->sweep->stop};
	int rc = plan_segment(s, first, end);
	if (!rc && (s->plan.records.count || s->plan.rejects.count)) {
		s->record_at = s->reject_at = 0;
		rc = journal_rewrite(s->sweep->journal, first, &rewriter);
		if (!rc) s->sweep->segments_rewritten++;
		if (!rc) s->sweep->rejects += s->plan.rejects.count;
	}
	if (!rc) rc = settle_outcomes(s);
	return rc == ERR_GONE ? OK : rc; /* retention was faster */
}

/* ── the whole way ───────────────────────────────────────────────────────── */

static int count_segments(struct sweep *sweep, uint64_t through)
{
	uint64_t first, end, seq = journal_first_seq(sweep->journal);
	for (int rc = OK; seq < through; seq = end) {
		rc = journal_segment(sweep->journal, seq, &first, &end);
		if (rc) return rc == ERR_GONE ? OK : rc;
		sweep->segments_total++;
	}
	return OK;
}

static int sweep_journal(struct sweeping *s, uint64_t through)
{
	struct sweep *sweep = s->sweep;
	uint64_t first, end;
	int rc = count_segments(sweep, through);
	for (uint64_t seq = journal_first_seq(sweep->journal); !rc && seq < through; seq = end) {
		rc = journal_segment(sweep->journal, seq, &first, &end);
		if (rc == ERR_GONE) { /* trimmed meanwhile: go on where it begins now */
			rc = OK;
			end = journal_first_seq(sweep->journal);
			if (end <= seq) return ERR_CORRUPT;
			continue;
		}
		if (!rc) rc = sweep_segment(s, first, end);
		sweep->segments++;
		if (!rc && sweep->on_progress) sweep->on_progress(sweep->ctx, sweep);
	}
	return rc;
}

struct change_slice {
	uint64_t after, next;
	size_t blanked;
	bool is_done;
};

static int blank_changes(void *ctx, struct people *people)
{
	struct change_slice *slice = ctx;
	return people_changes_blank(people, slice->after, CHANGES_SLICE, &slice->next, &slice->blanked,
				    &slice->is_done);
}

static int sweep_changes(struct sweep *sweep)
{
	struct change_slice slice = {.after = 0};
	int rc = OK;
	while (!rc && !slice.is_done) {
		if (atomic_load(sweep->stop)) return ERR_CLOSED;
		rc = fold_run(sweep->fold, blank_changes, &slice, false);
		slice.after = slice.next;
	}
	sweep->changes = slice.blanked;
	return rc;
}

static int compact(void *ctx, struct people *people)
{
	return people_compact(people, ctx);
}

static int wait_for_old_files(const struct sweep *sweep)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	while (!journal_rewritten_are_gone(sweep->journal)) {
		if (atomic_load(sweep->stop)) return ERR_CLOSED;
		(void)nanosleep(&pause, NULL);
	}
	return OK;
}

static int begin(struct sweeping *s)
{
	journal_batch_init(&s->batch);
	arena_init(&s->arena, ARENA_BLOCK, 0);
	int rc = people_reader_new(s->sweep->people, &s->reader);
	return rc ? rc : erasure_view_new(&s->view);
}

static void end(struct sweeping *s)
{
	erasure_view_free(s->view);
	people_reader_free(s->reader);
	journal_batch_fini(&s->batch);
	arena_fini(&s->arena);
	free(s->plan.records.items);
	free(s->plan.outcomes.items);
	free(s->plan.rejects.items);
}

int sweep_run(struct sweep *sweep, uint64_t through)
{
	struct sweeping s = {.sweep = sweep};
	int rc = begin(&s);
	if (!rc && through > journal_first_seq(sweep->journal))
		rc = journal_seal(sweep->journal, through - 1, sweep->stop);
	if (!rc) rc = sweep_journal(&s, through);
	end(&s);
	if (!rc) rc = sweep_changes(sweep);
	if (!rc) rc = fold_run(sweep->fold, compact, (void *)(uintptr_t)sweep->stop, true);
	return rc ? rc : wait_for_old_files(sweep);
}
