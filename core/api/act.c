#include "api/act.h"

#include <stdlib.h>

#include "api/position_wait.h"
#include "api/ref.h"
#include "base/clock.h"
#include "fold/payload.h"

#define ACT_ARENA_BYTES (64u << 10)

/* Heap: the journal may hold it longer than whoever asked is there. Listed with its worker, then with the api. */
struct act {
	struct act *next, **link;
	struct api_worker *worker;
	act_fn done; /* NULL: the asker left */
	void *ctx;
	struct arena arena;
	enum people_act_kind kind;
	struct people_act what;
	struct journal_entry entry;
	struct journal_append append;
	struct position_waiter *waiter;
};

/* ── their life ──────────────────────────────────────────────────────────── */

static void list_add(struct act *act, struct act **list)
{
	act->next = *list;
	act->link = list;
	if (*list) (*list)->link = &act->next;
	*list = act;
}

static void list_remove(struct act *act)
{
	*act->link = act->next;
	if (act->next) act->next->link = act->link;
}

static void act_free(struct act *act)
{
	list_remove(act);
	arena_fini(&act->arena);
	free(act);
}

void acts_free(struct act *acts)
{
	while (acts) {
		struct act *next = acts->next;
		arena_fini(&acts->arena);
		free(acts);
		acts = next;
	}
}

void acts_leave_to_api(struct api_worker *worker)
{
	struct api *api = worker->api;
	pthread_mutex_lock(&api->lock);
	while (worker->acts) {
		struct act *act = worker->acts;
		list_remove(act);
		list_add(act, &api->orphan_acts);
	}
	pthread_mutex_unlock(&api->lock);
}

/* While it only waits for the fold there is nothing left to be waited for. */
void act_leave(struct act *act)
{
	act->done = NULL;
	if (!act->waiter) return;
	position_cancel(act->waiter);
	act_free(act);
}

/* ── what came of it ─────────────────────────────────────────────────────── */

static struct act_result result_of(const struct act *act)
{
	return (struct act_result){.kind = act->kind,
				   .a = act->what.a,
				   .b = act->what.b,
				   .message = STR_NONE,
				   .pointer = STR_NONE,
				   .seq = act->append.status == OK ? act->append.first_seq : 0};
}

/* Tells, and it is gone. */
static void finish(struct act *act, const struct act_result *result)
{
	if (act->done) act->done(act->worker, result, act->ctx);
	act_free(act);
}

static void refuse(struct act *act, enum problem problem, struct str message, struct str pointer)
{
	struct act_result result = result_of(act);
	result.problem = problem;
	result.message = message;
	result.pointer = pointer;
	finish(act, &result);
}

static void fail(struct act *act, int status)
{
	log_error(LOG_API, "a merge or unmerge cannot be carried out, answered with an internal error (%s)",
		  status_str(status));
	refuse(act, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static int read_result(struct act *act, struct link_row *row, struct act_result *out)
{
	struct api_worker *worker = act->worker;
	uint64_t applied;
	arena_reset(&worker->scratch);
	int rc = people_read_begin(worker->reader, &applied);
	if (rc != OK) return rc;
	rc = people_find_act(worker->reader, act->kind, act->what.a, act->what.b, act->append.first_seq,
			     &worker->scratch, row);
	if (rc == OK) rc = people_profile_of(worker->reader, act->what.a, &worker->scratch, &out->profile_a);
	if (rc == OK) rc = people_profile_of(worker->reader, act->what.b, &worker->scratch, &out->profile_b);
	people_read_end(worker->reader);
	return rc;
}

static void tell_applied(struct act *act)
{
	struct act_result result = result_of(act);
	struct link_row row;
	int rc = read_result(act, &row, &result);
	if (rc == OK && row.is_linked) {
		result.was_one = row.was_one;
		finish(act, &result);
	} else if (rc == OK) {
		if (!problem_from_code(row.reason, &result.problem)) result.problem = PROBLEM_INTERNAL;
		finish(act, &result);
	} else if (rc == ERR_NOT_FOUND) {
		refuse(act, PROBLEM_TOO_MANY_ACTS, STR_NONE, STR_NONE);
	} else {
		fail(act, rc);
	}
}

static void on_applied(struct api_worker *worker, enum position_verdict verdict, void *ctx)
{
	(void)worker;
	struct act *act = ctx;
	act->waiter = NULL;
	if (verdict == POSITION_APPLIED) {
		tell_applied(act);
		return;
	}
	struct act_result result = result_of(act);
	result.is_pending = true;
	finish(act, &result);
}

/* ── into the journal ────────────────────────────────────────────────────── */

static enum problem problem_of_append(int status)
{
	switch (status) {
	case ERR_BUSY: return PROBLEM_OVERLOADED;
	case ERR_CLOSED: return PROBLEM_SHUTTING_DOWN;
	default: return PROBLEM_NOT_DURABLE;
	}
}

static void on_settled(struct loop_task *task)
{
	struct act *act = (struct act *)((char *)task - offsetof(struct act, append.settled));
	if (!act->done) {
		act_free(act);
		return;
	}
	if (act->append.status != OK) {
		refuse(act, problem_of_append(act->append.status), STR_NONE, STR_NONE);
		return;
	}
	struct position_waiter *waiter = position_wait(act->worker, act->append.first_seq, on_applied, act);
	if (waiter) act->waiter = waiter; /* else it was told, and is gone */
}

/* Both must exist before anything is written. False: told, and gone. */
static bool resolve(struct act *act, const struct act_request *request)
{
	const struct {
		struct str ref, *out, pointer;
	} sides[] = {{request->a, &act->what.a, STR("/a")}, {request->b, &act->what.b, STR("/b")}};
	struct api_worker *worker = act->worker;
	uint64_t applied;
	arena_reset(&worker->scratch);
	int rc = people_read_begin(worker->reader, &applied);
	if (rc != OK) {
		fail(act, rc);
		return false;
	}
	size_t i = 0;
	for (; i < COUNT_OF(sides) && rc == OK; i++) {
		struct str text;
		rc = people_resolve(worker->reader, sides[i].ref, &worker->scratch, &text);
		if (rc == OK) rc = arena_str(&act->arena, text, sides[i].out);
	}
	people_read_end(worker->reader);
	struct str message;
	enum problem problem = ref_problem(rc, &message);
	if (problem == PROBLEM_INTERNAL)
		fail(act, rc);
	else if (problem != PROBLEM_NONE)
		refuse(act, problem, message, sides[i - 1].pointer);
	else if (str_eq(act->what.a, act->what.b))
		refuse(act, PROBLEM_INVALID_PARAMETER, STR("a and b are the same identifier"), STR("/b"));
	else
		return true;
	return false;
}

static struct act *act_new(struct api_worker *worker, const struct act_request *request, act_fn done, void *ctx)
{
	struct act *act = calloc(1, sizeof *act);
	if (!act) return NULL;
	arena_init(&act->arena, 1024, ACT_ARENA_BYTES);
	act->worker = worker;
	act->kind = request->kind;
	act->done = done;
	act->ctx = ctx;
	act->what = (struct people_act){STR_NONE, STR_NONE, STR_NONE, STR_NONE};
	act->append.status = ERR_AGAIN;
	list_add(act, &worker->acts);
	return act;
}

struct act *act_start(struct api_worker *worker, const struct act_request *request, act_fn done, void *ctx)
{
	struct act *act = act_new(worker, request, done, ctx);
	if (!act) {
		const struct act_result failed = {.problem = PROBLEM_INTERNAL,
						  .message = STR_NONE,
						  .pointer = STR_NONE,
						  .a = STR_NONE,
						  .b = STR_NONE};
		done(worker, &failed, ctx);
		return NULL;
	}
	if (!resolve(act, request)) return NULL;
	act->what.actor = request->actor;
	act->what.note = request->note;
	act->entry.kind = request->kind == PEOPLE_MERGE ? RECORD_MERGE : RECORD_UNMERGE;
	int rc = payload_write_act(&act->arena, &act->what, &act->entry.payload);
	if (rc != OK) {
		fail(act, rc);
		return NULL;
	}
	act->append = (struct journal_append){.entries = &act->entry, .entry_count = 1, .loop = worker->loop};
	act->append.settled.run = on_settled;
	rc = journal_submit(worker->api->journal, &act->append);
	if (rc == OK) return act;
	act->append.status = rc;
	refuse(act, problem_of_append(rc), STR_NONE, STR_NONE);
	return NULL;
}

int act_preview(struct read_thread *thread, enum people_act_kind kind, struct str a, struct str b, uint64_t *applied,
		struct act_preview *out)
{
	int rc = people_read_begin(thread->people, applied);
	if (rc != OK) return rc;
	if (kind == PEOPLE_MERGE)
		rc = people_preview_merge(thread->people, a, b, clock_wall_us(), &thread->scratch, &out->merge);
	else
		rc = people_preview_unmerge(thread->people, a, b, &thread->scratch, &out->unmerge);
	/* Texts borrow the scratch, which holds copies: the snapshot may go. */
	people_read_end(thread->people);
	return rc;
}
