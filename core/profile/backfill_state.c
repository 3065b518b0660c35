/* The part of backfill that lives as long as people: the row of `meta`, transactions' beginnings and ends, what is shown. */
#include "profile/backfill_state.h"

#include <stdlib.h>

#include "profile/room.h"
#include "profile/sealed.h"
#include "profile/wire.h"

#define KEY_STATE  STR("backfill")
#define ITEM_SIZE  (5 * sizeof(uint64_t) + 1)
#define STATE_SIZE (SEALED_HEADER + 2 * sizeof(uint64_t) + WIRE_VARINT_MAX + PLAN_FEATURES_MAX * ITEM_SIZE)
enum { FLAG_DONE = 1 };

/* ── the row ─────────────────────────────────────────────────────────────── */

static void read_items(struct wire_in *in, struct backfill_state *out)
{
	out->granted = wire_u64(in);
	out->left = wire_u64(in);
	out->count = wire_count(in, ITEM_SIZE);
	if (out->count > PLAN_FEATURES_MAX) {
		in->is_bad = true;
		out->count = 0;
	}
	for (size_t i = 0; i < out->count; i++) {
		struct backfill_feature *item = &out->items[i];
		item->key = wire_u64(in);
		item->from = wire_u64(in);
		item->from_t = (int64_t)wire_u64(in);
		item->to = wire_u64(in);
		item->next = wire_u64(in);
		item->is_done = wire_u8(in) & FLAG_DONE;
	}
}

int backfill_read(struct store_txn *txn, store_db meta, struct backfill_state *out)
{
	struct str value;
	struct sealed sealed;
	out->granted = out->left = 0;
	out->count = 0;
	int rc = store_get(txn, meta, KEY_STATE, &value);
	if (rc == ERR_NOT_FOUND) return OK;
	if (!rc) rc = sealed_open(KEY_STATE, value, &sealed);
	if (rc) return rc;
	struct wire_in in = wire_in((struct str){value.ptr + SEALED_HEADER, value.len - SEALED_HEADER});
	read_items(&in, out);
	return in.is_bad || in.at != in.end ? ERR_CORRUPT : OK;
}

int backfill_write(struct people *people)
{
	const struct backfill_state *state = &people->backfill->working;
	uint8_t value[STATE_SIZE], *at = value + SEALED_HEADER;
	if (!people->backfill->is_changed) return OK;
	at = wire_put_u64(at, state->granted);
	at = wire_put_u64(at, state->left);
	at = wire_put_varint(at, state->count);
	for (size_t i = 0; i < state->count; i++) {
		const struct backfill_feature *item = &state->items[i];
		at = wire_put_u64(at, item->key);
		at = wire_put_u64(at, item->from);
		at = wire_put_u64(at, (uint64_t)item->from_t);
		at = wire_put_u64(at, item->to);
		at = wire_put_u64(at, item->next);
		*at++ = item->is_done ? FLAG_DONE : 0;
	}
	size_t len = (size_t)(at - value);
	sealed_close(KEY_STATE, (char *)value, len, (struct sealed){0});
	return store_put(people->txn, people->tables.meta, KEY_STATE, (struct str){(const char *)value, len});
}

const struct backfill_feature *backfill_find(const struct backfill_state *state, uint64_t key)
{
	for (size_t i = 0; i < state->count; i++)
		if (state->items[i].key == key) return &state->items[i];
	return NULL;
}

/* ── what waits ──────────────────────────────────────────────────────────── */

/* In the plan's order a segment comes after those it refers to. */
static void wait_with(struct backfill *backfill, const struct segment_plan *segments)
{
	for (size_t i = 0; i < segments->count; i++) {
		if (!(backfill->waiting.words[i / 64] >> i % 64 & 1)) continue;
		backfill->is_waiting = true;
		segment_set_join(&backfill->waiting, &segments->items[i].dependents);
	}
}

static void know_waiting(struct people *people)
{
	struct backfill *backfill = people->backfill;
	const struct plan *plan = people->plan;
	backfill->is_waiting = false;
	memset(&backfill->waiting, 0, sizeof backfill->waiting);
	if (!plan || !plan->segments) return;
	for (size_t i = 0; i < plan->segments->feature_count; i++) {
		const struct backfill_feature *item = backfill_find(&backfill->working, plan->features[i].key);
		if (item && !item->is_done) segment_set_join(&backfill->waiting, &plan->segments->of_feature[i]);
	}
	wait_with(backfill, plan->segments);
}

/* ── life ────────────────────────────────────────────────────────────────── */

int backfill_open(struct people *people)
{
	struct backfill *backfill = calloc(1, sizeof *backfill);
	if (!backfill) return ERR_NOMEM;
	people->backfill = backfill;
	if (people->is_private) return OK;
	backfill->events = metric_get(METRIC_COUNTER, "cdpd_backfill_events_total", NULL,
				      "Events from before a feature's definition that were looked at for it.");
	backfill->percent = metric_get(METRIC_GAUGE, "cdpd_backfill_percent", NULL,
				       "How far new features have counted what was there before them; 100: all.");
	return OK;
}

void backfill_close(struct people *people)
{
	free(people->backfill);
	people->backfill = NULL;
}

static void publish(struct backfill *backfill)
{
	const struct backfill_state *state = &backfill->committed;
	uint64_t next = BACKFILL_NONE, end = 0, all = 0, done = 0;
	uint32_t open = 0;
	for (size_t i = 0; i < state->count; i++) {
		const struct backfill_feature *item = &state->items[i];
		if (item->is_done) continue;
		open++;
		all += item->to - item->from;
		done += item->next - item->from;
		if (item->next < next) next = item->next;
		if (item->to > end) end = item->to;
	}
	uint32_t permille = all ? (uint32_t)((double)done / (double)all * 1000.0) : 1000;
	atomic_store(&backfill->shown_features, open);
	atomic_store(&backfill->shown_next, next);
	atomic_store(&backfill->shown_end, end);
	atomic_store(&backfill->shown_permille, permille);
	metric_set(backfill->percent, permille / 10);
}

int backfill_load(struct people *people, struct store_txn *txn)
{
	struct backfill *backfill = people->backfill;
	int rc = backfill_read(txn, people->tables.meta, &backfill->committed);
	if (rc) return rc;
	backfill->working = backfill->committed;
	know_waiting(people);
	publish(backfill);
	return OK;
}

void backfill_begin(struct people *people)
{
	people->backfill->is_changed = false;
}

void backfill_ended(struct people *people, bool is_committed)
{
	struct backfill *backfill = people->backfill;
	if (!backfill->is_changed) return;
	backfill->is_changed = false;
	if (is_committed)
		backfill->committed = backfill->working;
	else
		backfill->working = backfill->committed;
	know_waiting(people); /* with the plan that holds now */
	publish(backfill);
}

/* ── definitions ─────────────────────────────────────────────────────────── */

static struct backfill_feature begin_feature(uint64_t key, uint64_t seq, int64_t t, uint64_t oldest)
{
	bool has_past = oldest < seq;
	uint64_t from = has_past ? oldest : seq;
	return (struct backfill_feature){.key = key,
					 .from = from,
					 .from_t = has_past ? INT64_MIN : t,
					 .to = seq,
					 .next = from,
					 .is_done = !has_past};
}

void backfill_defined(struct people *people, uint64_t seq, int64_t t, uint64_t oldest)
{
	struct backfill *backfill = people->backfill;
	const struct plan *plan = people->plan;
	struct backfill_state *state = &backfill->working;
	struct backfill_feature items[PLAN_FEATURES_MAX];
	size_t count = 0;
	for (size_t i = 0; i < plan->feature_count; i++) {
		const struct plan_feature *feature = &plan->features[i];
		const struct backfill_feature *known = backfill_find(state, feature->key);
		if (known)
			items[count++] = *known;
		else if (feature->def.since_seq == seq)
			items[count++] = begin_feature(feature->key, seq, t, oldest);
	}
	if (count) memcpy(state->items, items, count * sizeof *items);
	state->count = count;
	backfill->is_changed = true;
	know_waiting(people);
}

bool backfill_let_go(struct people *people)
{
	struct backfill *backfill = people->backfill;
	bool was_waiting = backfill->is_waiting;
	struct segment_set before = backfill->waiting;
	for (size_t i = 0; i < backfill->working.count; i++) {
		struct backfill_feature *item = &backfill->working.items[i];
		if (item->next >= item->to) item->is_done = true;
	}
	backfill->is_changed = true;
	know_waiting(people);
	return was_waiting && memcmp(&before, &backfill->waiting, sizeof before) != 0;
}

void people_backfill_progress(const struct people *people, struct backfill_progress *out)
{
	const struct backfill *backfill = people->backfill;
	*out = (struct backfill_progress){.features = atomic_load(&backfill->shown_features),
					  .next = atomic_load(&backfill->shown_next),
					  .end = atomic_load(&backfill->shown_end),
					  .permille = atomic_load(&backfill->shown_permille)};
}
