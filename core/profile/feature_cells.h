/* feature_cells: sums by stretch of time, the state of window and decayed: cells {index, sum} ordered by index, of which only the latest
 * `keep` indexes up to the newest one are held. What a cell holds at the end was never dropped on the way, so the
 * bytes do not depend on the order of adds and merges. */
#pragma once

#include "profile/feature_value.h"

struct cell {
	int64_t index;
	uint64_t low;
	int64_t high;
};

static inline feature_int cell_sum(const struct cell *cell)
{
	return (feature_int)((feature_uint)(uint64_t)cell->high << 64 | cell->low);
}

/* Whole cells, ascending, none older than `keep` allows. */
bool cells_are_valid(const void *state, uint32_t len, int64_t keep);

/* 0, also when the index is too old to matter; -1: the sum would not fit 128 bits. */
int cells_add(void *state, uint32_t *len, int64_t keep, int64_t index, feature_int by);
int cells_merge(void *into, uint32_t *len, int64_t keep, const void *other, uint32_t other_len);
