#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/base_test.h"
#include "base/loop.h"

#define THREADS 8
#define POSTS   20000

struct numbered {
	struct loop_task task; /* first: cast back */
	struct run *run;
	int thread, number;
};

struct run {
	struct loop *loop;
	int next[THREADS]; /* touched on the loop's thread only */
	int done;
};

static void on_numbered(struct loop_task *task)
{
	struct numbered *n = (struct numbered *)task;
	struct run *run = n->run;
	assert_true(loop_is_current(run->loop));
	assert_int_equal(n->number, run->next[n->thread]);
	run->next[n->thread]++;
	if (++run->done == THREADS * POSTS) loop_stop(run->loop);
	free(n);
}

struct poster {
	pthread_t thread;
	struct run *run;
	int number;
};

static struct numbered *make(struct poster *poster, int number)
{
	struct numbered *n = calloc(1, sizeof *n);
	CHECK(n);
	*n = (struct numbered){.task.run = on_numbered, .run = poster->run, .thread = poster->number, .number = number};
	return n;
}

/* Single posts and chains by turns. */
static void *post_many(void *arg)
{
	struct poster *poster = arg;
	for (int i = 0; i < POSTS;) {
		struct numbered *first = make(poster, i++), *last = first;
		if (i % 3 == 0) {
			for (int k = 0; k < 5 && i < POSTS; k++) {
				struct numbered *next = make(poster, i++);
				last->task.next = &next->task;
				last = next;
			}
			loop_post_chain(poster->run->loop, &first->task, &last->task);
		} else {
			loop_post(poster->run->loop, &first->task);
		}
	}
	return NULL;
}

static void many_threads_post_in_order(void **state)
{
	struct run run = {0};
	struct poster posters[THREADS];
	(void)state;
	assert_ok(loop_new(&run.loop));
	for (int i = 0; i < THREADS; i++) {
		posters[i] = (struct poster){.run = &run, .number = i};
		assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
	}
	loop_run(run.loop);
	assert_int_equal(run.done, THREADS * POSTS);
	for (int i = 0; i < THREADS; i++) {
		(void)pthread_join(posters[i].thread, NULL);
		assert_int_equal(run.next[i], POSTS);
	}
	loop_free(run.loop);
}

struct counter {
	struct loop_task task;
	struct loop *loop;
	int left, runs;
};

static void on_again(struct loop_task *task)
{
	struct counter *c = (struct counter *)task;
	c->runs++;
	if (--c->left > 0)
		loop_post(c->loop, &c->task);
	else
		loop_stop(c->loop);
}

static void a_task_may_post_itself_again(void **state)
{
	struct counter c = {.task.run = on_again, .left = 1000};
	(void)state;
	assert_ok(loop_new(&c.loop));
	loop_post(c.loop, &c.task);
	loop_run(c.loop);
	assert_int_equal(c.runs, 1000);
	loop_free(c.loop);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	loop_stop(arg);
}

/* A task that never stops posting itself must not starve timers and sockets. */
static void self_posting_does_not_starve_events(void **state)
{
	struct counter c = {.task.run = on_again, .left = INT32_MAX};
	const struct timeval soon = {.tv_usec = 20000};
	(void)state;
	assert_ok(loop_new(&c.loop));
	struct event *timer = event_new(loop_base(c.loop), -1, 0, on_timer, c.loop);
	assert_int_equal(event_add(timer, &soon), 0);
	loop_post(c.loop, &c.task);
	loop_run(c.loop);
	assert_true(c.runs > 0);
	event_free(timer);
	loop_free(c.loop);
}

static void stop_before_run_still_runs_what_was_posted(void **state)
{
	struct counter c = {.task.run = on_again, .left = 2};
	(void)state;
	assert_ok(loop_new(&c.loop));
	loop_post(c.loop, &c.task);
	loop_stop(c.loop);
	assert_false(loop_is_current(c.loop));
	loop_run(c.loop);
	assert_int_equal(c.runs, 1);
	assert_false(loop_is_current(c.loop));
	loop_run(c.loop); /* may run again: the second post is still queued */
	assert_int_equal(c.runs, 2);
	loop_free(c.loop);
}

static void queued_tasks_are_dropped_by_free(void **state)
{
	struct counter c = {.task.run = on_again, .left = 1};
	(void)state;
	assert_ok(loop_new(&c.loop));
	loop_post(c.loop, &c.task);
	loop_free(c.loop);
	assert_int_equal(c.runs, 0);
	loop_free(NULL);
}

static void *stop_it(void *arg)
{
	loop_stop(arg);
	return NULL;
}

static void stop_from_another_thread(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		struct loop *loop;
		pthread_t thread;
		assert_ok(loop_new(&loop));
		assert_int_equal(pthread_create(&thread, NULL, stop_it, loop), 0);
		loop_run(loop);
		(void)pthread_join(thread, NULL);
		loop_free(loop);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(many_threads_post_in_order),
	    cmocka_unit_test(a_task_may_post_itself_again),
	    cmocka_unit_test(self_posting_does_not_starve_events),
	    cmocka_unit_test(stop_before_run_still_runs_what_was_posted),
	    cmocka_unit_test(queued_tasks_are_dropped_by_free),
	    cmocka_unit_test(stop_from_another_thread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
