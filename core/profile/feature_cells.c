#include "profile/feature_cells.h"

#define INDEX_MAX (INT64_C(1) << 60)

bool cells_are_valid(const void *state, uint32_t len, int64_t keep)
{
	const struct cell *cells = state;
	size_t count = len / sizeof *cells;
	if (len % sizeof *cells != 0 || count > (uint64_t)keep) return false;
	for (size_t i = 1; i < count; i++)
		if (cells[i].index <= cells[i - 1].index) return false;
	if (count == 0) return true;
	return cells[0].index >= -INDEX_MAX && cells[count - 1].index <= INDEX_MAX &&
	       cells[count - 1].index - cells[0].index < keep;
}

static int change(struct cell *cell, feature_int by)
{
	feature_int sum;
	if (__builtin_add_overflow(cell_sum(cell), by, &sum)) return -1;
	cell->low = (uint64_t)(feature_uint)sum;
	cell->high = (int64_t)((feature_uint)sum >> 64);
	return 0;
}

/* A newer index than any: those that are now too old go first. */
static void drop_old(struct cell *cells, size_t *count, int64_t oldest)
{
	size_t gone = 0;
	while (gone < *count && cells[gone].index < oldest) gone++;
	*count -= gone;
	memmove(cells, cells + gone, *count * sizeof *cells);
}

int cells_add(void *state, uint32_t *len, int64_t keep, int64_t index, feature_int by)
{
	struct cell *cells = state;
	size_t count = *len / sizeof *cells, at = count;
	if (count && index <= cells[count - 1].index - keep) return 0;
	while (at > 0 && cells[at - 1].index >= index) at--;
	if (at < count && cells[at].index == index) return change(&cells[at], by);
	if (at == count) {
		drop_old(cells, &count, index - keep + 1);
		at = count;
	}
	memmove(cells + at + 1, cells + at, (count - at) * sizeof *cells);
	cells[at] = (struct cell){.index = index};
	*len = (uint32_t)((count + 1) * sizeof *cells);
	return change(&cells[at], by);
}

int cells_merge(void *into, uint32_t *len, int64_t keep, const void *other, uint32_t other_len)
{
	const struct cell *from = other;
	if (!cells_are_valid(into, *len, keep) || !cells_are_valid(other, other_len, keep)) return -1;
	for (size_t i = 0; i < other_len / sizeof *from; i++)
		if (cells_add(into, len, keep, from[i].index, cell_sum(&from[i]))) return -1;
	return 0;
}
