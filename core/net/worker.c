#include "net/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/acceptor.h"
#include "net/endpoint.h"
#include "net/http1.h"
#include "net/http2.h"

#define SPARE_SIZE_MAX ((size_t)32 * 1024)

int64_t worker_tick(struct worker *worker)
{
	return worker->now_us = clock_mono_us();
}

struct str worker_date(struct worker *worker, int64_t wall_us)
{
	int64_t second = wall_us / US_PER_SECOND;
	if (second != worker->date_second) {
		struct tm tm;
		time_t when = (time_t)second;
		(void)gmtime_r(&when, &tm);
		/* The C locale's names: setlocale is never called. */
		CHECK(strftime(worker->date, sizeof worker->date, "%a, %d %b %Y %H:%M:%S GMT", &tm) == 29);
		worker->date_second = second;
	}
	return (struct str){worker->date, 29};
}

/* ── connections ─────────────────────────────────────────────────────────── */

static void push(struct conn **list, struct conn *conn)
{
	conn->next = *list;
	conn->link = list;
	if (conn->next) conn->next->link = &conn->next;
	*list = conn;
}

void worker_list(struct worker *worker, struct conn *conn)
{
	push(&worker->conns, conn);
}

void worker_hold(struct worker *worker, struct conn *conn)
{
	push(&worker->held, conn);
}

void worker_unlist(struct worker *worker, struct conn *conn)
{
	(void)worker;
	*conn->link = conn->next;
	if (conn->next) conn->next->link = conn->link;
	conn->link = NULL;
	conn->next = NULL;
}

/* An activated event runs after those that are active already, before the loop waits again. */
static void demand_turn(struct worker *worker)
{
	if (worker->is_turn_due) return;
	worker->is_turn_due = true;
	event_active(&worker->turn, EV_TIMEOUT, 0);
}

void worker_later(struct worker *worker, struct conn *conn)
{
	if (conn->is_later) return;
	conn->is_later = true;
	conn->next_later = NULL;
	*worker->later_end = conn;
	worker->later_end = &conn->next_later;
	demand_turn(worker);
}

void worker_bury(struct worker *worker, struct conn *conn)
{
	conn->next_dead = worker->dead;
	worker->dead = conn;
	demand_turn(worker);
}

static void resume_all(struct worker *worker)
{
	struct conn *conn = worker->later;
	worker->later = NULL;
	worker->later_end = &worker->later;
	while (conn) {
		struct conn *next = conn->next_later;
		conn->is_later = false;
		if (conn->protocol) conn->protocol->resume(conn);
		conn = next;
	}
}

static void bury_all(struct worker *worker)
{
	struct conn *conn = worker->dead;
	worker->dead = NULL;
	while (conn) {
		struct conn *next = conn->next_dead;
		if (conn->is_later) {
			worker_bury(worker, conn);
		} else {
			conn->magic = 0;
			free(conn);
		}
		conn = next;
	}
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	(void)fd, (void)what;
	CHECK(worker->magic == WORKER_MAGIC);
	worker->is_turn_due = false;
	(void)worker_tick(worker);
	resume_all(worker);
	bury_all(worker);
}

/* ── buffers ─────────────────────────────────────────────────────────────── */

void worker_take_buf(struct worker *worker, struct buf *buf)
{
	if (worker->spare_count == 0) return;
	size_t cap = buf->cap;
	*buf = worker->spares[--worker->spare_count];
	buf->cap = cap;
}

void worker_give_buf(struct worker *worker, struct buf *buf)
{
	if (!buf->data) return;
	if (worker->spare_count == WORKER_SPARES || buf->size > SPARE_SIZE_MAX) {
		buf_fini(buf);
		return;
	}
	CHECK(buf->len == 0);
	worker->spares[worker->spare_count] = *buf;
	worker->spares[worker->spare_count++].head = 0;
	buf->data = NULL;
	buf_fini(buf);
}

/* ── crossing threads ────────────────────────────────────────────────────── */

static void retire_all(struct worker *worker)
{
	for (struct conn *conn = worker->conns, *next; conn; conn = next) {
		next = conn->next;
		conn_retire(conn);
	}
}

static void abort_all(struct worker *worker)
{
	while (worker->conns) conn_abort(worker->conns);
}

static void run_drain(struct loop_task *task)
{
	struct worker *worker = (struct worker *)(void *)((char *)task - offsetof(struct worker, drain_task));
	(void)worker_tick(worker);
	worker->is_draining = true;
	acceptors_close(worker);
	retire_all(worker);
	(void)sem_post(&worker->refusing);
}

static void run_close(struct loop_task *task)
{
	struct worker *worker = (struct worker *)(void *)((char *)task - offsetof(struct worker, close_task));
	(void)worker_tick(worker);
	abort_all(worker);
}

void worker_drain(struct worker *worker)
{
	loop_post(worker->loop, &worker->drain_task);
}

void worker_wait_drain(struct worker *worker, int timeout_ms)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000 + 1;
	while (sem_clockwait(&worker->refusing, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR) continue;
}

void worker_close_all(struct worker *worker)
{
	loop_post(worker->loop, &worker->close_task);
}

static void run_reload(struct loop_task *task)
{
	struct worker *worker = (struct worker *)(void *)((char *)task - offsetof(struct worker, reload_task));
	settings_unref(worker->settings);
	worker->settings = worker->next_settings;
	(void)sem_post(&worker->reloaded);
}

void worker_reload(struct worker *worker, struct settings *settings)
{
	worker->next_settings = settings_ref(settings);
	if (worker->has_thread)
		loop_post(worker->loop, &worker->reload_task);
	else
		run_reload(&worker->reload_task);
	while (sem_wait(&worker->reloaded) != 0) continue;
}

/* ── the thread ──────────────────────────────────────────────────────────── */

/* Signals are the main thread's business; a broken pipe inside a library's write() must not end the process. */
static void block_signals(void)
{
	sigset_t set;
	(void)sigfillset(&set);
	static const int ours[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
	for (size_t i = 0; i < COUNT_OF(ours); i++) (void)sigdelset(&set, ours[i]);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	const struct net_options *options = worker->options;
	char name[16];
	block_signals();
	(void)snprintf(name, sizeof name, "cdpd-io-%zu", worker->index % 1000);
	(void)pthread_setname_np(pthread_self(), name);
	(void)worker_tick(worker);
	int rc = options->worker_start ? options->worker_start(options->ctx, worker->loop, &worker->app) : OK;
	bool has_app = rc == OK && options->worker_stop;
	if (rc == OK) rc = acceptors_open(worker);
	worker->start_status = rc;
	(void)sem_post(&worker->started);
	if (rc == OK) loop_run(worker->loop);
	(void)worker_tick(worker);
	acceptors_close(worker);
	abort_all(worker);
	if (has_app) options->worker_stop(options->ctx, worker->app);
	loop_forget_tasks(worker->loop);
	worker->app = NULL;
	return NULL;
}

int worker_start(struct worker *worker)
{
	if (pthread_create(&worker->thread, NULL, run, worker) != 0) return ERR_NOMEM;
	worker->has_thread = true;
	while (sem_wait(&worker->started) != 0) continue;
	return worker->start_status;
}

void worker_stop(struct worker *worker)
{
	if (!worker->has_thread) return;
	loop_stop(worker->loop);
	(void)pthread_join(worker->thread, NULL);
	worker->has_thread = false;
}

int worker_init(struct worker *worker, size_t index, const struct net_options *options, struct census *census,
		struct settings *settings)
{
	*worker = (struct worker){.magic = WORKER_MAGIC,
				  .index = index,
				  .options = options,
				  .census = census,
				  .settings = settings_ref(settings),
				  .drain_task = {.run = run_drain},
				  .close_task = {.run = run_close},
				  .reload_task = {.run = run_reload}};
	worker->later_end = &worker->later;
	buf_init(&worker->scratch, CONN_READ_MAX);
	(void)sem_init(&worker->started, 0, 0);
	(void)sem_init(&worker->refusing, 0, 0);
	(void)sem_init(&worker->reloaded, 0, 0);
	int rc = loop_new(&worker->loop);
	if (rc != OK) return rc;
	worker->base = loop_base(worker->loop);
	(void)event_assign(&worker->turn, worker->base, -1, 0, on_turn, worker);
	return OK;
}

int worker_listen(struct worker *worker, struct endpoint *endpoints, size_t count)
{
	return acceptors_new(worker, endpoints, count);
}

/* What requests that nobody answered or aborted still hold. */
static void free_held(struct worker *worker)
{
	while (worker->held) {
		struct conn *conn = worker->held;
		conn->protocol->forget(conn);
	}
}

void worker_fini(struct worker *worker)
{
	if (worker->magic != WORKER_MAGIC) return;
	if (worker->loop) {
		free_held(worker);
		for (struct conn *conn = worker->later; conn; conn = conn->next_later) conn->is_later = false;
		bury_all(worker);
		(void)event_del(&worker->turn);
		acceptors_free(worker);
		loop_free(worker->loop);
	}
	http1_free_spares(worker);
	http2_free_spares(worker);
	while (worker->spare_count > 0) buf_fini(&worker->spares[--worker->spare_count]);
	buf_fini(&worker->scratch);
	settings_unref(worker->settings);
	(void)sem_destroy(&worker->started);
	(void)sem_destroy(&worker->refusing);
	(void)sem_destroy(&worker->reloaded);
	worker->magic = 0;
}
