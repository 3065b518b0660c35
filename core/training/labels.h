/* labels: the events that a label counts, by fragment and time, until the windows that may see them are closed. A table of the job's own people: what
 * is put belongs to their open transaction. */
#pragma once

#include "profile/people.h"

struct labels {
	struct people *people;
	store_db events;
};

MUST_USE int labels_open(struct labels *labels, struct people *people); /* before the first transaction */
/* At most one for each position. */
MUST_USE int labels_put(const struct labels *labels, const uint8_t fragment[16], int64_t at_us, uint64_t seq,
			double value);
/* Adds what happened to the fragment after `after_us` and up to `until_us`, included. */
MUST_USE int labels_sum(const struct labels *labels, const uint8_t fragment[16], int64_t after_us, int64_t until_us,
			double *sum, uint64_t *count);
