/* profile_lookup: persons by reference, one on the io thread or many on a pool thread, whatever face asks. */
#pragma once

#include "api/internal.h"

#define LOOKUP_MAX 100 /* references at once */

/* One person now. The result lives in worker->scratch until its next read. Errors as people_get's; *applied is told either way. */
MUST_USE int profile_read(struct api_worker *worker, struct str ref, unsigned parts, int64_t now,
			  struct profile *profile, uint64_t *applied);

/* Each in its own snapshot. `problem`: NONE, NOT_FOUND or INVALID_PARAMETER. Non-zero stops with that status. */
typedef int (*lookup_fn)(void *ctx, struct read_thread *thread, struct str ref, enum problem problem,
			 const struct profile *profile, uint64_t applied);
struct lookup {
	struct str *refs;
	size_t count;
};
/* *applied: of the oldest snapshot, which holds for all. */
MUST_USE int profile_lookup(struct read_thread *thread, const struct lookup *lookup, const atomic_bool *is_cancelled,
			    lookup_fn fn, void *ctx, uint64_t *applied);
