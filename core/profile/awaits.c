#include "profile/awaits.h"

#include "base/encode.h"
#include "base/hash.h"
#include "profile/block.h"
#include "profile/feature_eval.h"
#include "profile/outcome_row.h"
#include "profile/reader.h"
#include "profile/sealed.h"
#include "profile/segments.h"

#define KEY_SIZE  16
#define HEAD_SIZE (SEALED_HEADER + 8 + 2)
#define NAME_MAX_ 64

/* Not secret: it only has to be the same everywhere and for ever. */
static const struct hash_key await_hash_key = {"cdpd await key.."};

uint64_t await_key(struct str enricher)
{
	return hash64(&await_hash_key, enricher.ptr, enricher.len);
}

/* ── the plan's part ─────────────────────────────────────────────────────── */

static bool is_under(struct str path, struct str root)
{
	return str_starts(path, root) && (path.len == root.len || path.ptr[root.len] == '.');
}

/* Either may be the wider one; "[]" behind a step is a way into it. */
static bool reads(struct str path, const struct async_def *def)
{
	const char *bracket = memchr(path.ptr, '[', path.len);
	if (bracket) path.len = (size_t)(bracket - path.ptr);
	if (path.len == 0) return false;
	for (size_t i = 0; i < def->provide_count; i++)
		if (is_under(path, def->provides[i]) || is_under(def->provides[i], path)) return true;
	return false;
}

static bool feature_reads(const struct feature_def *feature, const struct async_def *def)
{
	if (reads(feature->field, def) || reads(feature->key, def)) return true;
	for (size_t i = 0; i < feature->where_count; i++)
		if (reads(feature->where[i].field, def)) return true;
	return false;
}

int plan_enrichers_make(struct plan *plan)
{
	const struct definitions *definitions = &plan->definitions;
	plan->enricher_count = definitions->enricher_count;
	plan->enrichers = arena_array(&plan->arena, struct plan_enricher, plan->enricher_count + 1);
	if (!plan->enrichers) return ERR_NOMEM;
	for (size_t i = 0; i < plan->enricher_count; i++) {
		const struct async_def *def = &definitions->enrichers[i];
		plan->enrichers[i] = (struct plan_enricher){def, await_key(def->name)};
		for (size_t k = 0; k < plan->feature_count; k++)
			if (feature_reads(&plan->features[k].def, def)) plan->features[k].awaits |= 1u << i;
	}
	return OK;
}

/* ── which events ────────────────────────────────────────────────────────── */

static bool is_of_events(const struct async_def *def, const struct cdpd_event *event)
{
	struct str type = str_from(event_type_name(event->type));
	for (size_t i = 0; i < def->event_count; i++) {
		if (str_eq(def->events[i], type)) return true;
		if (event->type == EVENT_TRACK && str_eq(def->events[i], event->event)) return true;
	}
	return def->event_count == 0;
}

/* Fields that the fold does not look into count as there. */
static int has_field(struct event_view *view, struct str path, bool *out)
{
	struct event_field field;
	struct json value;
	struct str text;
	*out = true;
	if (str_eq(path, STR("ip"))) *out = view->event->ip.len > 0;
	if (str_eq(path, STR("userAgent"))) *out = view->event->user_agent.len > 0;
	if (event_field_parse(path, &field) != OK || field.part == PART_NONE) return OK;
	if (event_view_text(view, field.part, &text)) {
		*out = text.len > 0;
		return OK;
	}
	int rc = event_view_get(view, &field, &value);
	*out = rc == OK && json_type(value) != JSON_NULL;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int has_any_need(const struct async_def *def, struct event_view *view, bool *out)
{
	*out = def->need_count == 0;
	for (size_t i = 0; i < def->need_count && !*out; i++) {
		int rc = has_field(view, def->needs[i], out);
		if (rc) return rc;
	}
	return OK;
}

int awaits_of_event(const struct plan *plan, struct event_view *view, uint32_t *mask)
{
	*mask = 0;
	for (size_t i = 0; i < plan->enricher_count; i++) {
		bool is_asked;
		if (!is_of_events(plan->enrichers[i].def, view->event)) continue;
		int rc = has_any_need(plan->enrichers[i].def, view, &is_asked);
		if (rc) return rc;
		if (is_asked) *mask |= 1u << i;
	}
	return OK;
}

/* ── rows ────────────────────────────────────────────────────────────────── */

static struct str make_key(uint64_t seq, uint64_t enricher, uint8_t out[KEY_SIZE])
{
	put_be64(out, seq);
	put_be64(out + 8, enricher);
	return str_of(out, KEY_SIZE);
}

static int put_row(struct people *people, uint64_t seq, uint64_t enricher, int64_t t, struct str name,
		   const uint8_t *keys, size_t key_count, const uint64_t *more, size_t more_count)
{
	uint8_t bytes[KEY_SIZE];
	struct str key = make_key(seq, enricher, bytes);
	uint16_t name_len = (uint16_t)name.len;
	size_t len = HEAD_SIZE + name.len + 8 * (key_count + more_count);
	char *value = arena_alloc(&people->cache.arena, len), *at = value;
	if (!value) return ERR_NOMEM;
	memcpy(at + SEALED_HEADER, &t, sizeof t);
	memcpy(at + SEALED_HEADER + 8, &name_len, sizeof name_len);
	at += HEAD_SIZE;
	memcpy(at, name.ptr, name.len);
	at += name.len;
	if (key_count) memcpy(at, keys, 8 * key_count);
	if (more_count) memcpy(at + 8 * key_count, more, 8 * more_count);
	sealed_close(key, value, len, (struct sealed){0});
	return store_put(people->txn, people->tables.awaits, key, str_of(value, len));
}

static int decode(struct str key, struct str value, struct await_row *out)
{
	struct sealed sealed;
	uint16_t name_len;
	if (key.len != KEY_SIZE || value.len < HEAD_SIZE) return ERR_CORRUPT;
	int rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	out->seq = get_be64((const uint8_t *)key.ptr);
	out->enricher = get_be64((const uint8_t *)key.ptr + 8);
	memcpy(&out->t, value.ptr + SEALED_HEADER, sizeof out->t);
	memcpy(&name_len, value.ptr + SEALED_HEADER + 8, sizeof name_len);
	if (value.len < HEAD_SIZE + (size_t)name_len || (value.len - HEAD_SIZE - name_len) % 8) return ERR_CORRUPT;
	out->name = str_of(value.ptr + HEAD_SIZE, name_len);
	out->keys = (const uint8_t *)value.ptr + HEAD_SIZE + name_len;
	out->key_count = (value.len - HEAD_SIZE - name_len) / 8;
	return OK;
}

static uint64_t key_at(const struct await_row *row, size_t i)
{
	uint64_t key;
	memcpy(&key, row->keys + 8 * i, sizeof key);
	return key;
}

static bool has_key(const struct await_row *row, uint64_t key)
{
	for (size_t i = 0; i < row->key_count; i++)
		if (key_at(row, i) == key) return true;
	return false;
}

/* Each wait holds those deferred features that read from its enricher. */
int awaits_put(struct people *people, uint64_t seq, int64_t t, uint32_t mask, const uint64_t *deferred,
	       size_t deferred_count)
{
	const struct plan *plan = people->plan;
	uint64_t keys[PLAN_FEATURES_MAX];
	int rc = OK;
	for (size_t i = 0; i < plan->enricher_count && !rc; i++) {
		size_t count = 0;
		if (!(mask & 1u << i)) continue;
		for (size_t k = 0; k < deferred_count; k++)
			if (plan_feature_find(plan, deferred[k])->awaits & 1u << i) keys[count++] = deferred[k];
		rc =
		    put_row(people, seq, plan->enrichers[i].key, t, plan->enrichers[i].def->name, NULL, 0, keys, count);
	}
	return rc;
}

/* ── walking ─────────────────────────────────────────────────────────────── */

static int walk(struct store_txn *txn, store_db table, uint64_t seq, uint64_t enricher, size_t max,
		int (*fn)(void *ctx, const struct await_row *row), void *ctx)
{
	struct store_cursor *cursor;
	uint8_t bytes[KEY_SIZE];
	struct str key = make_key(seq, enricher, bytes), value;
	int rc = store_cursor_open(txn, table, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	for (size_t i = 0; !rc && i < max; i++) {
		struct await_row row;
		rc = decode(key, value, &row);
		if (rc || fn(ctx, &row)) break;
		rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int people_awaits(struct people_reader *reader, uint64_t seq, uint64_t after, size_t max,
		  int (*fn)(void *ctx, const struct await_row *row), void *ctx)
{
	CHECK(reader->is_open);
	if (after == UINT64_MAX) {
		seq++;
		after = 0;
	} else if (after) {
		after++;
	}
	return walk(reader->txn, reader->people->tables.awaits, seq, after, max, fn, ctx);
}

int people_await_count(struct people_reader *reader, uint64_t *out)
{
	CHECK(reader->is_open);
	return store_count(reader->txn, reader->people->tables.awaits, out);
}

static int take_first(void *ctx, const struct await_row *row)
{
	*(uint64_t *)ctx = row->seq;
	return 1;
}

int people_oldest_await(struct people *people, uint64_t *seq)
{
	CHECK(people->txn);
	*seq = UINT64_MAX;
	return walk(people->txn, people->tables.awaits, 0, 0, 1, take_first, seq);
}

/* The waits of one event; copies of the rows in the transaction's arena, which survive writing. */
struct event_awaits {
	struct people *people;
	uint64_t seq;
	struct await_row rows[ASYNC_ENRICHERS_MAX * 2]; /* those of enrichers that are no more wait for their release */
	size_t count;
	int status;
};

static int take_row(void *ctx, const struct await_row *row)
{
	struct event_awaits *awaits = ctx;
	struct arena *arena = &awaits->people->cache.arena;
	struct str keys;
	if (row->seq != awaits->seq || awaits->count == COUNT_OF(awaits->rows)) return 1;
	struct await_row *copy = &awaits->rows[awaits->count++];
	*copy = *row;
	awaits->status = arena_str(arena, row->name, &copy->name);
	if (!awaits->status) awaits->status = arena_str(arena, str_of(row->keys, 8 * row->key_count), &keys);
	if (!awaits->status) copy->keys = (const uint8_t *)keys.ptr;
	return awaits->status;
}

static int read_event(struct people *people, uint64_t seq, struct event_awaits *out)
{
	out->people = people;
	out->seq = seq;
	out->count = 0;
	out->status = OK;
	int rc = walk(people->txn, people->tables.awaits, seq, 0, COUNT_OF(out->rows) + 1, take_row, out);
	return rc ? rc : out->status;
}

/* ── answers ─────────────────────────────────────────────────────────────── */

int people_await_find(struct people *people, uint64_t event_seq, struct str enricher, struct outcome *outcome)
{
	uint8_t bytes[KEY_SIZE];
	struct str value;
	CHECK(people->txn);
	int rc = store_get(people->txn, people->tables.awaits, make_key(event_seq, await_key(enricher), bytes), &value);
	if (rc) return rc;
	rc = outcome_get(people->txn, people->tables.outcomes, event_seq, outcome);
	if (rc == ERR_NOT_FOUND) *outcome = (struct outcome){.verdict = OUTCOME_ERASED}; /* trimmed with its event */
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* The newest is named by the event's outcome, each names the one before. */
static int collect(struct store_txn *txn, store_db outcomes, const struct outcome *outcome,
		   uint64_t seqs[ASYNC_ENRICHERS_MAX], size_t *count)
{
	struct outcome at = *outcome;
	*count = 0;
	while (at.resolution_seq && *count < ASYNC_ENRICHERS_MAX) {
		seqs[(*count)++] = at.resolution_seq;
		int rc = outcome_get(txn, outcomes, at.resolution_seq, &at);
		if (rc == ERR_NOT_FOUND) break;
		if (rc) return rc;
	}
	for (size_t i = 0; i < *count / 2; i++) {
		uint64_t other = seqs[*count - 1 - i];
		seqs[*count - 1 - i] = seqs[i];
		seqs[i] = other;
	}
	return OK;
}

int people_resolutions_of(struct people *people, const struct outcome *outcome, uint64_t seqs[ASYNC_ENRICHERS_MAX],
			  size_t *count)
{
	CHECK(people->txn);
	return collect(people->txn, people->tables.outcomes, outcome, seqs, count);
}

int people_read_resolutions(struct people_reader *reader, const struct outcome *outcome,
			    uint64_t seqs[ASYNC_ENRICHERS_MAX], size_t *count)
{
	CHECK(reader->is_open);
	return collect(reader->txn, reader->people->tables.outcomes, outcome, seqs, count);
}

/* Deferred features of that wait that no other wait of the event holds back. */
static size_t free_features(const struct event_awaits *awaits, uint64_t enricher, uint64_t out[PLAN_FEATURES_MAX])
{
	const struct await_row *ended = NULL;
	size_t count = 0;
	for (size_t i = 0; i < awaits->count; i++)
		if (awaits->rows[i].enricher == enricher) ended = &awaits->rows[i];
	for (size_t k = 0; ended && k < ended->key_count && count < PLAN_FEATURES_MAX; k++) {
		bool is_held = false;
		for (size_t i = 0; i < awaits->count && !is_held; i++)
			is_held = &awaits->rows[i] != ended && has_key(&awaits->rows[i], key_at(ended, k));
		if (!is_held) out[count++] = key_at(ended, k);
	}
	return count;
}

struct counting {
	struct row *rows[2];
	size_t row_count;
	struct slot *slot, *head;
};

/* ERR_NOT_FOUND: the fragment is no more. */
static int open_rows(struct people *people, const struct fragment_id *id, struct counting *out)
{
	struct cache *cache = &people->cache;
	int rc = cache_slot(cache, id, &out->slot);
	if (!rc) rc = cache_row(cache, out->slot, false, &out->rows[0]);
	if (rc) return rc;
	out->row_count = 1;
	out->head = out->slot;
	if (fragment_id_eq(&out->rows[0]->profile, id) && !out->rows[0]->has_merged) return OK;
	rc = cache_slot(cache, &out->rows[0]->profile, &out->head);
	if (!rc) rc = cache_row(cache, out->head, true, &out->rows[1]);
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	out->row_count = 2;
	return cache_dirty(cache, out->head, true);
}

static int count_features(struct people *people, struct counting *counting, const struct cdpd_event *event,
			  const uint64_t *keys, size_t count, uint64_t seq, int64_t t)
{
	struct feature_tally tally = {0};
	struct cache *cache = &people->cache;
	event_view_set(&people->view, event);
	for (size_t i = 0; i < counting->row_count; i++) features_drop_unknown(people->plan, counting->rows[i]);
	int rc = features_apply_some(people->plan, &people->view, counting->rows, counting->row_count, &cache->arena,
				     &tally, keys, count);
	if (tally.refused) metric_add(people->refused_inputs, tally.refused);
	if (tally.grown) cache_grow(cache, tally.grown);
	if (!rc) rc = cache_dirty(cache, counting->slot, false);
	const struct segment_event changed = {
	    .head = counting->head, .view = counting->rows[counting->row_count - 1], .seq = seq, .t = t};
	if (!rc) rc = segments_event(people, &changed);
	return rc ? rc : cache_view(cache, counting->head, seq, t);
}

/* Erased since, or erased and seen again: what happened before is not theirs any more. */
static int is_erased(struct people *people, const struct people_resolution *resolution, uint64_t seq, bool *out)
{
	struct fragment_id id;
	struct erased_row row;
	*out = !resolution->event || resolution->outcome->verdict != OUTCOME_APPLIED;
	if (*out || !people->has_erased) return OK;
	memcpy(id.bytes, resolution->outcome->fragment, sizeof id.bytes);
	int rc = erased_get(people->txn, people->tables.erased, &id, &row);
	*out = rc == OK && resolution->event_seq < row.seq;
	if (!*out || !resolution->has_patch) return rc == ERR_NOT_FOUND ? OK : rc;
	row.late_seq = seq; /* the answer came after the erasure: it is swept like a late event */
	return erased_put(people->txn, people->tables.erased, &id, &row);
}

/* The record joins the event's answers, so that readers find it; it counts nowhere. */
static int note_patch(struct people *people, const struct people_resolution *resolution, uint64_t seq)
{
	struct outcome noted = {.verdict = OUTCOME_APPLIED, .resolution_seq = resolution->outcome->resolution_seq};
	struct outcome event = *resolution->outcome;
	memcpy(noted.fragment, event.fragment, sizeof noted.fragment);
	event.resolution_seq = seq;
	CHECK(seq > people->working.last_outcome);
	int rc = outcome_append(people->txn, people->tables.outcomes, seq, &noted);
	if (rc) return rc;
	people->working.last_outcome = seq;
	return outcome_replace(people->txn, people->tables.outcomes, resolution->event_seq, &event);
}

int people_resolve_await(struct people *people, const struct people_resolution *resolution, uint64_t seq, int64_t t)
{
	struct event_awaits awaits;
	struct counting counting;
	struct fragment_id id;
	uint64_t keys[PLAN_FEATURES_MAX], enricher = await_key(resolution->enricher);
	uint8_t bytes[KEY_SIZE];
	bool is_gone;
	CHECK(people->txn && people->plan);
	int rc = read_event(people, resolution->event_seq, &awaits);
	if (rc) return rc;
	size_t count = free_features(&awaits, enricher, keys);
	rc = store_del(people->txn, people->tables.awaits, make_key(resolution->event_seq, enricher, bytes));
	if (!rc) rc = is_erased(people, resolution, seq, &is_gone);
	if (rc || is_gone) return rc;
	if (resolution->has_patch) rc = note_patch(people, resolution, seq);
	if (rc || count == 0) return rc;
	memcpy(id.bytes, resolution->outcome->fragment, sizeof id.bytes);
	rc = open_rows(people, &id, &counting);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	return count_features(people, &counting, resolution->event, keys, count, seq, t);
}

/* ── features that begin to count older events ───────────────────────────── */

static bool waits_for(const struct plan *plan, const struct plan_feature *feature, uint64_t enricher)
{
	for (size_t i = 0; i < plan->enricher_count; i++)
		if (plan->enrichers[i].key == enricher) return feature->awaits & 1u << i;
	return false;
}

int people_await_defer(struct people *people, uint64_t event_seq, const struct plan_feature *feature, bool *is_deferred)
{
	struct event_awaits awaits;
	*is_deferred = false;
	CHECK(people->txn);
	if (!feature->awaits) return OK;
	int rc = read_event(people, event_seq, &awaits);
	for (size_t i = 0; i < awaits.count && !rc; i++) {
		const struct await_row *row = &awaits.rows[i];
		if (!waits_for(people->plan, feature, row->enricher)) continue;
		*is_deferred = true;
		if (has_key(row, feature->key)) continue;
		rc = put_row(people, event_seq, row->enricher, row->t, row->name, row->keys, row->key_count,
			     &feature->key, 1);
	}
	return rc;
}
