#include "plugin/runner.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "plugin/internal.h"

#define BACKOFF_MIN_US (200 * US_PER_MS)
#define BACKOFF_MAX_US (60 * US_PER_SECOND)
#define IDLE_US        (30 * US_PER_SECOND)
#define QUEUE_MAX      4096
#define JOBS_AT_ONCE   64 /* then timers, answers of HTTP and tickets have their turn */

struct runner {
	struct runner_options options;
	struct arena arena; /* of the guard */
	struct http_guard guard;
	pthread_t thread;
	bool has_thread;

	/* the thread's own */
	struct http_client *http; /* others only wake it */
	struct cdpd_instance *instance;
	unsigned failures;
	int64_t create_at_us;

	_Atomic(int64_t) inside_since_us;
	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	struct ticket *queue[QUEUE_MAX];
	size_t queue_at, queue_count;
	struct runner_job *first_job, *last_job;
	bool is_ready, is_failing, should_restart, should_stop, is_finished, is_left_behind;
};

/* ── calls into the plugin ───────────────────────────────────────────────── */

static void enter(struct runner *runner)
{
	atomic_store(&runner->inside_since_us, clock_mono_us());
}

/* Whoever gave up waiting for us may have closed everything. */
static void leave(struct runner *runner)
{
	atomic_store(&runner->inside_since_us, 0);
	(void)pthread_mutex_lock(&runner->lock);
	bool is_left_behind = runner->is_left_behind;
	(void)pthread_mutex_unlock(&runner->lock);
	if (is_left_behind) pthread_exit(NULL);
}

int64_t runner_inside_us(struct runner *runner)
{
	int64_t since = atomic_load(&runner->inside_since_us);
	return since ? clock_mono_us() - since : 0;
}

static void set_ready(struct runner *runner, bool is_ready)
{
	(void)pthread_mutex_lock(&runner->lock);
	runner->is_ready = is_ready;
	if (is_ready) runner->is_failing = false;
	(void)pthread_mutex_unlock(&runner->lock);
}

static void enter_call(void *ctx)
{
	enter(ctx);
}

static void leave_call(void *ctx)
{
	leave(ctx);
}

static int make_instance(struct runner *runner)
{
	const struct http_limits limits = {.guard = &runner->guard,
					   .connections = runner->options.async->http_connections,
					   .requests_per_second = runner->options.async->http_requests_per_second,
					   .enter = enter_call,
					   .leave = leave_call,
					   .ctx = runner};
	struct http_client *http;
	int rc = http_client_new(&limits, &http);
	if (rc) return rc;
	(void)pthread_mutex_lock(&runner->lock);
	runner->http = http;
	(void)pthread_mutex_unlock(&runner->lock);
	const struct instance_services services = {.http = http, .spaces = runner->options.spaces};
	enter(runner);
	rc = instance_new_with(runner->options.plugin, runner->options.name, runner->options.conf, &services,
			       &runner->instance);
	leave(runner);
	return rc;
}

static void drop_http(struct runner *runner)
{
	(void)pthread_mutex_lock(&runner->lock);
	struct http_client *http = runner->http;
	runner->http = NULL;
	(void)pthread_mutex_unlock(&runner->lock);
	http_client_free(http);
}

static struct runner_job *take_job(struct runner *runner);

static void refuse_jobs(struct runner *runner)
{
	struct runner_job *job;
	while ((job = take_job(runner)) != NULL) job->done(job, false);
}

static void create(struct runner *runner)
{
	int rc = make_instance(runner);
	if (rc == OK) {
		runner->failures = 0;
		set_ready(runner, true);
		runner->options.on_ready(runner->options.ctx, true);
		return;
	}
	if (runner->http) http_client_cancel(runner->http);
	drop_http(runner);
	(void)pthread_mutex_lock(&runner->lock);
	runner->is_failing = true;
	(void)pthread_mutex_unlock(&runner->lock);
	refuse_jobs(runner);
	int64_t pause = BACKOFF_MIN_US;
	for (unsigned i = 0; i < runner->failures && pause < BACKOFF_MAX_US; i++) pause *= 2;
	runner->failures++;
	runner->create_at_us = clock_mono_us() + (pause < BACKOFF_MAX_US ? pause : BACKOFF_MAX_US);
}

/* Tickets that it was not asked yet come back to their owner. */
static struct ticket *take(struct runner *runner);

static void destroy(struct runner *runner)
{
	struct ticket *ticket;
	if (!runner->instance) return;
	set_ready(runner, false);
	while ((ticket = take(runner)) != NULL) ticket_refuse(ticket);
	refuse_jobs(runner);
	enter(runner);
	http_client_cancel(runner->http);
	instance_free(runner->instance);
	leave(runner);
	runner->instance = NULL;
	drop_http(runner);
	runner->options.on_ready(runner->options.ctx, false);
}

/* ── the thread ──────────────────────────────────────────────────────────── */

static struct ticket *take(struct runner *runner)
{
	struct ticket *ticket = NULL;
	(void)pthread_mutex_lock(&runner->lock);
	if (runner->queue_count) {
		ticket = runner->queue[runner->queue_at];
		runner->queue_at = (runner->queue_at + 1) % QUEUE_MAX;
		runner->queue_count--;
	}
	(void)pthread_mutex_unlock(&runner->lock);
	return ticket;
}

static struct runner_job *take_job(struct runner *runner)
{
	(void)pthread_mutex_lock(&runner->lock);
	struct runner_job *job = runner->first_job;
	if (job) runner->first_job = job->next;
	if (!runner->first_job) runner->last_job = NULL;
	(void)pthread_mutex_unlock(&runner->lock);
	return job;
}

static bool is_told(struct runner *runner, const bool *what)
{
	(void)pthread_mutex_lock(&runner->lock);
	bool is_so = *what;
	(void)pthread_mutex_unlock(&runner->lock);
	return is_so;
}

/* True: there may be more. */
static bool work_jobs(struct runner *runner)
{
	struct runner_job *job = NULL;
	for (size_t i = 0; i < JOBS_AT_ONCE; i++) {
		if (is_told(runner, &runner->should_stop) || !(job = take_job(runner))) return false;
		enter(runner);
		job->call(job, runner->instance);
		leave(runner);
		job->done(job, true);
	}
	return true;
}

static void work(struct runner *runner)
{
	struct ticket *ticket;
	enter(runner);
	while ((ticket = take(runner)) != NULL) {
		ticket_ask(ticket);
		if (is_told(runner, &runner->should_stop)) break;
	}
	instance_run_timers(runner->instance, clock_mono_us());
	leave(runner);
}

/* Between two tries to create the instance. */
static void wait_idle(struct runner *runner)
{
	const struct timespec until = {.tv_sec = runner->create_at_us / US_PER_SECOND,
				       .tv_nsec = runner->create_at_us % US_PER_SECOND * 1000};
	(void)pthread_mutex_lock(&runner->lock);
	if (!runner->should_stop) (void)pthread_cond_timedwait(&runner->changed, &runner->lock, &until);
	(void)pthread_mutex_unlock(&runner->lock);
}

static void turn(struct runner *runner)
{
	int64_t now = clock_mono_us();
	if (!runner->instance && now >= runner->create_at_us) create(runner);
	if (!runner->instance) {
		wait_idle(runner);
		return;
	}
	if (is_told(runner, &runner->should_restart)) {
		(void)pthread_mutex_lock(&runner->lock);
		runner->should_restart = false; /* what is told from here on is about the next instance */
		(void)pthread_mutex_unlock(&runner->lock);
		destroy(runner);
		return;
	}
	bool has_more = work_jobs(runner);
	work(runner);
	int64_t until = instance_next_timer(runner->instance);
	if (until > now + IDLE_US) until = now + IDLE_US;
	http_wait(runner->http, has_more ? now : until);
}

static void *run(void *ctx)
{
	struct runner *runner = ctx;
	while (!is_told(runner, &runner->should_stop)) turn(runner);
	destroy(runner);
	refuse_jobs(runner);
	(void)pthread_mutex_lock(&runner->lock);
	runner->is_finished = true;
	(void)pthread_cond_broadcast(&runner->changed);
	(void)pthread_mutex_unlock(&runner->lock);
	return NULL;
}

/* ── the owner's side ────────────────────────────────────────────────────── */

static int make_guard(struct runner *runner)
{
	const struct conf_async *async = runner->options.async;
	struct str bad;
	int rc = http_guard_make(&runner->arena, async->http_allow, async->http_allow_count, &runner->guard, &bad);
	if (rc == ERR_INVALID)
		log_error(LOG_PLUGIN, "%.*s: http.allow: '%.*s' is neither a network nor a host name",
			  STR_ARG(runner->options.name), STR_ARG(bad));
	return rc;
}

int runner_new(const struct runner_options *options, struct runner **out)
{
	pthread_condattr_t attr;
	*out = NULL;
	struct runner *runner = calloc(1, sizeof *runner);
	if (!runner) return ERR_NOMEM;
	runner->options = *options;
	arena_init(&runner->arena, 1024, 0);
	CHECK(pthread_mutex_init(&runner->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&runner->changed, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
	int rc = make_guard(runner);
	if (!rc && pthread_create(&runner->thread, NULL, run, runner)) rc = ERR_NOMEM;
	if (rc) {
		runner_free(runner);
		return rc;
	}
	runner->has_thread = true;
	*out = runner;
	return OK;
}

/* The lock is held. */
static void wake(struct runner *runner)
{
	if (runner->http) http_wake(runner->http);
	(void)pthread_cond_broadcast(&runner->changed);
}

int runner_ask(struct runner *runner, struct ticket *ticket)
{
	int rc = ERR_BUSY;
	(void)pthread_mutex_lock(&runner->lock);
	if (runner->is_ready && !runner->should_stop && runner->queue_count < QUEUE_MAX)
		rc = ticket_open(ticket, runner->instance);
	if (rc == OK) {
		runner->queue[(runner->queue_at + runner->queue_count++) % QUEUE_MAX] = ticket;
		wake(runner);
	}
	(void)pthread_mutex_unlock(&runner->lock);
	return rc;
}

int runner_submit(struct runner *runner, struct runner_job *job)
{
	job->next = NULL;
	(void)pthread_mutex_lock(&runner->lock);
	bool is_taken = !runner->is_failing && !runner->should_stop;
	if (is_taken) {
		if (runner->last_job)
			runner->last_job->next = job;
		else
			runner->first_job = job;
		runner->last_job = job;
		wake(runner);
	}
	(void)pthread_mutex_unlock(&runner->lock);
	return is_taken ? OK : ERR_BUSY;
}

static void tell(struct runner *runner, bool *what)
{
	(void)pthread_mutex_lock(&runner->lock);
	*what = true;
	wake(runner);
	(void)pthread_mutex_unlock(&runner->lock);
}

void runner_restart(struct runner *runner)
{
	tell(runner, &runner->should_restart);
}

void runner_stop(struct runner *runner)
{
	tell(runner, &runner->should_stop);
}

bool runner_join(struct runner *runner, int64_t until_us)
{
	const struct timespec until = {.tv_sec = until_us / US_PER_SECOND, .tv_nsec = until_us % US_PER_SECOND * 1000};
	int rc = 0;
	if (!runner->has_thread) return true;
	(void)pthread_mutex_lock(&runner->lock);
	while (!runner->is_finished && rc == 0) rc = pthread_cond_timedwait(&runner->changed, &runner->lock, &until);
	/* Our own work ends by itself. */
	while (!runner->is_finished && !atomic_load(&runner->inside_since_us)) {
		const struct timespec pause = {.tv_nsec = 1000000};
		(void)pthread_mutex_unlock(&runner->lock);
		(void)nanosleep(&pause, NULL);
		(void)pthread_mutex_lock(&runner->lock);
	}
	bool is_finished = runner->is_finished;
	runner->is_left_behind = !is_finished;
	(void)pthread_mutex_unlock(&runner->lock);
	if (!is_finished) {
		(void)pthread_detach(runner->thread);
		return false;
	}
	(void)pthread_join(runner->thread, NULL);
	runner->has_thread = false;
	return true;
}

void runner_free(struct runner *runner)
{
	if (!runner) return;
	CHECK(!runner->has_thread);
	arena_fini(&runner->arena);
	(void)pthread_cond_destroy(&runner->changed);
	(void)pthread_mutex_destroy(&runner->lock);
	free(runner);
}
