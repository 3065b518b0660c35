#include "api/subscription_call.h"

#include <stdlib.h>

#include "api/change_filter_json.h"
#include "profile/erase.h"

#define ARENA_BYTES (8u << 20) /* a page of 500 filters */

static struct subscriptions *subscriptions_of(const struct subscription_call *call)
{
	return deliver_subscriptions(call->worker->api->deliver);
}

struct subscription_call *subscription_call_new(struct api_worker *worker, void *asker,
						void (*reply)(struct subscription_call *call))
{
	struct subscription_call *call = calloc(1, sizeof *call);
	if (!call) return NULL;
	call->worker = worker;
	call->asker = asker;
	call->reply = reply;
	call->name = call->order.name = call->order.filter = STR_NONE;
	arena_init(&call->arena, 1024, ARENA_BYTES);
	call->order.arena = &call->arena;
	return call;
}

void subscription_call_drop(struct subscription_call *call)
{
	arena_fini(&call->arena);
	free(call);
}

void subscription_call_leave(struct subscription_call *call)
{
	call->asker = NULL;
}

static int look_up(struct subscription_call *call)
{
	if (call->ask == SUBSCRIPTION_LIST)
		return subscriptions_list(subscriptions_of(call), call->name, call->limit, &call->arena, &call->items,
					  &call->count);
	call->items = arena_new(&call->arena, struct subscription);
	if (!call->items) return ERR_NOMEM;
	call->count = 1;
	return subscriptions_get(subscriptions_of(call), call->name, &call->arena, call->items);
}

static int read_feed(struct subscription_call *call, struct read_thread *thread)
{
	uint64_t applied;
	int rc = people_read_begin(thread->people, &applied);
	if (rc) return rc;
	call->feed.floor = people_changes_floor(thread->people);
	people_read_end(thread->people);
	call->feed.last = people_last_change(call->worker->api->people);
	return OK;
}

static struct subscription_call *call_of(struct read_job *job)
{
	return (struct subscription_call *)((char *)job - offsetof(struct subscription_call, job));
}

static void work(struct read_job *job, struct read_thread *thread)
{
	struct subscription_call *call = call_of(job);
	call->status = read_feed(call, thread);
	if (call->status) return;
	if (call->ask != SUBSCRIPTION_ORDER) {
		call->status = look_up(call);
		return;
	}
	subscriptions_settle(subscriptions_of(call), &call->feed);
	call->status = call->order.status;
	call->items = &call->order.result;
	call->count = 1;
}

static void done(struct read_job *job)
{
	struct subscription_call *call = call_of(job);
	/* It may not have come to it. */
	if (call->ask == SUBSCRIPTION_ORDER && !call->order.is_settled) {
		subscriptions_forget(subscriptions_of(call), &call->order);
		if (!call->status) call->status = ERR_CLOSED;
	}
	if (call->asker) call->reply(call);
	subscription_call_drop(call);
}

void subscription_call_submit(struct subscription_call *call)
{
	struct api_worker *worker = call->worker;
	call->job.work = work;
	call->job.done = done;
	if (call->ask == SUBSCRIPTION_ORDER) subscriptions_queue(subscriptions_of(call), &call->order);
	/* From here on it is the pool's, unless that refuses. */
	int rc = read_pool_submit(worker->api->writes, &worker->writes, &call->job);
	if (rc == OK) return;
	call->status = rc;
	if (call->ask == SUBSCRIPTION_ORDER) subscriptions_forget(subscriptions_of(call), &call->order);
	call->reply(call);
	subscription_call_drop(call);
}

enum problem subscription_problem(const struct subscription_call *call, struct str *message)
{
	*message = STR_NONE;
	switch (call->status) {
	case OK: return PROBLEM_NONE;
	case ERR_NOT_FOUND: *message = STR("there is no subscription of that name"); return PROBLEM_NOT_FOUND;
	case ERR_GONE:
		*message = STR("that position is behind retention: start again from a snapshot");
		return PROBLEM_GONE;
	case ERR_INVALID: *message = STR("that position lies ahead of the feed"); return PROBLEM_INVALID_PARAMETER;
	case ERR_BUSY: *message = STR("too many subscriptions are being changed"); return PROBLEM_OVERLOADED;
	case ERR_CLOSED: return PROBLEM_SHUTTING_DOWN;
	case ERR_FULL:
		if (call->order.has_too_many) {
			*message = STR("there are 1,000 subscriptions already: delete one first");
			return PROBLEM_TOO_LARGE;
		}
		return PROBLEM_NOT_DURABLE;
	case ERR_IO:
	case ERR_PANIC: return PROBLEM_NOT_DURABLE;
	default: return PROBLEM_INTERNAL;
	}
}

/* ── reading from one ────────────────────────────────────────────────────── */

struct held {
	struct subscription_hold hold;
	atomic_int ended_by;
	struct api_worker *worker;
	char name[SUBSCRIPTION_NAME_MAX];
};

static void on_lost(struct subscription_hold *hold, enum problem why)
{
	struct held *held = (struct held *)((char *)hold - offsetof(struct held, hold));
	atomic_store(&held->ended_by, (int)why);
	feed_hub_call(held->worker);
}

static void release(void *ctx)
{
	struct held *held = ctx;
	subscriptions_release(deliver_subscriptions(held->worker->api->deliver), &held->hold);
	free(held);
}

static int hold_for(struct api_worker *worker, const struct subscription *subscription, struct feed_options *out)
{
	struct held *held = calloc(1, sizeof *held);
	if (!held) return ERR_NOMEM;
	memcpy(held->name, subscription->name.ptr, subscription->name.len);
	held->worker = worker;
	held->hold.name = str_of(held->name, subscription->name.len);
	held->hold.on_lost = on_lost;
	out->ended_by = &held->ended_by;
	out->release = release;
	out->release_ctx = held;
	subscriptions_hold(deliver_subscriptions(worker->api->deliver), &held->hold);
	return OK;
}

int subscription_open(struct api_worker *worker, const struct subscription *subscription, change_write_fn write,
		      struct feed_options *out)
{
	*out = (struct feed_options){.kind = &CHANGE_FEED, .cursor = subscription->cursor};
	arena_init(&out->arena, 512, 1u << 20);
	struct change_feed *feed = arena_new(&out->arena, struct change_feed);
	int rc =
	    feed ? change_filter_restore(worker->json, subscription->filter, &out->arena, &feed->filter) : ERR_NOMEM;
	if (rc == OK) {
		out->params = feed;
		feed->write = write;
		rc = hold_for(worker, subscription, out);
	}
	if (rc) arena_fini(&out->arena);
	return rc;
}
