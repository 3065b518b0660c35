#include "fold/filter.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BUCKET_SLOTS     16u /* 64 bytes: one cache line */
#define FINGERPRINT_BITS 29
#define FINGERPRINT_MASK ((1u << FINGERPRINT_BITS) - 1)
#define SLOT_FREE        0u
/* Taken out: matches nothing (fingerprints are never 0) and does not end a probe. */
#define SLOT_GONE   (1u << FINGERPRINT_BITS)
#define SMALLEST    ((size_t)4096)
#define GROWTH      8
#define HUGE_ENOUGH ((size_t)4 << 20)

static uint32_t fingerprint_of(uint64_t hash)
{
	uint32_t fingerprint = (uint32_t)hash & FINGERPRINT_MASK;
	return fingerprint ? fingerprint : 1;
}

/* The high half chooses the bucket, the low half the fingerprint: they must not depend on one another. */
static uint32_t bucket_of(const struct filter_table *table, uint64_t hash)
{
	return (uint32_t)((hash >> 32) * table->bucket_count >> 32);
}

static uint32_t *bucket_at(const struct filter_table *table, uint32_t bucket)
{
	return table->slots + (size_t)bucket * BUCKET_SLOTS;
}

static size_t table_bytes(const struct filter_table *table)
{
	return (size_t)table->bucket_count * BUCKET_SLOTS * sizeof *table->slots;
}

static void table_release(struct filter_table *table)
{
	if (table->slots) munmap(table->slots, table_bytes(table));
	table->slots = NULL;
	table->bucket_count = 0;
	table->used = table->capacity = 0;
}

static size_t rounded_capacity(size_t ids)
{
	size_t capacity = SMALLEST;
	while (capacity < ids && capacity < FILTER_TABLE_IDS) capacity *= GROWTH;
	return capacity < FILTER_TABLE_IDS ? capacity : FILTER_TABLE_IDS;
}

static int table_allocate(struct filter_table *table, size_t ids)
{
	size_t capacity = rounded_capacity(ids);
	size_t slots = capacity + capacity * 3 / 17; /* 85 % full at most */
	uint32_t buckets = (uint32_t)(slots / BUCKET_SLOTS + 1);
	size_t bytes = (size_t)buckets * BUCKET_SLOTS * sizeof *table->slots;
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED) return ERR_NOMEM;
	/* Every look-up is a random access: fewer TLB misses. Refusal costs nothing but speed. */
	if (bytes >= HUGE_ENOUGH) (void)madvise(map, bytes, MADV_HUGEPAGE);
	table_release(table);
	table->slots = map;
	table->bucket_count = buckets;
	table->capacity = capacity;
	return OK;
}

void filter_init(struct filter *filter)
{
	memset(filter, 0, sizeof *filter);
}

void filter_fini(struct filter *filter)
{
	for (size_t i = 0; i < filter->table_count; i++) table_release(&filter->tables[i]);
	free(filter->tables);
	filter_init(filter);
}

static struct filter_table *find_table(const struct filter *filter, uint32_t generation)
{
	uint32_t number = generation / FILTER_TABLE_GENERATIONS;
	for (size_t i = filter->table_count; i-- > 0 && filter->tables[i].number >= number;) {
		if (filter->tables[i].number == number) return &filter->tables[i];
	}
	return NULL;
}

static int new_table(struct filter *filter, uint32_t generation, struct filter_table **out)
{
	uint32_t number = generation / FILTER_TABLE_GENERATIONS;
	if (filter->table_count == filter->table_capacity) {
		size_t capacity = filter->table_capacity ? filter->table_capacity * 2 : 16;
		struct filter_table *tables = realloc(filter->tables, capacity * sizeof *tables);
		if (!tables) return ERR_NOMEM;
		filter->tables = tables;
		filter->table_capacity = capacity;
	}
	size_t at = filter->table_count;
	while (at > 0 && filter->tables[at - 1].number > number) at--;
	memmove(filter->tables + at + 1, filter->tables + at, (filter->table_count - at) * sizeof *filter->tables);
	filter->table_count++;
	filter->tables[at] = (struct filter_table){.number = number};
	*out = &filter->tables[at];
	return OK;
}

#define LANES __attribute__((vector_size(16)))

static bool any_lane(int32_t LANES lanes)
{
	uint64_t halves[2];
	memcpy(halves, &lanes, sizeof halves);
	return (halves[0] | halves[1]) != 0;
}

/* Does a slot carry the fingerprint, and is one free? Four slots at a time: a table is asked for every event. */
static bool bucket_scan(const uint32_t *slots, uint32_t fingerprint, bool *has_free)
{
	int32_t LANES hits = {0}, free_slots = {0};
	for (unsigned i = 0; i < BUCKET_SLOTS; i += 4) {
		uint32_t LANES lanes;
		memcpy(&lanes, slots + i, sizeof lanes);
		hits |= (lanes & FINGERPRINT_MASK) == fingerprint;
		free_slots |= lanes == SLOT_FREE;
	}
	*has_free = any_lane(free_slots);
	return any_lane(hits);
}

static int report_hits(const struct filter_table *table, const uint32_t *slots, uint32_t fingerprint,
		       int (*fn)(void *ctx, uint32_t generation), void *ctx)
{
	for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
		if ((slots[i] & FINGERPRINT_MASK) != fingerprint) continue;
		int rc = fn(ctx, table->number * FILTER_TABLE_GENERATIONS + (slots[i] >> FINGERPRINT_BITS));
		if (rc) return rc;
	}
	return 0;
}

static int table_find(const struct filter_table *table, uint64_t hash, int (*fn)(void *ctx, uint32_t generation),
		      void *ctx)
{
	uint32_t fingerprint = fingerprint_of(hash);
	uint32_t bucket = bucket_of(table, hash);
	for (uint32_t probed = 0; probed < table->bucket_count; probed++) {
		const uint32_t *slots = bucket_at(table, bucket);
		bool has_free;
		if (bucket_scan(slots, fingerprint, &has_free)) {
			int rc = report_hits(table, slots, fingerprint, fn, ctx);
			if (rc) return rc;
		}
		if (has_free) break;
		if (++bucket == table->bucket_count) bucket = 0;
	}
	return 0;
}

int filter_find(const struct filter *filter, uint64_t hash, int (*fn)(void *ctx, uint32_t generation), void *ctx)
{
	/* The tables' lines are fetched side by side: ten cache misses for the price of one or two. */
	for (size_t i = 0; i < filter->table_count; i++) {
		__builtin_prefetch(bucket_at(&filter->tables[i], bucket_of(&filter->tables[i], hash)));
	}
	for (size_t i = filter->table_count; i-- > 0;) {
		int rc = table_find(&filter->tables[i], hash, fn, ctx);
		if (rc) return rc;
	}
	return 0;
}

static void table_put(struct filter_table *table, uint64_t hash, uint32_t entry)
{
	uint32_t bucket = bucket_of(table, hash);
	for (;;) {
		uint32_t *slots = bucket_at(table, bucket);
		for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
			if (slots[i] != SLOT_FREE && slots[i] != SLOT_GONE) continue;
			if (slots[i] == SLOT_FREE) table->used++;
			slots[i] = entry;
			return;
		}
		if (++bucket == table->bucket_count) bucket = 0;
	}
}

static uint32_t entry_of(uint32_t generation, uint64_t hash)
{
	return (generation % FILTER_TABLE_GENERATIONS) << FINGERPRINT_BITS | fingerprint_of(hash);
}

int filter_add(struct filter *filter, uint32_t generation, uint64_t hash)
{
	struct filter_table *table = find_table(filter, generation);
	if (!table) {
		/* The next table will most likely hold as much as the last one did. */
		size_t ids = filter->table_count ? filter->tables[filter->table_count - 1].used : 0;
		int rc = filter_remake(filter, generation, ids);
		if (rc) return rc;
		table = find_table(filter, generation);
	}
	if (table->used >= table->capacity) return ERR_TOO_LARGE;
	table_put(table, hash, entry_of(generation, hash));
	return OK;
}

void filter_remove(struct filter *filter, uint32_t generation, uint64_t hash)
{
	struct filter_table *table = find_table(filter, generation);
	if (!table) return;
	uint32_t entry = entry_of(generation, hash);
	uint32_t bucket = bucket_of(table, hash);
	for (uint32_t probed = 0; probed < table->bucket_count; probed++) {
		uint32_t *slots = bucket_at(table, bucket);
		for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
			if (slots[i] == SLOT_FREE) return;
			if (slots[i] != entry) continue;
			slots[i] = SLOT_GONE;
			return;
		}
		if (++bucket == table->bucket_count) bucket = 0;
	}
}

int filter_remake(struct filter *filter, uint32_t generation, size_t ids)
{
	struct filter_table *table = find_table(filter, generation);
	if (table) return table_allocate(table, ids);
	struct filter_table fresh = {.number = generation / FILTER_TABLE_GENERATIONS};
	int rc = table_allocate(&fresh, ids);
	if (rc) return rc;
	rc = new_table(filter, generation, &table);
	if (rc) {
		table_release(&fresh);
		return rc;
	}
	*table = fresh;
	return OK;
}

size_t filter_larger(const struct filter *filter, uint32_t generation)
{
	const struct filter_table *table = find_table(filter, generation);
	return table ? table->capacity + 1 : SMALLEST;
}

void filter_drop_below(struct filter *filter, uint32_t floor)
{
	size_t gone = 0;
	while (gone < filter->table_count && (filter->tables[gone].number + 1) * FILTER_TABLE_GENERATIONS <= floor) {
		table_release(&filter->tables[gone++]);
	}
	if (!gone) return;
	filter->table_count -= gone;
	memmove(filter->tables, filter->tables + gone, filter->table_count * sizeof *filter->tables);
}

size_t filter_bytes(const struct filter *filter)
{
	size_t bytes = 0;
	for (size_t i = 0; i < filter->table_count; i++) bytes += table_bytes(&filter->tables[i]);
	return bytes;
}
