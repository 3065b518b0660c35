/* sorter: sorts what may be more than memory holds: pairs of a time and a position, as sorted runs in a file that are merged as they are read. */
#pragma once

#include "base/status.h"

struct sorter;

#define SORTER_RUN ((size_t)1 << 21) /* pairs held in memory: 32 MB, and as much while they are sorted */

/* `path`: of a new file, only made when more than `run` pairs come. ERR_NOMEM. */
MUST_USE int sorter_new(const char *path, size_t run, struct sorter **out);
void sorter_free(struct sorter *sorter);
MUST_USE int sorter_add(struct sorter *sorter, int64_t at_us, uint64_t seq); /* ERR_FULL, ERR_IO, ERR_NOMEM */
MUST_USE int sorter_start(struct sorter *sorter);                            /* nothing is added after it */
/* By time, then by position. ERR_NOT_FOUND: that was the last. */
MUST_USE int sorter_next(struct sorter *sorter, int64_t *at_us, uint64_t *seq);
