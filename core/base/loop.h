/* loop: one thread's libevent base and the way into it from other threads.
 *
 * loop_post is, with the bounded queues, the only crossing between threads. A task is
 * embedded in the object it is about, so posting never allocates and never fails; the
 * posted object belongs to the loop's thread from the post until `run` is called. */
#pragma once

#include "base/status.h"

struct event_base;
struct loop;

struct loop_task {
	struct loop_task *next;
	void (*run)(struct loop_task *task); /* on the loop's thread */
};

MUST_USE int loop_new(struct loop **out);
void loop_free(struct loop *loop); /* tasks still queued are dropped, not run */
struct event_base *loop_base(struct loop *loop);
void loop_run(struct loop *loop);  /* until loop_stop */
void loop_stop(struct loop *loop); /* from any thread */
/* From any thread; tasks run in the order posted. */
void loop_post(struct loop *loop, struct loop_task *task);
/* Posts the chain first..last (linked by next) with one wake-up. */
void loop_post_chain(struct loop *loop, struct loop_task *first, struct loop_task *last);
/* After loop_run has returned, when the objects of tasks still queued are about to be freed: they will never run. */
void loop_forget_tasks(struct loop *loop);
bool loop_is_current(const struct loop *loop); /* called on the loop's own thread? */
