/* dedup_row: the bytes of the dedup tables. Integers are big-endian where they order, and everywhere else too.
 *
 *   db dedup       key    part u32 (= seq >> 16), first 12 bytes of the keyed hash of source id, NUL, message id
 *                  value  canonical hash u64, seq u64
 * A generation's rows lie in four parts, one after the other, so that a transaction's inserts touch a few hundred pages and
 * not the thousands of a whole generation; only an id that the filter knows pays for it, with up to four look-ups.
 *
 *   db dedup_meta  "k"                 the hash's key, 16 random bytes, made once
 *                  "s"                 the state: floor, held, forgotten_t, maybe_duplicates; u64 each
 *                  "g", generation u32 its ids u64 and its newest record's t u64 */
#pragma once

#include "base/encode.h"
#include "base/hash.h"

#define DEDUP_DB              "dedup"
#define DEDUP_META_DB         "dedup_meta"
#define DEDUP_GENERATION_BITS 18
#define DEDUP_PART_BITS       16
#define DEDUP_PARTS           (1u << (DEDUP_GENERATION_BITS - DEDUP_PART_BITS)) /* of a generation */
#define DEDUP_HASH_SIZE       12
#define DEDUP_KEY_SIZE        (4 + DEDUP_HASH_SIZE)
#define DEDUP_VALUE_SIZE      16
#define DEDUP_STATE_SIZE      32
#define DEDUP_GENERATION_SIZE 16

static inline uint32_t dedup_generation(uint64_t seq)
{
	return (uint32_t)(seq >> DEDUP_GENERATION_BITS);
}

static inline uint32_t dedup_part(uint64_t seq)
{
	return (uint32_t)(seq >> DEDUP_PART_BITS);
}

static inline uint32_t dedup_key_generation(const uint8_t key[DEDUP_KEY_SIZE])
{
	return get_be32(key) / DEDUP_PARTS;
}

/* What the filter knows an id by: derived from the row's key alone, so that it can be rebuilt. */
static inline uint64_t dedup_key_filter_hash(const uint8_t key[DEDUP_KEY_SIZE])
{
	return get_be64(key + 4);
}

static inline void dedup_value_write(uint8_t out[DEDUP_VALUE_SIZE], uint64_t canonical_hash, uint64_t seq)
{
	put_be64(out, canonical_hash);
	put_be64(out + 8, seq);
}

static inline void dedup_generation_key(uint8_t out[5], uint32_t generation)
{
	out[0] = 'g';
	put_be32(out + 1, generation);
}
