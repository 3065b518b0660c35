/* spaces: what plugins keep across restarts, in `plugins/` of the data directory: their key-values, durable when put, and the values of their caches, written
 * behind. Each instance has a space of its own, by its name. Caches are bounded together: what ends first makes room.
 *
 *   items   kind u8 ('k' key-value, 'c' cache) · space u64 BE · hash of the key 16
 *           value  format u8 · flags u8 (1: "there is none") · key length u16 · fresh until i64 · usable until i64 (0: for ever) · key · value
 *   due     usable until u64 BE · the item's key                                     value  its bytes u32
 *   meta    "b": bytes of the caches u64; "k" · space: bytes of its key-values u64
 * All times are ms of wall time. */
#pragma once

#include "base/arena.h"
#include "base/metric.h"

struct spaces;

#define SPACE_KEY_MAX        255
#define SPACE_VALUE_MAX      1900                  /* of a key-value */
#define SPACE_CACHED_MAX     65536                 /* of a cached value */
#define SPACE_KV_BYTES_MAX   ((uint64_t)64 << 20)  /* of one instance */
#define SPACES_CACHE_DEFAULT ((uint64_t)256 << 20) /* of all instances */

/* Opens or creates `store_path`/plugins. ERR_FORMAT: from a newer cdpd. */
MUST_USE int spaces_open(const char *store_path, uint64_t cache_bytes, struct spaces **out);
void spaces_close(struct spaces *spaces); /* writes what waits; nobody uses it any more */
uint64_t space_of(struct str instance);

/* Any thread. At most `size` bytes are copied, *len is the whole length. ERR_NOT_FOUND. */
MUST_USE int kv_get(struct spaces *spaces, uint64_t space, struct str key, void *value, size_t size, size_t *len);
/* Durable when it returns OK. An empty value deletes. ERR_TOO_LARGE: the space is full. */
MUST_USE int kv_put(struct spaces *spaces, uint64_t space, struct str key, struct str value, int64_t ttl_ms);

struct cached {
	bool is_negative;
	int64_t fresh_until, usable_until; /* ms */
	struct str value;
};
/* Copies into the arena. ERR_NOT_FOUND: nothing usable. */
MUST_USE int cached_get(struct spaces *spaces, uint64_t space, struct str key, struct arena *arena, struct cached *out);
/* Dropped when there is no room for it or memory: a cache may forget. */
void cached_put(struct spaces *spaces, uint64_t space, struct str key, const struct cached *value);
/* Writes what waits, now (the thread does it by itself). */
MUST_USE int spaces_flush(struct spaces *spaces);
uint64_t spaces_cache_bytes(struct spaces *spaces); /* as last written */
