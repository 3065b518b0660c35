/* read_pool: the threads on which cold pages may fault. A job is handed over with read_pool_submit, worked on by one of
 * them and comes back to the loop that sent it. It knows nothing of requests: answer.h and feed.h put those on top.
 *
 * A job belongs to its sender's thread, except between submit and `done`, when only `is_cancelled` may be touched. */
#pragma once

#include <stdatomic.h>

#include "base/json.h"
#include "base/loop.h"
#include "journal/journal.h"
#include "profile/people.h"

#define READ_THREADS       2
#define READ_QUEUE_MAX     256
#define READ_SCRATCH_BYTES (64u << 20)

/* What a pool thread lends to the job it works on. */
struct read_thread {
	struct people_reader *people;
	struct json_reader *json;
	struct arena scratch; /* empty at the start of each job */
	struct buf text;      /* scratch too */
	struct journal_batch batch;
};

struct read_job {
	struct read_job *next; /* the pool's */
	void (*work)(struct read_job *job,
		     struct read_thread *thread); /* on a pool thread; skipped when cancelled in time */
	void (*done)(struct read_job *job);       /* on the sender's loop, exactly once for each OK of submit */
	atomic_bool is_cancelled;                 /* a long `work` looks at it now and then */

	/* the pool's */
	struct read_owner *owner;
	struct read_job *owner_next, **owner_link;
	struct loop_task returned;
};

/* The jobs of one loop: so that none is posted to a loop that has ended. Embedded; only touched by the pool. */
struct read_owner {
	struct loop *loop;
	struct read_job *jobs; /* submitted, not yet done */
	size_t in_pool;        /* of those, not yet posted back; under the pool's lock */
	bool is_settled;       /* takes no more */
};

struct read_pool;
MUST_USE int read_pool_new(struct people *people, struct read_pool **out);
/* Of so many threads, READ_THREADS at most: one of a single thread works its jobs off in the order in which they came. */
MUST_USE int read_pool_new_of(struct people *people, size_t threads, struct read_pool **out);
/* Every owner was settled before. Stops and joins the threads. */
void read_pool_free(struct read_pool *pool);

void read_owner_init(struct read_owner *owner, struct loop *loop);
/* On the owner's thread, when its loop will not run again: cancels its jobs, waits until the pool has let go of them and calls
 * `done` of each. */
void read_owner_settle(struct read_pool *pool, struct read_owner *owner);

/* From the owner's thread. ERR_BUSY: the queue is full; ERR_CLOSED: settled; `done` will not be called then. */
MUST_USE int read_pool_submit(struct read_pool *pool, struct read_owner *owner, struct read_job *job);
/* `done` is still called; `work` is skipped or told through is_cancelled. */
void read_job_cancel(struct read_job *job);
size_t read_pool_queued(struct read_pool *pool); /* any thread */
