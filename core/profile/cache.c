#include "profile/cache.h"

#include <stdlib.h>

#define BLOCK_BYTES     ((size_t)1 << 20)
#define FIRST_SIZE      ((size_t)1 << 12)
#define ROWS_PER_BRANCH 400                /* four and more rows to a leaf, a hundred leaves to a branch page */
#define MEMORY_BYTES    ((size_t)64 << 20) /* of rows in memory; beyond, they count as pages so that the fold commits */

int cache_init(struct cache *cache, store_db rows)
{
	*cache = (struct cache){.rows = rows, .table_size = FIRST_SIZE};
	arena_init(&cache->arena, BLOCK_BYTES, 0);
	cache->table = calloc(cache->table_size, sizeof(struct slot *));
	return cache->table ? OK : ERR_NOMEM;
}

void cache_fini(struct cache *cache)
{
	arena_fini(&cache->arena);
	free(cache->table);
	free(cache->slots.items);
	free(cache->dirty.items);
	free(cache->viewed.items);
	free(cache->scratch);
	*cache = (struct cache){0};
}

int cache_begin(struct cache *cache, struct store_txn *txn)
{
	uint64_t rows;
	int rc = store_count(txn, cache->rows, &rows);
	if (rc) return rc;
	cache->branch_pages = (size_t)(rows / ROWS_PER_BRANCH) + 1;
	cache->txn = txn;
	return OK;
}

void cache_reset(struct cache *cache)
{
	for (size_t i = 0; i < cache->slots.count; i++) cache->table[cache->slots.items[i]->index] = NULL;
	cache->slots.count = cache->dirty.count = cache->viewed.count = 0;
	cache->extra_pages = cache->grown_bytes = 0;
	cache->txn = NULL;
	arena_reset(&cache->arena);
}

/* ── slots ───────────────────────────────────────────────────────────────── */

static int list_push(struct slot_list *list, struct slot *slot)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 1024;
		struct slot **items = realloc(list->items, room * sizeof(struct slot *));
		if (!items) return ERR_NOMEM;
		list->items = items;
		list->room = room;
	}
	list->items[list->count++] = slot;
	return OK;
}

/* Ids are keyed hashes: any eight bytes of them are as good as a hash. */
static uint64_t id_hash(const struct fragment_id *id)
{
	uint64_t hash;
	memcpy(&hash, id->bytes + 8, sizeof hash);
	return hash;
}

static size_t probe(struct slot *const *table, size_t size, const struct fragment_id *id)
{
	size_t at = id_hash(id) & (size - 1);
	while (table[at] && !fragment_id_eq(&table[at]->id, id)) at = (at + 1) & (size - 1);
	return at;
}

static int grow(struct cache *cache)
{
	size_t size = cache->table_size * 2;
	struct slot **table = calloc(size, sizeof(struct slot *));
	if (!table) return ERR_NOMEM;
	for (size_t i = 0; i < cache->slots.count; i++) {
		struct slot *slot = cache->slots.items[i];
		slot->index = probe(table, size, &slot->id);
		table[slot->index] = slot;
	}
	free(cache->table);
	cache->table = table;
	cache->table_size = size;
	return OK;
}

int cache_slot(struct cache *cache, const struct fragment_id *id, struct slot **out)
{
	size_t at = probe(cache->table, cache->table_size, id);
	*out = cache->table[at];
	if (*out) return OK;
	if (cache->slots.count * 2 >= cache->table_size) {
		int rc = grow(cache);
		if (rc) return rc;
		at = probe(cache->table, cache->table_size, id);
	}
	struct slot *slot = arena_new(&cache->arena, struct slot);
	int rc = slot ? list_push(&cache->slots, slot) : ERR_NOMEM;
	if (rc) return rc;
	slot->id = *id;
	slot->index = at;
	cache->table[at] = slot;
	*out = slot;
	return OK;
}

static struct cached_row *row_of(struct slot *slot, bool is_merged)
{
	return is_merged ? &slot->merged : &slot->fragment;
}

/* ── loading ─────────────────────────────────────────────────────────────── */

static int decode(struct cache *cache, const struct stored_row *stored, const struct fragment_id *id, bool is_merged,
		  struct row **out)
{
	struct str hot, cold;
	struct row *row = arena_alloc(&cache->arena, sizeof *row);
	int rc = row ? stored_row_sections(stored, &cache->arena, &hot, &cold) : ERR_NOMEM;
	if (!rc) rc = row_decode_hot(hot, &cache->arena, id, is_merged, row);
	if (rc) return rc;
	row->cold = cold;
	*out = row;
	return OK;
}

static int load(struct cache *cache, struct slot *slot, bool is_merged, struct cached_row *cached)
{
	int rc = stored_row_read(cache->txn, cache->rows, &slot->id, is_merged, &cache->arena, &cached->stored);
	if (rc == ERR_NOT_FOUND) {
		cached->is_loaded = true;
		return OK;
	}
	if (!rc && stored_row_hot_needs_tail(&cached->stored))
		rc =
		    stored_row_read_tail(cache->txn, cache->rows, &slot->id, is_merged, &cache->arena, &cached->stored);
	if (!rc) rc = decode(cache, &cached->stored, &slot->id, is_merged, &cached->row);
	if (!rc) cached->is_loaded = true;
	return rc;
}

int cache_row(struct cache *cache, struct slot *slot, bool is_merged, struct row **out)
{
	struct cached_row *cached = row_of(slot, is_merged);
	int rc = cached->is_loaded ? OK : load(cache, slot, is_merged, cached);
	*out = cached->row;
	if (rc) return rc;
	return cached->row ? OK : ERR_NOT_FOUND;
}

int cache_cold(struct cache *cache, struct slot *slot, bool is_merged)
{
	struct cached_row *cached = row_of(slot, is_merged);
	struct str hot, cold;
	if (cached->row->is_cold_decoded) return OK;
	int rc = stored_row_read_tail(cache->txn, cache->rows, &slot->id, is_merged, &cache->arena, &cached->stored);
	if (!rc) rc = stored_row_sections(&cached->stored, &cache->arena, &hot, &cold);
	return rc ? rc : row_decode_cold(cold, &cache->arena, cached->row);
}

int cache_original(struct cache *cache, const struct slot *slot, bool is_merged, bool with_cold, struct row **out)
{
	const struct cached_row *cached = is_merged ? &slot->merged : &slot->fragment;
	struct stored_row stored = cached->stored;
	*out = NULL;
	if (!cached->is_loaded || stored.head.len == 0) return OK;
	int rc = OK;
	if (with_cold) rc = stored_row_read_tail(cache->txn, cache->rows, &slot->id, is_merged, &cache->arena, &stored);
	if (!rc) rc = decode(cache, &stored, &slot->id, is_merged, out);
	if (!rc && with_cold) rc = row_decode_cold((*out)->cold, &cache->arena, *out);
	return rc;
}

/* ── changing ────────────────────────────────────────────────────────────── */

int cache_dirty(struct cache *cache, struct slot *slot, bool is_merged)
{
	struct cached_row *cached = row_of(slot, is_merged);
	if (cached->is_dirty) return OK;
	cached->is_dirty = true;
	/* A merged row shares the fragment's leaf, unless its fragment is not written. */
	cache->extra_pages += stored_row_pages(cached->stored.hot_len, cached->stored.cold_len) - 1;
	if (slot->is_dirty) return OK;
	slot->is_dirty = true;
	return list_push(&cache->dirty, slot);
}

void cache_grow(struct cache *cache, size_t bytes)
{
	cache->grown_bytes += bytes;
}

int cache_set(struct cache *cache, struct slot *slot, bool is_merged, struct row *row)
{
	struct cached_row *cached = row_of(slot, is_merged);
	struct row *old;
	int rc = cache_row(cache, slot, is_merged, &old);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	cached->row = row;
	return cache_dirty(cache, slot, is_merged);
}

int cache_delete(struct cache *cache, struct slot *slot, bool is_merged)
{
	return cache_set(cache, slot, is_merged, NULL);
}

int cache_view(struct cache *cache, struct slot *slot, uint64_t cause_seq, int64_t cause_t)
{
	slot->cause_seq = cause_seq;
	slot->cause_t = cause_t;
	if (slot->is_viewed) return OK;
	slot->is_viewed = true;
	return list_push(&cache->viewed, slot);
}

/* ── writing ─────────────────────────────────────────────────────────────── */

static int scratch_room(struct cache *cache, size_t size)
{
	if (cache->scratch_size >= size) return OK;
	size_t room = size < 65536 ? 65536 : size * 2;
	uint8_t *scratch = realloc(cache->scratch, room);
	if (!scratch) return ERR_NOMEM;
	cache->scratch = scratch;
	cache->scratch_size = room;
	return OK;
}

/* The cold section as it is now; *is_unchanged when its chunks may stay where they are. */
static int encode_cold(struct cache *cache, struct slot *slot, bool is_merged, struct cached_row *cached,
		       size_t hot_len, struct str *cold, bool *is_unchanged)
{
	struct row *row = cached->row;
	size_t len;
	*is_unchanged = false;
	if (row->is_cold_changed) {
		int rc = row_encode_cold(row, &cache->arena, cache->scratch + hot_len, &len);
		*cold = (struct str){(const char *)cache->scratch + hot_len, len};
		return rc;
	}
	*is_unchanged = stored_row_can_keep_chunks(&cached->stored, hot_len);
	if (*is_unchanged) return OK;
	struct str hot;
	int rc = stored_row_read_tail(cache->txn, cache->rows, &slot->id, is_merged, &cache->arena, &cached->stored);
	return rc ? rc : stored_row_sections(&cached->stored, &cache->arena, &hot, cold);
}

static int write_row(struct cache *cache, struct slot *slot, bool is_merged)
{
	struct cached_row *cached = row_of(slot, is_merged);
	struct row *row = cached->row;
	if (!cached->is_dirty) return OK;
	if (!row) return stored_row_delete(cache->txn, cache->rows, &slot->id, is_merged, &cached->stored);
	int rc = scratch_room(cache, row_hot_max(row) + (row->is_cold_changed ? row_cold_max(row) : 0));
	if (rc) return rc;
	struct str cold = STR_NONE, hot = {(const char *)cache->scratch, row_encode_hot(row, cache->scratch)};
	bool is_unchanged;
	rc = encode_cold(cache, slot, is_merged, cached, hot.len, &cold, &is_unchanged);
	if (rc) return rc;
	return stored_row_write(cache->txn, cache->rows, &slot->id, is_merged, &cached->stored, hot,
				is_unchanged ? NULL : &cold);
}

static int order_slots(const void *a, const void *b)
{
	return memcmp((*(struct slot *const *)a)->id.bytes, (*(struct slot *const *)b)->id.bytes,
		      sizeof(struct fragment_id));
}

int cache_write(struct cache *cache)
{
	if (cache->dirty.count) qsort(cache->dirty.items, cache->dirty.count, sizeof(struct slot *), order_slots);
	for (size_t i = 0; i < cache->dirty.count; i++) {
		int rc = write_row(cache, cache->dirty.items[i], false);
		if (!rc) rc = write_row(cache, cache->dirty.items[i], true);
		if (rc) return rc;
	}
	return OK;
}

size_t cache_pages(const struct cache *cache)
{
	size_t leaves = cache->dirty.count;
	size_t branches = leaves < cache->branch_pages ? leaves : cache->branch_pages;
	size_t pages = leaves + branches + cache->extra_pages + cache->grown_bytes / (PIECE_CHUNK_CONTENT / 2);
	if (cache->arena.used > MEMORY_BYTES) pages += (cache->arena.used - MEMORY_BYTES) / 512;
	return pages;
}
