#include "api/position_wait.h"

#include <event2/event.h>
#include <stdlib.h>

#include "api/params.h"
#include "base/clock.h"

/* Heap, not the request's arena: the timer's memory must not depend on the order in which a connection is torn down. */
struct position_waiter {
	struct position_waiter *next, **link;
	struct api_worker *worker;
	position_fn done;
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

void position_cancel(struct position_waiter *waiter)
{
	waiter_free(waiter);
}

static void let_go(struct position_waiter *released, enum position_verdict verdict)
{
	struct position_waiter waiter = *released;
	waiter_free(released);
	waiter.done(waiter.worker, verdict, waiter.ctx);
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd, (void)what;
	let_go(ctx, POSITION_NOT_YET);
}

static struct position_waiter *waiter_new(struct api_worker *worker, uint64_t seq, position_fn done, void *ctx)
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
	waiter->done = done;
	waiter->ctx = ctx;
	waiter->seq = seq;
	waiter->next = worker->waiters;
	waiter->link = &worker->waiters;
	if (worker->waiters) worker->waiters->link = &waiter->next;
	worker->waiters = waiter;
	worker->waiter_count++;
	atomic_fetch_add(&worker->interest, 1);
	return waiter;
}

struct position_waiter *position_wait(struct api_worker *worker, uint64_t seq, position_fn done, void *ctx)
{
	if (people_applied(worker->api->people) > seq) {
		done(worker, POSITION_APPLIED, ctx);
		return NULL;
	}
	struct position_waiter *waiter = waiter_new(worker, seq, done, ctx);
	if (!waiter) {
		done(worker, POSITION_NO_ROOM, ctx);
		return NULL;
	}
	if (people_applied(worker->api->people) <= seq) return waiter;
	let_go(waiter, POSITION_APPLIED); /* applied before we said that we are interested */
	return NULL;
}

enum problem position_problem(enum position_verdict verdict, struct str *message)
{
	*message = verdict == POSITION_NO_ROOM ? STR("too many reads wait for a position") : STR_NONE;
	if (verdict == POSITION_APPLIED) return PROBLEM_NONE;
	return verdict == POSITION_NOT_YET ? PROBLEM_NOT_YET_APPLIED : PROBLEM_OVERLOADED;
}

static void move_to(struct position_waiter *waiter, struct position_waiter **list)
{
	*waiter->link = waiter->next;
	if (waiter->next) waiter->next->link = waiter->link;
	waiter->next = *list;
	waiter->link = list;
	if (*list) (*list)->link = &waiter->next;
	*list = waiter;
}

/* Answering may bring new waiters (the connection's next request) and take others away (the connection is lost): those to let go stand
 * apart, so that neither disturbs the walk. */
void position_waiters_wake(struct api_worker *worker)
{
	uint64_t applied = people_applied(worker->api->people);
	struct position_waiter *ready = NULL, *next;
	for (struct position_waiter *waiter = worker->waiters; waiter; waiter = next) {
		next = waiter->next;
		if (waiter->seq < applied) move_to(waiter, &ready);
	}
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): who is let go takes itself out of the list, by its link */
	while (ready) let_go(ready, POSITION_APPLIED);
}

void position_waiters_drop(struct api_worker *worker)
{
	for (struct position_waiter *waiter = worker->waiters, *next; waiter; waiter = next) {
		next = waiter->next;
		waiter_free(waiter);
	}
}

/* ── as text ─────────────────────────────────────────────────────────────── */

/* position_parse says "foreign" for another feed and for another store alike: only the latter is gone. */
static bool is_of_another_feed(struct api *api, enum position_feed feed, struct str text)
{
	const enum position_feed feeds[] = {POSITION_JOURNAL, POSITION_CHANGES, POSITION_EVENTS};
	uint64_t seq;
	for (size_t i = 0; i < COUNT_OF(feeds); i++)
		if (feeds[i] != feed && position_parse(feeds[i], journal_epoch(api->journal), text, &seq) == OK)
			return true;
	return false;
}

enum problem position_read(struct api *api, enum position_feed feed, struct str text, uint64_t *seq,
			   struct str *message)
{
	*message = STR_NONE;
	int rc = position_parse(feed, journal_epoch(api->journal), text, seq);
	if (rc == OK) return PROBLEM_NONE;
	if (rc == ERR_FOREIGN && !is_of_another_feed(api, feed, text)) {
		*message = STR("that position is from another store or from before a restore");
		return PROBLEM_GONE;
	}
	*message = rc == ERR_FOREIGN ? STR("that is a position of another feed (journal positions, event cursors and "
					   "change cursors differ)")
				     : STR("not a position");
	return PROBLEM_INVALID_PARAMETER;
}

/* ── ?min_position= ──────────────────────────────────────────────────────── */

struct gate { /* lies in the request's arena */
	struct http_request *req;
	api_handler_fn next;
	struct position_waiter *waiter;
};

static void on_client_left(void *ctx)
{
	position_cancel(((struct gate *)ctx)->waiter);
}

static void on_gate(struct api_worker *worker, enum position_verdict verdict, void *ctx)
{
	struct gate *gate = ctx;
	struct str message;
	enum problem problem = position_problem(verdict, &message);
	http_on_abort(gate->req, NULL, NULL);
	if (problem == PROBLEM_NONE)
		gate->next(worker, gate->req);
	else
		http_reply_problem(gate->req, problem, message, STR_NONE);
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
	struct gate *gate = arena_new(http_arena(req), struct gate);
	if (!gate) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	*gate = (struct gate){.req = req, .next = next};
	struct position_waiter *waiter = position_wait(worker, seq, on_gate, gate);
	if (!waiter) return; /* the request is gone */
	gate->waiter = waiter;
	http_on_abort(req, on_client_left, gate);
}
