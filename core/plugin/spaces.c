#include "plugin/spaces.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/hash.h"
#include "base/log.h"
#include "store/store.h"

#define ENV_FORMAT    1
#define ITEM_FORMAT   1
#define KEY_SIZE      25
#define DUE_SIZE      (8 + KEY_SIZE)
#define HEAD_SIZE     20
#define FLAG_NEGATIVE 1
#define MAP_BYTES     ((uint64_t)64 << 30)
#define FLUSH_US      (500 * US_PER_MS)
#define WAITING_MAX   10000 /* items that are not written yet */
#define BUCKETS       4096
#define EVICT_SLICE   4000 /* items deleted in one transaction */

/* Not secret: spaces are found again by it. The key itself lies in the item. */
static const struct hash_key space_hash_key = {"cdpd space key.."};

struct item {
	uint8_t key[KEY_SIZE];
	struct str value; /* as stored; behind the struct */
	int64_t usable_until;
	struct item *next;
};
struct waiting {
	struct item *buckets[BUCKETS];
	size_t count;
};

struct spaces {
	struct store_env *env;
	store_db items, due, meta;
	uint64_t cache_max;
	pthread_mutex_t writing; /* one transaction at a time */
	uint64_t cache_bytes;    /* under `writing` */
	_Atomic uint64_t shown_bytes;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	struct waiting *fresh, *in_write; /* newest first to be looked at */
	bool should_stop, has_thread;
	pthread_t thread;
	struct metric *dropped, *bytes;
};

static int64_t now_ms(void)
{
	return clock_wall_us() / US_PER_MS;
}

uint64_t space_of(struct str instance)
{
	return hash64(&space_hash_key, instance.ptr, instance.len);
}

static struct str make_key(char kind, uint64_t space, struct str key, uint8_t out[KEY_SIZE])
{
	struct hash128 hash;
	hash128(&space_hash_key, key.ptr, key.len, &hash);
	out[0] = (uint8_t)kind;
	put_be64(out + 1, space);
	memcpy(out + 9, hash.bytes, sizeof hash.bytes);
	return str_of(out, KEY_SIZE);
}

/* ── items ───────────────────────────────────────────────────────────────── */

static size_t item_size(struct str key, struct str value)
{
	return HEAD_SIZE + key.len + value.len;
}

static void write_item(char *out, struct str key, const struct cached *item)
{
	uint16_t len = (uint16_t)key.len;
	out[0] = ITEM_FORMAT;
	out[1] = item->is_negative ? FLAG_NEGATIVE : 0;
	memcpy(out + 2, &len, sizeof len);
	memcpy(out + 4, &item->fresh_until, 8);
	memcpy(out + 12, &item->usable_until, 8);
	memcpy(out + HEAD_SIZE, key.ptr, key.len);
	if (item->value.len) memcpy(out + HEAD_SIZE + key.len, item->value.ptr, item->value.len);
}

/* Borrows `bytes`. What is not of this key, too old or of another format reads as absent. */
static int read_item(struct str bytes, struct str key, struct cached *out)
{
	uint16_t len;
	if (bytes.len < HEAD_SIZE || bytes.ptr[0] != ITEM_FORMAT) return ERR_NOT_FOUND;
	memcpy(&len, bytes.ptr + 2, sizeof len);
	if (bytes.len < HEAD_SIZE + (size_t)len || !str_eq(str_of(bytes.ptr + HEAD_SIZE, len), key))
		return ERR_NOT_FOUND;
	out->is_negative = bytes.ptr[1] & FLAG_NEGATIVE;
	memcpy(&out->fresh_until, bytes.ptr + 4, 8);
	memcpy(&out->usable_until, bytes.ptr + 12, 8);
	out->value = str_of(bytes.ptr + HEAD_SIZE + len, bytes.len - HEAD_SIZE - len);
	return out->usable_until && out->usable_until <= now_ms() ? ERR_NOT_FOUND : OK;
}

static int64_t until_of(struct str bytes)
{
	int64_t until = 0;
	if (bytes.len >= HEAD_SIZE) memcpy(&until, bytes.ptr + 12, sizeof until);
	return until;
}

static struct str due_key(int64_t until, struct str key, uint8_t out[DUE_SIZE])
{
	put_be64(out, (uint64_t)until);
	memcpy(out + 8, key.ptr, KEY_SIZE);
	return str_of(out, DUE_SIZE);
}

/* ── writing (the lock `writing` is held) ────────────────────────────────── */

static int add_to(struct spaces *spaces, struct store_txn *txn, struct str counter, int64_t more, uint64_t *sum)
{
	uint8_t bytes[8];
	struct str value;
	int rc = store_get(txn, spaces->meta, counter, &value);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	*sum = rc == OK && value.len == 8 ? get_be64((const uint8_t *)value.ptr) : 0;
	if (more < 0 && (uint64_t)-more > *sum) more = -(int64_t)*sum;
	*sum = (uint64_t)((int64_t)*sum + more);
	put_be64(bytes, *sum);
	return store_put(txn, spaces->meta, counter, str_of(bytes, sizeof bytes));
}

static struct str counter_of(struct str key, uint8_t out[9])
{
	if (key.ptr[0] == 'c') return STR("b");
	memcpy(out, key.ptr, 9);
	return str_of(out, 9);
}

/* Deletes the item and its entry in `due`. *freed: its bytes. */
static int remove_item(struct spaces *spaces, struct store_txn *txn, struct str key, int64_t *freed)
{
	uint8_t bytes[DUE_SIZE];
	struct str old;
	*freed = 0;
	int rc = store_get(txn, spaces->items, key, &old);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	int64_t until = until_of(old);
	*freed = (int64_t)(KEY_SIZE + old.len);
	rc = store_del(txn, spaces->items, key);
	if (!rc && until) rc = store_del(txn, spaces->due, due_key(until, key, bytes));
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* `value` empty: only removed. ERR_TOO_LARGE: over `max` bytes for its counter (0: any). */
static int replace_item(struct spaces *spaces, struct store_txn *txn, struct str key, struct str value, uint64_t max)
{
	uint8_t bytes[DUE_SIZE], counter[9], size[4];
	int64_t freed, until = until_of(value);
	uint64_t sum;
	int rc = remove_item(spaces, txn, key, &freed);
	int64_t more = value.len ? (int64_t)(KEY_SIZE + value.len) : 0;
	if (!rc) rc = add_to(spaces, txn, counter_of(key, counter), more - freed, &sum);
	if (!rc && max && more > freed && sum > max) return ERR_TOO_LARGE;
	if (!rc && value.len) rc = store_put(txn, spaces->items, key, value);
	put_be32(size, (uint32_t)(KEY_SIZE + value.len));
	if (!rc && value.len && until)
		rc = store_put(txn, spaces->due, due_key(until, key, bytes), str_of(size, sizeof size));
	return rc;
}

#define EVICT_AT_ONCE 64

/* What is over, and what ends first while the caches take more than they may. `bytes`: what they take. */
static int pick_old(struct spaces *spaces, struct store_txn *txn, uint64_t bytes, uint8_t keys[EVICT_AT_ONCE][KEY_SIZE],
		    size_t *count)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	*count = 0;
	int rc = store_cursor_open(txn, spaces->due, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
	while (!rc && *count < EVICT_AT_ONCE) {
		if (key.len != DUE_SIZE || value.len != 4) {
			rc = ERR_CORRUPT;
			break;
		}
		bool is_over = (int64_t)get_be64((const uint8_t *)key.ptr) <= now_ms(), is_cache = key.ptr[8] == 'c';
		uint64_t freed = is_cache ? get_be32((const uint8_t *)value.ptr) : 0;
		if (!is_over && bytes <= spaces->cache_max) break;
		if (is_over || is_cache) memcpy(keys[(*count)++], key.ptr + 8, KEY_SIZE);
		bytes -= freed < bytes ? freed : bytes;
		rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int evict(struct spaces *spaces, struct store_txn *txn)
{
	uint8_t keys[EVICT_AT_ONCE][KEY_SIZE];
	uint64_t sum = 0;
	size_t count = EVICT_AT_ONCE;
	int rc = add_to(spaces, txn, STR("b"), 0, &sum);
	for (size_t done = 0; !rc && done < EVICT_SLICE && count == EVICT_AT_ONCE; done += count) {
		rc = pick_old(spaces, txn, sum, keys, &count);
		for (size_t i = 0; !rc && i < count; i++)
			rc = replace_item(spaces, txn, str_of(keys[i], KEY_SIZE), STR_NONE, 0);
		if (!rc) rc = add_to(spaces, txn, STR("b"), 0, &sum);
	}
	spaces->cache_bytes = sum;
	return rc;
}

static int write_waiting(struct spaces *spaces, const struct waiting *waiting)
{
	struct store_txn *txn;
	int rc = store_begin(spaces->env, true, &txn);
	if (rc) return rc;
	for (size_t i = 0; i < BUCKETS && !rc; i++)
		for (const struct item *item = waiting->buckets[i]; item && !rc; item = item->next)
			rc = replace_item(spaces, txn, str_of(item->key, KEY_SIZE), item->value, 0);
	if (!rc) rc = evict(spaces, txn);
	if (!rc) return store_commit(txn);
	store_abort(txn);
	return rc;
}

/* ── what is not written yet ─────────────────────────────────────────────── */

static size_t bucket_of(const uint8_t key[KEY_SIZE])
{
	return get_be32(key + KEY_SIZE - 4) % BUCKETS;
}

static struct item **find_item(struct waiting *waiting, const uint8_t key[KEY_SIZE])
{
	struct item **at = &waiting->buckets[bucket_of(key)];
	while (*at && memcmp((*at)->key, key, KEY_SIZE) != 0) at = &(*at)->next;
	return at;
}

static void free_waiting(struct waiting *waiting)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (waiting->buckets[i]) {
			struct item *item = waiting->buckets[i];
			waiting->buckets[i] = item->next;
			free(item);
		}
	}
	waiting->count = 0;
}

int spaces_flush(struct spaces *spaces)
{
	(void)pthread_mutex_lock(&spaces->writing);
	(void)pthread_mutex_lock(&spaces->lock);
	struct waiting *waiting = spaces->fresh;
	spaces->fresh = spaces->in_write;
	spaces->in_write = waiting;
	(void)pthread_mutex_unlock(&spaces->lock);
	int rc = waiting->count ? write_waiting(spaces, waiting) : OK;
	if (rc && rc != ERR_CLOSED)
		log_warn(LOG_PLUGIN, "%zu cached values were not written (%s)", waiting->count, status_str(rc));
	(void)pthread_mutex_lock(&spaces->lock);
	free_waiting(waiting);
	(void)pthread_mutex_unlock(&spaces->lock);
	atomic_store(&spaces->shown_bytes, spaces->cache_bytes);
	metric_set(spaces->bytes, (int64_t)spaces->cache_bytes);
	(void)pthread_mutex_unlock(&spaces->writing);
	return rc;
}

static void *run(void *ctx)
{
	struct spaces *spaces = ctx;
	bool goes_on = true;
	while (goes_on) {
		int64_t until_us = clock_mono_us() + FLUSH_US;
		const struct timespec until = {.tv_sec = until_us / US_PER_SECOND,
					       .tv_nsec = until_us % US_PER_SECOND * 1000};
		(void)pthread_mutex_lock(&spaces->lock);
		if (!spaces->fresh->count && !spaces->should_stop)
			(void)pthread_cond_wait(&spaces->changed, &spaces->lock);
		if (!spaces->should_stop) (void)pthread_cond_timedwait(&spaces->changed, &spaces->lock, &until);
		goes_on = !spaces->should_stop;
		(void)pthread_mutex_unlock(&spaces->lock);
		(void)!spaces_flush(spaces); /* logged */
	}
	return NULL;
}

/* ── caches ──────────────────────────────────────────────────────────────── */

static int copy_cached(struct cached *item, struct arena *arena)
{
	return arena_str(arena, item->value, &item->value);
}

int cached_get(struct spaces *spaces, uint64_t space, struct str key, struct arena *arena, struct cached *out)
{
	uint8_t bytes[KEY_SIZE];
	struct store_txn *txn;
	struct str value;
	make_key('c', space, key, bytes);
	(void)pthread_mutex_lock(&spaces->lock);
	const struct item *item = *find_item(spaces->fresh, bytes);
	if (!item) item = *find_item(spaces->in_write, bytes);
	int rc = item ? read_item(item->value, key, out) : ERR_AGAIN;
	if (rc == OK) rc = copy_cached(out, arena);
	(void)pthread_mutex_unlock(&spaces->lock);
	if (rc != ERR_AGAIN) return rc;
	rc = store_begin(spaces->env, false, &txn);
	if (rc) return rc;
	rc = store_get(txn, spaces->items, str_of(bytes, KEY_SIZE), &value);
	if (rc == OK) rc = read_item(value, key, out);
	if (rc == OK) rc = copy_cached(out, arena);
	store_abort(txn);
	return rc;
}

void cached_put(struct spaces *spaces, uint64_t space, struct str key, const struct cached *value)
{
	size_t size = item_size(key, value->value);
	if (key.len > SPACE_KEY_MAX || value->value.len > SPACE_CACHED_MAX) return;
	struct item *item = malloc(sizeof *item + size);
	if (!item) return;
	char *bytes = (char *)(item + 1);
	write_item(bytes, key, value);
	make_key('c', space, key, item->key);
	item->value = str_of(bytes, size);
	item->usable_until = value->usable_until;
	(void)pthread_mutex_lock(&spaces->lock);
	struct item **at = find_item(spaces->fresh, item->key), *old = *at;
	bool has_room = old || spaces->fresh->count < WAITING_MAX;
	if (has_room) {
		item->next = old ? old->next : NULL;
		*at = item;
		if (!old && spaces->fresh->count++ == 0) (void)pthread_cond_signal(&spaces->changed);
	}
	(void)pthread_mutex_unlock(&spaces->lock);
	free(has_room ? old : item);
	if (!has_room) metric_add(spaces->dropped, 1);
}

uint64_t spaces_cache_bytes(struct spaces *spaces)
{
	return atomic_load(&spaces->shown_bytes);
}

/* ── key-values ──────────────────────────────────────────────────────────── */

int kv_get(struct spaces *spaces, uint64_t space, struct str key, void *value, size_t size, size_t *len)
{
	uint8_t bytes[KEY_SIZE];
	struct store_txn *txn;
	struct str found;
	struct cached item;
	*len = 0;
	if (key.len == 0 || key.len > SPACE_KEY_MAX) return ERR_INVALID;
	int rc = store_begin(spaces->env, false, &txn);
	if (rc) return rc;
	rc = store_get(txn, spaces->items, make_key('k', space, key, bytes), &found);
	if (rc == OK) rc = read_item(found, key, &item);
	if (rc == OK) {
		*len = item.value.len;
		if (size) memcpy(value, item.value.ptr, item.value.len < size ? item.value.len : size);
	}
	store_abort(txn);
	return rc;
}

int kv_put(struct spaces *spaces, uint64_t space, struct str key, struct str value, int64_t ttl_ms)
{
	uint8_t bytes[KEY_SIZE];
	char item[HEAD_SIZE + SPACE_KEY_MAX + SPACE_VALUE_MAX];
	struct store_txn *txn;
	if (key.len == 0 || key.len > SPACE_KEY_MAX || ttl_ms < 0) return ERR_INVALID;
	if (value.len > SPACE_VALUE_MAX) return ERR_TOO_LARGE;
	int64_t now = now_ms(), until = ttl_ms == 0 ? 0 : ttl_ms > INT64_MAX - now ? 0 : now + ttl_ms;
	const struct cached given = {.fresh_until = until, .usable_until = until, .value = value};
	write_item(item, key, &given);
	struct str row = value.len ? str_of(item, item_size(key, value)) : STR_NONE;
	(void)pthread_mutex_lock(&spaces->writing);
	int rc = store_begin(spaces->env, true, &txn);
	if (rc == OK) {
		rc = replace_item(spaces, txn, make_key('k', space, key, bytes), row, SPACE_KV_BYTES_MAX);
		if (rc)
			store_abort(txn);
		else
			rc = store_commit(txn);
	}
	(void)pthread_mutex_unlock(&spaces->writing);
	return rc;
}

/* ── life ────────────────────────────────────────────────────────────────── */

static int open_env(struct spaces *spaces, const char *store_path_)
{
	char path[4096];
	static const struct store_options options = {.map_bytes = MAP_BYTES, .max_dbs = 8, .format = ENV_FORMAT};
	int len = snprintf(path, sizeof path, "%s/plugins", store_path_);
	if (len < 0 || (size_t)len >= sizeof path) return ERR_INVALID;
	int rc = store_open(path, &options, &spaces->env);
	if (!rc) rc = store_db_open(spaces->env, "items", 0, &spaces->items);
	if (!rc) rc = store_db_open(spaces->env, "due", 0, &spaces->due);
	if (!rc) rc = store_db_open(spaces->env, "meta", 0, &spaces->meta);
	if (rc) log_error(LOG_PLUGIN, "what plugins keep cannot be opened: %s (%s)", path, status_str(rc));
	return rc;
}

int spaces_open(const char *store_path_, uint64_t cache_bytes, struct spaces **out)
{
	pthread_condattr_t attr;
	*out = NULL;
	struct spaces *spaces = calloc(1, sizeof *spaces);
	if (!spaces) return ERR_NOMEM;
	CHECK(pthread_mutex_init(&spaces->lock, NULL) == 0 && pthread_mutex_init(&spaces->writing, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&spaces->changed, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
	spaces->cache_max = cache_bytes;
	spaces->dropped = metric_get(METRIC_COUNTER, "cdpd_plugin_cache_dropped_total", NULL,
				     "Values that plugins' caches had no room for.");
	spaces->bytes = metric_get(METRIC_GAUGE, "cdpd_plugin_cache_bytes", NULL, "Bytes in plugins' caches.");
	spaces->fresh = calloc(1, sizeof *spaces->fresh);
	spaces->in_write = calloc(1, sizeof *spaces->in_write);
	int rc = spaces->fresh && spaces->in_write ? open_env(spaces, store_path_) : ERR_NOMEM;
	if (!rc && pthread_create(&spaces->thread, NULL, run, spaces)) rc = ERR_NOMEM;
	if (rc) {
		spaces_close(spaces);
		return rc;
	}
	spaces->has_thread = true;
	*out = spaces;
	return OK;
}

void spaces_close(struct spaces *spaces)
{
	if (!spaces) return;
	if (spaces->has_thread) {
		(void)pthread_mutex_lock(&spaces->lock);
		spaces->should_stop = true;
		(void)pthread_cond_broadcast(&spaces->changed);
		(void)pthread_mutex_unlock(&spaces->lock);
		(void)pthread_join(spaces->thread, NULL);
	}
	if (spaces->env) store_close(spaces->env);
	if (spaces->fresh) free_waiting(spaces->fresh);
	if (spaces->in_write) free_waiting(spaces->in_write);
	free(spaces->fresh);
	free(spaces->in_write);
	(void)pthread_cond_destroy(&spaces->changed);
	(void)pthread_mutex_destroy(&spaces->lock);
	(void)pthread_mutex_destroy(&spaces->writing);
	free(spaces);
}
