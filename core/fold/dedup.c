#include "fold/dedup.h"

#include <stdlib.h>
#include <string.h>

#include "fold/dedup_row.h"
#include "fold/filter.h"

#define SOURCE_ID_MAX 64
/* Forgotten rows deleted by one transaction: this many, and twice what it inserted, so that they cannot pile up. */
#define SWEEP_ROWS    1000
#define ROWS_PER_PAGE 60 /* 97 fit in a leaf; splitting leaves two thirds of that */

struct generation {
	uint32_t number;
	bool is_changed; /* since the last commit */
	uint64_t ids;
	int64_t last_t;
};

struct added { /* to the filter by this transaction */
	uint32_t generation;
	uint64_t hash;
};

struct dedup {
	struct store_env *env;
	store_db rows, meta;
	struct hash_key key;
	struct filter filter;

	int64_t window_us;
	uint64_t max_ids;

	/* as in the rows, plus this transaction's changes */
	uint32_t floor; /* generations below are forgotten */
	bool is_held;
	int64_t forgotten_t; /* newest time a forgotten id may be from; INT64_MIN: none was forgotten */
	uint64_t maybe_duplicates;
	struct generation *generations; /* live ones that hold ids, ascending */
	size_t generation_count, generation_capacity;
	uint64_t ids; /* of all of them */

	bool is_state_changed, has_garbage;
	bool is_filter_partial; /* remaking a table failed half-way */
	struct added *added;
	size_t added_count, added_capacity;
	uint32_t *expired; /* generations forgotten by this transaction */
	size_t expired_count, expired_capacity;
};

/* ── rows ────────────────────────────────────────────────────────────────── */

static int load_key(struct dedup *dedup)
{
	struct store_txn *txn;
	struct str value;
	int rc = store_begin(dedup->env, true, &txn);
	if (rc) return rc;
	rc = store_get(txn, dedup->meta, STR("k"), &value);
	if (rc == ERR_NOT_FOUND) {
		random_bytes(dedup->key.bytes, sizeof dedup->key.bytes);
		rc = store_put(txn, dedup->meta, STR("k"), str_of(dedup->key.bytes, sizeof dedup->key.bytes));
		if (!rc) return store_commit(txn);
	} else if (!rc && value.len != sizeof dedup->key.bytes) {
		rc = ERR_CORRUPT;
	} else if (!rc) {
		memcpy(dedup->key.bytes, value.ptr, value.len);
	}
	store_abort(txn);
	return rc;
}

static int load_state(struct dedup *dedup, struct store_txn *txn)
{
	struct str value;
	dedup->floor = 0;
	dedup->is_held = false;
	dedup->forgotten_t = INT64_MIN;
	dedup->maybe_duplicates = 0;
	int rc = store_get(txn, dedup->meta, STR("s"), &value);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	if (value.len != DEDUP_STATE_SIZE) return ERR_CORRUPT;
	const uint8_t *bytes = (const uint8_t *)value.ptr;
	dedup->floor = (uint32_t)get_be64(bytes);
	dedup->is_held = get_be64(bytes + 8) != 0;
	dedup->forgotten_t = (int64_t)get_be64(bytes + 16);
	dedup->maybe_duplicates = get_be64(bytes + 24);
	return OK;
}

static int push_generation(struct dedup *dedup, struct generation generation)
{
	if (dedup->generation_count == dedup->generation_capacity) {
		size_t capacity = dedup->generation_capacity ? dedup->generation_capacity * 2 : 64;
		struct generation *grown = realloc(dedup->generations, capacity * sizeof *grown);
		if (!grown) return ERR_NOMEM;
		dedup->generations = grown;
		dedup->generation_capacity = capacity;
	}
	dedup->generations[dedup->generation_count++] = generation;
	dedup->ids += generation.ids;
	return OK;
}

static int load_generations(struct dedup *dedup, struct store_txn *txn)
{
	struct store_cursor *cursor;
	struct str key = STR("g"), value;
	dedup->generation_count = 0;
	dedup->ids = 0;
	int rc = store_cursor_open(txn, dedup->meta, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	while (!rc && key.ptr[0] == 'g') {
		const uint8_t *bytes = (const uint8_t *)value.ptr;
		if (key.len != 5 || value.len != DEDUP_GENERATION_SIZE) {
			rc = ERR_CORRUPT;
			break;
		}
		rc = push_generation(dedup, (struct generation){.number = get_be32((const uint8_t *)key.ptr + 1),
								.ids = get_be64(bytes),
								.last_t = (int64_t)get_be64(bytes + 8)});
		if (!rc) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int load_small_rows(struct dedup *dedup)
{
	struct store_txn *txn;
	int rc = store_begin(dedup->env, false, &txn);
	if (rc) return rc;
	rc = load_state(dedup, txn);
	if (!rc) rc = load_generations(dedup, txn);
	store_abort(txn);
	dedup->has_garbage = true; /* perhaps; the next flush finds out */
	dedup->is_state_changed = false;
	dedup->expired_count = 0;
	return rc;
}

int dedup_open(struct store_env *env, struct dedup **out)
{
	struct dedup *dedup = calloc(1, sizeof *dedup);
	*out = NULL;
	if (!dedup) return ERR_NOMEM;
	dedup->env = env;
	filter_init(&dedup->filter);
	dedup_configure(dedup, 0, 0);
	int rc = store_db_open(env, DEDUP_DB, 0, &dedup->rows);
	if (!rc) rc = store_db_open(env, DEDUP_META_DB, 0, &dedup->meta);
	if (!rc) rc = load_key(dedup);
	if (!rc) rc = load_small_rows(dedup);
	if (rc) {
		dedup_close(dedup);
		return rc;
	}
	*out = dedup;
	return OK;
}

void dedup_close(struct dedup *dedup)
{
	if (!dedup) return;
	filter_fini(&dedup->filter);
	free(dedup->generations);
	free(dedup->added);
	free(dedup->expired);
	free(dedup);
}

void dedup_configure(struct dedup *dedup, int64_t window_us, uint64_t max_ids)
{
	dedup->window_us = window_us > 0 ? window_us : DEDUP_WINDOW_DEFAULT_US;
	dedup->max_ids = max_ids ? max_ids : DEDUP_IDS_DEFAULT;
}

/* ── the filter from the rows ────────────────────────────────────────────── */

static size_t ids_of_table(const struct dedup *dedup, uint32_t generation)
{
	uint32_t table = generation / FILTER_TABLE_GENERATIONS;
	uint64_t ids = 0;
	for (size_t i = 0; i < dedup->generation_count; i++) {
		if (dedup->generations[i].number / FILTER_TABLE_GENERATIONS == table) ids += dedup->generations[i].ids;
	}
	return (size_t)ids;
}

/* Adds the rows of the generations from `first` up to, not including, `end`. */
static int add_rows(struct dedup *dedup, struct store_txn *txn, uint32_t first, uint64_t end, const _Atomic bool *stop)
{
	struct store_cursor *cursor;
	uint8_t from[4];
	uint32_t table = UINT32_MAX;
	put_be32(from, first * DEDUP_PARTS);
	struct str key = str_of(from, sizeof from), value;
	int rc = store_cursor_open(txn, dedup->rows, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	for (size_t n = 1; !rc; n++) {
		const uint8_t *bytes = (const uint8_t *)key.ptr;
		if (key.len != DEDUP_KEY_SIZE) rc = ERR_CORRUPT;
		if (stop && n % 4096 == 0 && *stop) rc = ERR_CLOSED;
		if (rc) break;
		uint32_t generation = dedup_key_generation(bytes);
		if (generation >= end) break;
		if (generation / FILTER_TABLE_GENERATIONS != table) {
			table = generation / FILTER_TABLE_GENERATIONS;
			size_t ids = ids_of_table(dedup, generation),
			       larger = filter_larger(&dedup->filter, generation);
			rc = filter_remake(&dedup->filter, generation, ids > larger ? ids : larger);
		}
		if (!rc) rc = filter_add(&dedup->filter, generation, dedup_key_filter_hash(bytes));
		if (!rc) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int dedup_load(struct dedup *dedup, const _Atomic bool *stop)
{
	struct store_txn *txn;
	filter_fini(&dedup->filter);
	int rc = store_begin(dedup->env, false, &txn);
	if (rc) return rc;
	rc = add_rows(dedup, txn, dedup->floor, UINT64_MAX, stop);
	store_abort(txn);
	return rc;
}

/* The rows of this transaction are among what the larger table is made from. */
static int grow_table(struct dedup *dedup, struct store_txn *txn, uint32_t generation)
{
	uint32_t first = generation / FILTER_TABLE_GENERATIONS * FILTER_TABLE_GENERATIONS;
	uint64_t end = (uint64_t)first + FILTER_TABLE_GENERATIONS;
	int rc = add_rows(dedup, txn, first > dedup->floor ? first : dedup->floor, end, NULL);
	dedup->is_filter_partial = rc != OK;
	return rc;
}

/* ── forgetting ──────────────────────────────────────────────────────────── */

static void forget_oldest(struct dedup *dedup)
{
	struct generation oldest = dedup->generations[0];
	if (dedup->expired_count == dedup->expired_capacity) {
		size_t capacity = dedup->expired_capacity ? dedup->expired_capacity * 2 : 16;
		uint32_t *grown = realloc(dedup->expired, capacity * sizeof *grown);
		CHECK(grown); /* a few words: an allocator that refuses them refuses everything */
		dedup->expired = grown;
		dedup->expired_capacity = capacity;
	}
	dedup->expired[dedup->expired_count++] = oldest.number;
	dedup->generation_count--;
	memmove(dedup->generations, dedup->generations + 1, dedup->generation_count * sizeof *dedup->generations);
	dedup->ids -= oldest.ids;
	dedup->floor = oldest.number + 1;
	if (oldest.last_t > dedup->forgotten_t) dedup->forgotten_t = oldest.last_t;
	dedup->is_state_changed = dedup->has_garbage = true;
}

/* The generation that is being filled stays whole: an id is remembered at least as long as promised. */
static bool may_forget(const struct dedup *dedup, uint64_t seq)
{
	return dedup->generation_count > 0 && dedup->generations[0].number < dedup_generation(seq);
}

int64_t dedup_next_due(const struct dedup *dedup, uint64_t seq)
{
	if (dedup->is_held || !may_forget(dedup, seq)) return INT64_MAX;
	int64_t due;
	if (__builtin_add_overflow(dedup->generations[0].last_t, dedup->window_us + 1, &due)) return INT64_MAX;
	return due;
}

void dedup_advance(struct dedup *dedup, uint64_t seq, int64_t t)
{
	while (dedup_next_due(dedup, seq) <= t) forget_oldest(dedup);
	while (dedup->ids > dedup->max_ids && may_forget(dedup, seq)) forget_oldest(dedup);
}

void dedup_hold(struct dedup *dedup, bool is_held)
{
	dedup->is_held = is_held;
	dedup->is_state_changed = true;
}

static int64_t window_start(const struct dedup *dedup, int64_t t)
{
	int64_t start = t - dedup->window_us;
	return start > dedup->forgotten_t ? start : dedup->forgotten_t;
}

bool dedup_is_maybe_duplicate(struct dedup *dedup, const struct cdpd_event *event, int64_t t)
{
	if (event->flags & EVENT_ID_GENERATED || event->event_time_us >= window_start(dedup, t)) return false;
	dedup->maybe_duplicates++;
	dedup->is_state_changed = true;
	return true;
}

/* ── looking up ──────────────────────────────────────────────────────────── */

static int hash_id(const struct dedup *dedup, const struct cdpd_event *event, uint8_t out[DEDUP_HASH_SIZE])
{
	char text[SOURCE_ID_MAX + 1 + EVENT_ID_MAX];
	struct str source = event->source_id, id = event->message_id;
	struct hash128 hash;
	if (source.len > SOURCE_ID_MAX || id.len > EVENT_ID_MAX) return ERR_INVALID;
	memcpy(text, source.ptr, source.len);
	text[source.len] = 0;
	memcpy(text + source.len + 1, id.ptr, id.len);
	hash128(&dedup->key, text, source.len + 1 + id.len, &hash);
	memcpy(out, hash.bytes, DEDUP_HASH_SIZE);
	return OK;
}

struct lookup {
	struct dedup *dedup;
	struct store_txn *txn;
	uint8_t key[DEDUP_KEY_SIZE];
	uint64_t canonical_hash, seq; /* of the row found */
};
#define LOOKUP_FOUND 1

static int lookup_part(struct lookup *lookup, uint32_t part)
{
	struct str value;
	put_be32(lookup->key, part);
	int rc = store_get(lookup->txn, lookup->dedup->rows, str_of(lookup->key, sizeof lookup->key), &value);
	if (rc) return rc;
	if (value.len != DEDUP_VALUE_SIZE) return ERR_CORRUPT;
	lookup->canonical_hash = get_be64((const uint8_t *)value.ptr);
	lookup->seq = get_be64((const uint8_t *)value.ptr + 8);
	return LOOKUP_FOUND;
}

static int lookup_generation(void *ctx, uint32_t generation)
{
	struct lookup *lookup = ctx;
	if (generation < lookup->dedup->floor) return OK;
	for (uint32_t i = DEDUP_PARTS; i-- > 0;) { /* a repeat mostly comes soon: newest first */
		int rc = lookup_part(lookup, generation * DEDUP_PARTS + i);
		if (rc != ERR_NOT_FOUND) return rc;
	}
	return OK; /* only the fingerprint was the same */
}

static int reserve_added(struct dedup *dedup)
{
	if (dedup->added_count < dedup->added_capacity) return OK;
	size_t capacity = dedup->added_capacity ? dedup->added_capacity * 2 : 256;
	struct added *grown = realloc(dedup->added, capacity * sizeof *grown);
	if (!grown) return ERR_NOMEM;
	dedup->added = grown;
	dedup->added_capacity = capacity;
	return OK;
}

static int count_id(struct dedup *dedup, uint32_t generation, int64_t t)
{
	size_t count = dedup->generation_count;
	if (!count || dedup->generations[count - 1].number != generation) {
		int rc = push_generation(dedup, (struct generation){.number = generation});
		if (rc) return rc;
		count++;
	}
	struct generation *newest = &dedup->generations[count - 1];
	newest->is_changed = true;
	newest->last_t = t;
	newest->ids++;
	dedup->ids++;
	return OK;
}

static int remember(struct dedup *dedup, struct store_txn *txn, struct lookup *lookup, uint64_t canonical_hash,
		    uint64_t seq, int64_t t)
{
	uint8_t value[DEDUP_VALUE_SIZE];
	uint32_t generation = dedup_generation(seq);
	uint64_t hash = dedup_key_filter_hash(lookup->key);
	put_be32(lookup->key, dedup_part(seq));
	dedup_value_write(value, canonical_hash, seq);
	int rc = reserve_added(dedup);
	if (!rc) rc = store_put(txn, dedup->rows, str_of(lookup->key, sizeof lookup->key), str_of(value, sizeof value));
	if (!rc) rc = count_id(dedup, generation, t);
	if (rc) return rc;
	rc = filter_add(&dedup->filter, generation, hash);
	if (rc == ERR_TOO_LARGE) rc = grow_table(dedup, txn, generation);
	if (rc) return rc;
	dedup->added[dedup->added_count++] = (struct added){generation, hash};
	return OK;
}

int dedup_check(struct dedup *dedup, struct store_txn *txn, const struct cdpd_event *event, uint64_t seq, int64_t t,
		enum dedup_verdict *verdict, uint64_t *winner_seq)
{
	struct lookup lookup = {.dedup = dedup, .txn = txn};
	*verdict = DEDUP_NEW;
	*winner_seq = 0;
	if (event->flags & EVENT_ID_GENERATED) return OK;
	int rc = hash_id(dedup, event, lookup.key + 4);
	if (rc) return rc;
	rc = filter_find(&dedup->filter, dedup_key_filter_hash(lookup.key), lookup_generation, &lookup);
	if (rc < 0) return rc;
	if (rc == OK) return remember(dedup, txn, &lookup, event->canonical_hash, seq, t);
	*verdict = lookup.canonical_hash == event->canonical_hash ? DEDUP_DUPLICATE : DEDUP_CONFLICT;
	*winner_seq = lookup.seq;
	return OK;
}

/* ── the end of a transaction ────────────────────────────────────────────── */

static int write_state(struct dedup *dedup, struct store_txn *txn)
{
	uint8_t bytes[DEDUP_STATE_SIZE];
	if (!dedup->is_state_changed) return OK;
	put_be64(bytes, dedup->floor);
	put_be64(bytes + 8, dedup->is_held);
	put_be64(bytes + 16, (uint64_t)dedup->forgotten_t);
	put_be64(bytes + 24, dedup->maybe_duplicates);
	return store_put(txn, dedup->meta, STR("s"), str_of(bytes, sizeof bytes));
}

static int write_generations(struct dedup *dedup, struct store_txn *txn)
{
	uint8_t key[5], value[DEDUP_GENERATION_SIZE];
	for (size_t i = 0; i < dedup->expired_count; i++) {
		dedup_generation_key(key, dedup->expired[i]);
		int rc = store_del(txn, dedup->meta, str_of(key, sizeof key));
		if (rc && rc != ERR_NOT_FOUND) return rc;
	}
	/* Only the newest change, the tail of the list. */
	for (size_t i = dedup->generation_count; i-- > 0 && dedup->generations[i].is_changed;) {
		dedup_generation_key(key, dedup->generations[i].number);
		put_be64(value, dedup->generations[i].ids);
		put_be64(value + 8, (uint64_t)dedup->generations[i].last_t);
		int rc = store_put(txn, dedup->meta, str_of(key, sizeof key), str_of(value, sizeof value));
		if (rc) return rc;
	}
	return OK;
}

static int sweep(struct dedup *dedup, struct store_txn *txn)
{
	struct store_cursor *cursor;
	struct str key, value;
	size_t left = SWEEP_ROWS + 2 * dedup->added_count;
	if (!dedup->has_garbage) return OK;
	int rc = store_cursor_open(txn, dedup->rows, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
	while (!rc && left > 0) {
		if (dedup_key_generation((const uint8_t *)key.ptr) >= dedup->floor) break;
		rc = store_cursor_del(cursor);
		if (!rc) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
		left--;
	}
	store_cursor_close(cursor);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	dedup->has_garbage = left == 0;
	return OK;
}

int dedup_flush(struct dedup *dedup, struct store_txn *txn)
{
	int rc = write_state(dedup, txn);
	if (!rc) rc = write_generations(dedup, txn);
	return rc ? rc : sweep(dedup, txn);
}

static void forget_changes(struct dedup *dedup)
{
	dedup->added_count = 0;
	dedup->expired_count = 0;
	dedup->is_state_changed = false;
	for (size_t i = dedup->generation_count; i-- > 0 && dedup->generations[i].is_changed;) {
		dedup->generations[i].is_changed = false;
	}
}

void dedup_committed(struct dedup *dedup)
{
	filter_drop_below(&dedup->filter, dedup->floor);
	forget_changes(dedup);
}

int dedup_aborted(struct dedup *dedup)
{
	for (size_t i = dedup->added_count; i-- > 0;) {
		filter_remove(&dedup->filter, dedup->added[i].generation, dedup->added[i].hash);
	}
	dedup->added_count = 0;
	int rc = load_small_rows(dedup);
	if (rc || !dedup->is_filter_partial) return rc;
	rc = dedup_load(dedup, NULL);
	dedup->is_filter_partial = rc != OK;
	return rc;
}

size_t dedup_overcount(const struct dedup *dedup)
{
	/* The leaves of one full part, and what is added to them. */
	size_t pages = (1u << DEDUP_PART_BITS) / ROWS_PER_PAGE + dedup->added_count / ROWS_PER_PAGE;
	return dedup->added_count > pages ? dedup->added_count - pages : 0;
}

bool dedup_has_garbage(const struct dedup *dedup)
{
	return dedup->has_garbage;
}

void dedup_stats(const struct dedup *dedup, int64_t t, struct dedup_stats *out)
{
	out->ids = dedup->ids;
	out->maybe_duplicates = dedup->maybe_duplicates;
	out->window_us = t - window_start(dedup, t);
	out->filter_bytes = filter_bytes(&dedup->filter);
}
