#include "api/position_wait.h"

#include <event2/event.h>
#include <stdlib.h>

#include "api/params.h"
#include "base/clock.h"

/* Heap, not the request's arena: the timer's memory must not depend on the order in which a connection is torn down. */
struct position_waiter {
	struct position_waiter *next, **link;
	struct api_worker *worker;
	struct http_request *req;
	api_handler_fn go_on; /* of a read; or … */
	position_fn fn;       /* … of who waits for what it wrote */
	void *ctx;
	uint64_t seq;
	struct event *deadline;
};

static void waiter_free(struct position_waiter *waiter)
{
	*waiter->link = waiter->next;
	if (waiter->next) waiter->next->link = waiter->link;
	waiter->worker->waiter_count--;
	atomic_fetch_sub(&waiter->worker->interest, 1);
	event_free(waiter->deadline);
	free(waiter);
}

static void on_client_left(void *ctx)
{
	waiter_free(ctx);
}

/* The request goes its own way again. */
static struct http_request *release(struct position_waiter *waiter)
{
	struct http_request *req = waiter->req;
	http_on_abort(req, NULL, NULL);
	waiter_free(waiter);
	return req;
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd, (void)what;
	struct position_waiter waiter = *(struct position_waiter *)ctx;
	struct http_request *req = release(ctx);
	if (waiter.fn)
		waiter.fn(waiter.worker, req, false, waiter.ctx);
	else
		http_reply_problem(req, PROBLEM_NOT_YET_APPLIED, STR_NONE, STR_NONE);
}

static void let_go(struct position_waiter *released)
{
	struct position_waiter waiter = *released;
	struct http_request *req = release(released);
	if (waiter.fn)
		waiter.fn(waiter.worker, req, true, waiter.ctx);
	else
		waiter.go_on(waiter.worker, req);
}

static struct position_waiter *waiter_new(struct api_worker *worker, struct http_request *req, uint64_t seq,
					  api_handler_fn go_on)
{
	struct position_waiter *waiter = worker->waiter_count < API_WAITERS_MAX ? calloc(1, sizeof *waiter) : NULL;
	if (!waiter) return NULL;
	waiter->deadline = evtimer_new(loop_base(worker->loop), on_deadline, waiter);
	uint32_t wait_ms = api_worker_live(worker)->config->min_position_wait_ms;
	struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000};
	if (!waiter->deadline || evtimer_add(waiter->deadline, &wait) != 0) {
		if (waiter->deadline) event_free(waiter->deadline);
		free(waiter);
		return NULL;
	}
	waiter->worker = worker;
	waiter->req = req;
	waiter->go_on = go_on;
	waiter->seq = seq;
	waiter->next = worker->waiters;
	waiter->link = &worker->waiters;
	if (worker->waiters) worker->waiters->link = &waiter->next;
	worker->waiters = waiter;
	worker->waiter_count++;
	atomic_fetch_add(&worker->interest, 1);
	http_on_abort(req, on_client_left, waiter);
	return waiter;
}

void position_gate(struct api_worker *worker, struct http_request *req, api_handler_fn next)
{
	struct str text;
	uint64_t seq;
	if (!http_query(req).len || !http_query_get(req, STR("min_position"), &text)) {
		next(worker, req);
		return;
	}
	if (!param_position(worker->api, req, POSITION_JOURNAL, STR("min_position"), text, &seq)) return;
	if (people_applied(worker->api->people) > seq) {
		next(worker, req);
		return;
	}
	struct position_waiter *waiter = waiter_new(worker, req, seq, next);
	if (!waiter)
		http_reply_problem(req, PROBLEM_OVERLOADED, STR("too many reads wait for a position"), STR_NONE);
	else if (people_applied(worker->api->people) > seq) /* applied before we said that we are interested */
		let_go(waiter);
}

void position_wait(struct api_worker *worker, struct http_request *req, uint64_t seq, position_fn done, void *ctx)
{
	bool is_applied = people_applied(worker->api->people) > seq;
	struct position_waiter *waiter = is_applied ? NULL : waiter_new(worker, req, seq, NULL);
	if (!waiter) {
		done(worker, req, is_applied, ctx); /* or there is no room to wait: it is durable, that is the answer */
		return;
	}
	waiter->fn = done;
	waiter->ctx = ctx;
	if (people_applied(worker->api->people) > seq) let_go(waiter);
}

/* Answering may run the connection's next request, which may add a waiter in front; it never frees another one. */
void position_waiters_wake(struct api_worker *worker)
{
	uint64_t applied = people_applied(worker->api->people);
	struct position_waiter *next;
	for (struct position_waiter *waiter = worker->waiters; waiter; waiter = next) {
		next = waiter->next;
		if (waiter->seq >= applied) continue;
		let_go(waiter);
	}
}

void position_waiters_drop(struct api_worker *worker)
{
	for (struct position_waiter *waiter = worker->waiters, *next; waiter; waiter = next) {
		next = waiter->next;
		waiter_free(waiter);
	}
}
