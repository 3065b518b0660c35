#include "profile/backfill_state.h"

#include "base/clock.h"
#include "profile/awaits.h"
#include "profile/block.h"
#include "profile/feature_eval.h"
#include "profile/outcome_row.h"
#include "profile/segments.h"

/* So many positions in a second of logical time: a quarter of what a fold does, so that it keeps its pace. Records of one moment
 * share what the time before them brought. */
#define PACE_US  100 /* of time for each */
#define PACE_MAX 10000

static const struct backfill_state *state_of(const struct people *people)
{
	const struct backfill *backfill = people->backfill;
	return people->txn ? &backfill->working : &backfill->committed;
}

uint64_t people_backfill_next(const struct people *people)
{
	const struct backfill_state *state = state_of(people);
	uint64_t next = BACKFILL_NONE;
	for (size_t i = 0; i < state->count; i++) {
		const struct backfill_feature *item = &state->items[i];
		if (item->next < item->to && item->next < next) next = item->next;
	}
	return next;
}

bool people_backfill_is_ripe(const struct people *people)
{
	const struct backfill_state *state = state_of(people);
	for (size_t i = 0; i < state->count; i++)
		if (!state->items[i].is_done && state->items[i].next >= state->items[i].to) return true;
	return false;
}

int people_backfill_finish(struct people *people, uint64_t seq)
{
	CHECK(people->txn && people->cache.dirty.count == 0);
	if (backfill_let_go(people)) segments_rescan(people, seq);
	return OK;
}

size_t people_backfill_grant(struct people *people, uint64_t seq, int64_t before, int64_t t)
{
	struct backfill_state *state = &people->backfill->working;
	CHECK(people->txn);
	if (state->granted != seq) {
		int64_t due = t > before ? t / PACE_US - before / PACE_US : 0;
		state->granted = seq;
		state->left = due < PACE_MAX ? (uint64_t)due : PACE_MAX;
		people->backfill->is_changed = true;
	}
	return (size_t)state->left;
}

/* ── one position ────────────────────────────────────────────────────────── */

static void pick_at(const struct people *people, uint64_t at, struct feature_pick *pick)
{
	const struct plan *plan = people->plan;
	memset(pick, 0, sizeof *pick);
	for (size_t i = 0; i < plan->feature_count; i++) {
		const struct backfill_feature *item = backfill_find(&people->backfill->working, plan->features[i].key);
		if (item && item->next == at && at < item->to) pick->words[i / 64] |= UINT64_C(1) << i % 64;
	}
}

/* The fragment of a lone, living, applied event; ERR_NOT_FOUND. */
static int fragment_of(struct people *people, uint64_t at, struct outcome *outcome, struct fragment_id *out)
{
	struct erased_row erased;
	int rc = outcome_get(people->txn, people->tables.outcomes, at, outcome);
	if (rc) return rc;
	if (outcome->verdict != OUTCOME_APPLIED) return ERR_NOT_FOUND;
	memcpy(out->bytes, outcome->fragment, sizeof out->bytes);
	if (!people->has_erased) return OK;
	/* Somebody of the same identifier may have come since. */
	rc = erased_get(people->txn, people->tables.erased, out, &erased);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	return at < erased.seq ? ERR_NOT_FOUND : OK;
}

int people_backfill_wants(struct people *people, uint64_t at, struct outcome *outcome, bool *wants)
{
	struct fragment_id id;
	CHECK(people->txn);
	int rc = fragment_of(people, at, outcome, &id);
	*wants = rc == OK;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

struct pastime {
	struct slot *slot, *head;
	struct row *rows[2];
	size_t row_count;
};

static int open_rows(struct people *people, const struct fragment_id *id, struct pastime *out)
{
	struct cache *cache = &people->cache;
	int rc = cache_slot(cache, id, &out->slot);
	if (!rc) rc = cache_row(cache, out->slot, false, &out->rows[0]);
	if (rc) return rc;
	const struct row *row = out->rows[0];
	out->row_count = 1;
	out->head = out->slot;
	if (fragment_id_eq(&row->profile, &row->id) && !row->has_merged) return OK;
	rc = cache_slot(cache, &row->profile, &out->head);
	if (!rc) rc = cache_row(cache, out->head, true, &out->rows[1]);
	out->row_count = 2;
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int add_to_rows(struct people *people, const struct feature_pick *pick, struct pastime *past, uint64_t seq,
		       int64_t t)
{
	struct cache *cache = &people->cache;
	struct feature_tally tally = {0};
	for (size_t i = 0; i < past->row_count; i++) features_drop_unknown(people->plan, past->rows[i]);
	int rc = features_apply_picked(people->plan, pick, &people->view, past->rows, past->row_count, &cache->arena,
				       &tally);
	if (tally.refused) metric_add(people->refused_inputs, tally.refused);
	if (tally.grown) cache_grow(cache, tally.grown);
	if (!rc) rc = cache_dirty(cache, past->slot, false);
	if (!rc && past->row_count == 2) rc = cache_dirty(cache, past->head, true);
	return rc ? rc : cache_view(cache, past->head, seq, t);
}

/* What still waits for an answer is counted when that comes, not now. */
static int leave_to_answers(struct people *people, uint64_t at, struct feature_pick *pick)
{
	const struct plan *plan = people->plan;
	int rc = OK;
	for (size_t i = 0; i < plan->feature_count && !rc; i++) {
		bool is_deferred = false;
		uint64_t bit = UINT64_C(1) << i % 64;
		if (!(pick->words[i / 64] & bit) || !plan->features[i].awaits) continue;
		rc = people_await_defer(people, at, &plan->features[i], &is_deferred);
		if (is_deferred) pick->words[i / 64] &= ~bit;
	}
	return rc;
}

static int add_event(struct people *people, uint64_t at, const struct cdpd_event *event, uint64_t seq, int64_t t)
{
	struct feature_pick pick;
	struct fragment_id id;
	struct outcome outcome;
	struct pastime past;
	bool wants;
	pick_at(people, at, &pick);
	int rc = leave_to_answers(people, at, &pick);
	if (rc) return rc;
	event_view_set(&people->view, event);
	rc = features_want(people->plan, &pick, &people->view, &wants);
	if (rc || !wants) return rc;
	rc = fragment_of(people, at, &outcome, &id);
	if (!rc) rc = open_rows(people, &id, &past);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	return add_to_rows(people, &pick, &past, seq, t);
}

int people_backfill_count(struct people *people, uint64_t at, int64_t at_t, const struct cdpd_event *event,
			  uint64_t seq, int64_t t)
{
	struct backfill_state *state = &people->backfill->working;
	CHECK(people->txn && people->plan);
	int rc = event ? add_event(people, at, event, seq, t) : OK;
	if (rc) return rc;
	for (size_t i = 0; i < state->count; i++) {
		struct backfill_feature *item = &state->items[i];
		if (item->next != at || at >= item->to) continue;
		if (item->from == at) item->from_t = at_t;
		item->next++;
	}
	if (state->left) state->left--;
	people->backfill->is_changed = true;
	metric_add(people->backfill->events, event != NULL);
	return OK;
}

void people_backfill_skip(struct people *people, uint64_t first)
{
	struct backfill_state *state = &people->backfill->working;
	for (size_t i = 0; i < state->count; i++) {
		struct backfill_feature *item = &state->items[i];
		if (item->next >= item->to || item->next >= first) continue;
		item->next = item->from = first < item->to ? first : item->to;
		item->from_t = INT64_MIN;
	}
	people->backfill->is_changed = true;
}
