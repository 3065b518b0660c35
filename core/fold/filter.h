/* filter: which generation may hold an id, in 32 bits an id. An open-addressing table for every eight generations; an entry
 * is the generation's number inside its table (3 bits) and a fingerprint (29 bits), in buckets of one cache line.
 *
 * It answers "certainly not" or "perhaps, look in generation g": never a false "not". The fold's thread owns it. It must not
 * know where ids come from nor how long they are kept. */
#pragma once

#include "base/status.h"

#define FILTER_TABLE_GENERATIONS 8
#define FILTER_TABLE_IDS         ((size_t)FILTER_TABLE_GENERATIONS << 18) /* a full-size table's */

struct filter_table {
	uint32_t *slots;       /* bucket_count lines of 16; 0: free */
	uint32_t bucket_count; /* 0: nothing allocated yet */
	uint32_t number;       /* generation / FILTER_TABLE_GENERATIONS */
	size_t used, capacity; /* ids (taken-out ones included) and how many it takes */
};
struct filter {
	struct filter_table *tables; /* ascending number */
	size_t table_count, table_capacity;
};

void filter_init(struct filter *filter); /* allocates nothing */
void filter_fini(struct filter *filter);

/* Calls `fn` for each generation that may hold the id, newest table first; non-zero stops and is returned. */
int filter_find(const struct filter *filter, uint64_t hash, int (*fn)(void *ctx, uint32_t generation), void *ctx);
/* Tables are made as ids arrive. ERR_TOO_LARGE: the generation's table is full and must be remade larger
 * (filter_remake) from what it held; ERR_NOMEM. Generations older than the newest table's only after filter_remake. */
MUST_USE int filter_add(struct filter *filter, uint32_t generation, uint64_t hash);
/* Takes one added id out again. */
void filter_remove(struct filter *filter, uint32_t generation, uint64_t hash);
/* An empty table for the generation, with room for `ids` (rounded up), in the place of what was there. ERR_NOMEM: nothing changed. */
MUST_USE int filter_remake(struct filter *filter, uint32_t generation, size_t ids);
/* How many ids the next larger table takes. */
size_t filter_larger(const struct filter *filter, uint32_t generation);
/* Gives back every table that holds only generations below `floor`. */
void filter_drop_below(struct filter *filter, uint32_t floor);
size_t filter_bytes(const struct filter *filter);
