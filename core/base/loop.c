#include "base/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOP_MAGIC 0x6c6f6f70u

struct loop {
	uint32_t magic;
	int wake_fd;
	struct event_base *base;
	struct event *wake;
	pthread_mutex_t lock;
	struct loop_task *first, *last; /* under lock */
	atomic_bool should_stop;
	atomic_bool is_running;
	_Atomic(pthread_t) thread;
};

/* Tasks that these tasks post wait for the next round, so that sockets get their turn between. */
static void run_tasks(struct loop *loop)
{
	(void)pthread_mutex_lock(&loop->lock);
	struct loop_task *task = loop->first;
	loop->first = loop->last = NULL;
	(void)pthread_mutex_unlock(&loop->lock);
	while (task) {
		struct loop_task *next = task->next; /* run() may free or post the task again */
		task->next = NULL;
		task->run(task);
		task = next;
	}
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	uint64_t count;
	(void)what;
	CHECK(loop->magic == LOOP_MAGIC);
	/* Before the list is taken: a post that comes later then wakes us again. */
	if (read((int)fd, &count, sizeof count) < 0) CHECK(errno == EAGAIN || errno == EINTR);
	run_tasks(loop);
	if (atomic_load(&loop->should_stop)) (void)event_base_loopbreak(loop->base);
}

static void wake_up(struct loop *loop)
{
	const uint64_t one = 1;
	/* EAGAIN means the counter is full: the loop is awake already. */
	while (write(loop->wake_fd, &one, sizeof one) < 0 && errno == EINTR) continue;
}

/* The base is only ever touched by its own thread, so libevent need not lock it. */
static struct event_base *new_base(void)
{
	struct event_config *config = event_config_new();
	if (!config) return NULL;
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	struct event_base *base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

int loop_new(struct loop **out)
{
	struct loop *loop = calloc(1, sizeof *loop);
	if (!loop) return ERR_NOMEM;
	loop->magic = LOOP_MAGIC;
	(void)pthread_mutex_init(&loop->lock, NULL);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->base = new_base();
	if (loop->wake_fd >= 0 && loop->base)
		loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
	if (!loop->wake || event_add(loop->wake, NULL) != 0) {
		int rc = loop->wake_fd < 0 ? ERR_IO : ERR_NOMEM;
		loop_free(loop);
		return rc;
	}
	*out = loop;
	return OK;
}

void loop_free(struct loop *loop)
{
	if (!loop) return;
	CHECK(loop->magic == LOOP_MAGIC && !atomic_load(&loop->is_running));
	if (loop->wake) event_free(loop->wake);
	if (loop->base) event_base_free(loop->base);
	if (loop->wake_fd >= 0) (void)close(loop->wake_fd);
	(void)pthread_mutex_destroy(&loop->lock);
	loop->magic = 0;
	free(loop);
}

struct event_base *loop_base(struct loop *loop)
{
	return loop->base;
}

void loop_run(struct loop *loop)
{
	atomic_store(&loop->thread, pthread_self());
	atomic_store(&loop->is_running, true);
	do {
		/* A first round even when told to stop already: it runs what was posted before. A callback that
		 * breaks the base's loop ends a round only. */
		CHECK(event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY) >= 0);
	} while (!atomic_load(&loop->should_stop));
	atomic_store(&loop->should_stop, false);
	atomic_store(&loop->is_running, false);
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->should_stop, true);
	wake_up(loop);
}

void loop_post_chain(struct loop *loop, struct loop_task *first, struct loop_task *last)
{
	last->next = NULL;
	(void)pthread_mutex_lock(&loop->lock);
	bool was_empty = !loop->first;
	if (was_empty)
		loop->first = first;
	else
		loop->last->next = first;
	loop->last = last;
	(void)pthread_mutex_unlock(&loop->lock);
	if (was_empty) wake_up(loop);
}

void loop_post(struct loop *loop, struct loop_task *task)
{
	loop_post_chain(loop, task, task);
}

void loop_forget_tasks(struct loop *loop)
{
	(void)pthread_mutex_lock(&loop->lock);
	loop->first = loop->last = NULL;
	(void)pthread_mutex_unlock(&loop->lock);
}

bool loop_is_current(const struct loop *loop)
{
	return atomic_load(&loop->is_running) && pthread_equal(atomic_load(&loop->thread), pthread_self());
}
