#include "api/profile_lookup.h"

#include "api/ref.h"
#include "base/clock.h"

int profile_read(struct api_worker *worker, struct str ref, unsigned parts, int64_t now, struct profile *profile,
		 uint64_t *applied)
{
	arena_reset(&worker->scratch);
	int rc = people_read_begin(worker->reader, applied);
	if (rc != OK) return rc;
	rc = people_get(worker->reader, ref, parts, now, &worker->scratch, profile);
	people_read_end(worker->reader);
	return rc;
}

static int look_up(struct read_thread *thread, struct str ref, lookup_fn fn, void *ctx, uint64_t *oldest)
{
	struct profile profile;
	uint64_t applied;
	struct str message;
	arena_reset(&thread->scratch);
	int rc = people_read_begin(thread->people, &applied);
	if (rc != OK) return rc;
	rc = people_get(thread->people, ref, PROFILE_ALL, clock_wall_us(), &thread->scratch, &profile);
	people_read_end(thread->people);
	enum problem problem = ref_problem(rc, &message);
	if (problem == PROBLEM_INTERNAL) return rc;
	if (!*oldest) *oldest = applied;
	return fn(ctx, thread, ref, problem, &profile, applied);
}

int profile_lookup(struct read_thread *thread, const struct lookup *lookup, const atomic_bool *is_cancelled,
		   lookup_fn fn, void *ctx, uint64_t *applied)
{
	int rc = OK;
	*applied = 0;
	for (size_t i = 0; i < lookup->count && rc == OK && !atomic_load(is_cancelled); i++)
		rc = look_up(thread, lookup->refs[i], fn, ctx, applied);
	return rc;
}
