/* labels: the events that a label counts, by fragment and time, until the windows that may see them are closed. On disk, in an env of their
 * own that nothing of is kept. One thread. */
#pragma once

#include "store/store.h"

struct labels;

MUST_USE int labels_open(const char *path, struct labels **out);
void labels_close(struct labels *labels);
/* At most one for each position. */
MUST_USE int labels_put(struct labels *labels, const uint8_t fragment[16], int64_t at_us, uint64_t seq, double value);
/* Adds what happened to the fragment after `after_us` and up to `until_us`, included. */
MUST_USE int labels_sum(struct labels *labels, const uint8_t fragment[16], int64_t after_us, int64_t until_us,
			double *sum, uint64_t *count);
