#include "api/feed.h"

#include <event2/event.h>
#include <stdlib.h>

#define GONE_MESSAGE STR("that position is behind retention: start again from a snapshot")

/* Feeds that want the same bytes; of a kind that is not shared each has its own. */
struct feed_group {
	struct feed_group *next, **link; /* of the tail; shared kinds only */
	struct arena arena;
	void *params;
	size_t refs;
	struct feed *live;       /* caught up: they stand at the tail's cursor */
	struct feed_slice slice; /* what the flight under way brings */
	bool is_flying;
};

struct feed {
	struct feed *next, **link; /* of the hub */
	struct feed *ready_next;   /* waiting for one of FEED_PULLS_MAX */
	struct feed *news_next;    /* waiting for the next wake */
	struct feed *live_next, **live_link;
	struct feed_hub *hub;
	struct feed_group *group;
	struct feed_options is; /* params and arena are the group's */
	uint64_t cursor;        /* passed; while live the tail's counts */
	uint64_t announced;     /* last told to the consumer by itself */
	struct buf out;         /* fetched, not yet taken by the sink */
	bool is_begun, is_gone, is_pulling, is_ready, is_waiting, is_live, is_done;
	bool is_busy; /* inside a function that uses it after calling the sink, which may call feed_gone */
	int status;   /* of the last pull or write */
	struct feed_pull pull;
	struct read_job job;
};

/* One read for all live feeds. */
struct tail {
	const struct feed_kind *kind;
	struct feed_group *groups;
	size_t group_count, live_count, room;
	uint64_t cursor;
	bool is_flying;
	int status;
	struct feed_share share;
	struct feed_group **crew; /* groups of the flight, as share.slices */
	struct read_job job;
};

struct feed_hub {
	struct api_worker *worker;
	struct feed *feeds;
	size_t count, pulls;
	struct feed *ready_first, **ready_last;
	struct feed *news;
	struct tail tail;
	atomic_bool is_called;
	struct event *heartbeat, *retry;
};

static void pump(struct feed *feed);
static void start_pulls(struct feed_hub *hub);
static void fly(struct feed_hub *hub);

/* ── groups ──────────────────────────────────────────────────────────────── */

static struct feed_group *group_find(struct tail *tail, const struct feed_kind *kind, const void *params)
{
	if (!kind->fill_shared) return NULL;
	for (struct feed_group *group = tail->groups; group; group = group->next)
		if (kind->is_same(group->params, params)) return group;
	return NULL;
}

/* Takes the arena. */
static struct feed_group *group_get(struct feed_hub *hub, struct feed_options *options)
{
	struct tail *tail = &hub->tail;
	struct feed_group *group = group_find(tail, options->kind, options->params);
	if (group) {
		arena_fini(&options->arena);
		group->refs++;
		return group;
	}
	group = calloc(1, sizeof *group);
	if (!group) {
		arena_fini(&options->arena);
		return NULL;
	}
	group->arena = options->arena;
	group->params = options->params;
	group->refs = 1;
	buf_init(&group->slice.out, FEED_BATCH + FEED_MESSAGE_MAX);
	group->slice.params = group->params;
	if (!options->kind->fill_shared) return group;
	CHECK(!tail->kind || tail->kind == options->kind);
	tail->kind = options->kind;
	group->next = tail->groups;
	group->link = &tail->groups;
	if (tail->groups) tail->groups->link = &group->next;
	tail->groups = group;
	tail->group_count++;
	return group;
}

static void group_free(struct feed_hub *hub, struct feed_group *group)
{
	if (group->link) {
		*group->link = group->next;
		if (group->next) group->next->link = group->link;
		hub->tail.group_count--;
	}
	buf_fini(&group->slice.out);
	arena_fini(&group->arena);
	free(group);
}

/* A group in flight is the pool's until it lands. */
static void group_put(struct feed_hub *hub, struct feed_group *group)
{
	if (--group->refs == 0 && !group->is_flying) group_free(hub, group);
}

static void join_live(struct feed *feed)
{
	struct feed_group *group = feed->group;
	feed->is_live = true;
	feed->live_next = group->live;
	feed->live_link = &group->live;
	if (group->live) group->live->live_link = &feed->live_next;
	group->live = feed;
	feed->hub->tail.live_count++;
}

/* It goes on by itself, from `cursor`. */
static void leave_live(struct feed *feed, uint64_t cursor)
{
	if (!feed->is_live) return;
	*feed->live_link = feed->live_next;
	if (feed->live_next) feed->live_next->live_link = feed->live_link;
	feed->is_live = false;
	feed->cursor = cursor;
	feed->hub->tail.live_count--;
}

static uint64_t cursor_of(const struct feed *feed)
{
	return feed->is_live ? feed->hub->tail.cursor : feed->cursor;
}

/* ── life ────────────────────────────────────────────────────────────────── */

static void leave_ready(struct feed *feed)
{
	struct feed_hub *hub = feed->hub;
	if (!feed->is_ready) return;
	struct feed **at = &hub->ready_first;
	while (*at != feed) at = &(*at)->ready_next;
	*at = feed->ready_next;
	if (!*at) hub->ready_last = at;
	feed->is_ready = false;
}

static void leave_news(struct feed *feed)
{
	if (!feed->is_waiting) return;
	struct feed **at = &feed->hub->news;
	while (*at != feed) at = &(*at)->news_next;
	*at = feed->news_next;
	feed->is_waiting = false;
}

static void wait_for_news(struct feed *feed)
{
	if (feed->is_waiting) return;
	feed->is_waiting = true;
	feed->news_next = feed->hub->news;
	feed->hub->news = feed;
}

static void feed_free(struct feed *feed)
{
	struct feed_hub *hub = feed->hub;
	leave_ready(feed);
	leave_news(feed);
	leave_live(feed, 0);
	*feed->link = feed->next;
	if (feed->next) feed->next->link = feed->link;
	hub->count--;
	atomic_fetch_sub(&hub->worker->interest, 1);
	atomic_fetch_sub(hub->worker->api->streams, 1);
	if (feed->is.release) feed->is.release(feed->is.release_ctx);
	group_put(hub, feed->group);
	buf_fini(&feed->out);
	free(feed);
}

/* Now, or when the pool gives the job back. */
void feed_gone(struct feed *feed)
{
	feed->is_gone = true;
	if (feed->is_busy) return;
	if (feed->is_pulling)
		read_job_cancel(&feed->job);
	else
		feed_free(feed);
}

void feed_drained(struct feed *feed)
{
	pump(feed);
}

static void finish(struct feed *feed, enum problem why, struct str message)
{
	const struct feed_sink *sink = feed->is.sink;
	void *ctx = feed->is.sink_ctx;
	bool is_whole = feed->out.len == 0;
	feed_free(feed);
	sink->end(ctx, why, message, is_whole);
}

static enum problem ended_by(const struct feed *feed)
{
	return feed->is.ended_by ? (enum problem)atomic_load(feed->is.ended_by) : PROBLEM_NONE;
}

static void fail(struct feed *feed)
{
	int status = feed->status;
	if (status == ERR_GONE) {
		finish(feed, PROBLEM_GONE, GONE_MESSAGE);
		return;
	}
	if (status == ERR_BUSY) {
		finish(feed, PROBLEM_OVERLOADED, STR("too much of this is going on already"));
		return;
	}
	log_warn(LOG_API, "a stream ends early (%s)", status_str(status));
	finish(feed, PROBLEM_INTERNAL, STR("see the daemon's log"));
}

/* ── the pull ────────────────────────────────────────────────────────────── */

static struct feed *feed_of(struct read_job *job)
{
	return (struct feed *)((char *)job - offsetof(struct feed, job));
}

static void work(struct read_job *job, struct read_thread *thread)
{
	struct feed *feed = feed_of(job);
	feed->status = feed->is.kind->fill(&feed->pull, thread);
}

/* The first pull went well. False: the feed is gone. */
static bool begin(struct feed *feed)
{
	feed->is_begun = feed->is_busy = true;
	/* A consumer that sees nothing else can still resume from here. */
	int rc = feed->is.sink->begin(feed->is.sink_ctx, feed->out.len ? feed->announced : feed->cursor);
	feed->is_busy = false;
	if (!feed->out.len) feed->announced = feed->cursor;
	if (feed->is_gone) {
		feed_free(feed);
		return false;
	}
	feed->status = rc;
	if (rc != OK) fail(feed);
	return rc == OK;
}

static void done(struct read_job *job)
{
	struct feed *feed = feed_of(job);
	struct feed_hub *hub = feed->hub;
	hub->pulls--;
	feed->is_pulling = false;
	if (feed->is_gone) {
		feed_free(feed);
	} else if (!feed->is_begun && feed->status != OK) {
		fail(feed);
	} else {
		if (feed->cursor == FEED_FROM_START) feed->announced = feed->pull.cursor;
		feed->cursor = feed->pull.cursor;
		feed->is_done = feed->pull.is_done;
		if (feed->is_begun || begin(feed)) pump(feed);
	}
	start_pulls(hub);
}

static bool is_tail_used(const struct tail *tail)
{
	return tail->live_count > 0 || tail->is_flying;
}

static int submit(struct feed *feed)
{
	const struct tail *tail = &feed->hub->tail;
	bool is_behind_tail = feed->is.kind->fill_shared && is_tail_used(tail) && feed->cursor != FEED_FROM_START;
	feed->pull.cursor = feed->cursor;
	feed->pull.limit = is_behind_tail ? tail->cursor : UINT64_MAX;
	feed->job.work = work;
	feed->job.done = done;
	feed->status = OK;
	int rc = read_pool_submit(feed->hub->worker->api->pool, &feed->hub->worker->jobs, &feed->job);
	if (rc != OK) return rc;
	feed->is_pulling = true;
	feed->hub->pulls++;
	return OK;
}

static void retry_soon(struct feed_hub *hub)
{
	const struct timeval soon = {.tv_usec = 100000};
	(void)evtimer_add(hub->retry, &soon);
}

static void start_pulls(struct feed_hub *hub)
{
	while (hub->ready_first && hub->pulls < FEED_PULLS_MAX) {
		if (submit(hub->ready_first) != OK) {
			retry_soon(hub);
			return;
		}
		leave_ready(hub->ready_first);
	}
}

static void want_pull(struct feed *feed)
{
	struct feed_hub *hub = feed->hub;
	if (feed->is_ready || feed->is_pulling) return;
	feed->is_ready = true;
	feed->ready_next = NULL;
	*hub->ready_last = feed;
	hub->ready_last = &feed->ready_next;
	start_pulls(hub);
}

/* ── towards the sink ────────────────────────────────────────────────────── */

/* Moves what was fetched into the sink, as far as it goes. */
static int flush(struct feed *feed)
{
	while (feed->out.len && !feed->is_gone) {
		size_t taken = 0;
		int rc = feed->is.sink->write(feed->is.sink_ctx, buf_str(&feed->out), &taken);
		if (rc != OK || taken == 0) return rc;
		if (feed->is_gone) return OK;
		buf_consume(&feed->out, taken);
	}
	/* An idle feed keeps no memory. */
	buf_fini(&feed->out);
	buf_init(&feed->out, FEED_BATCH + FEED_MESSAGE_MAX);
	return OK;
}

static bool may_join(const struct feed *feed)
{
	const struct tail *tail = &feed->hub->tail;
	if (!is_tail_used(tail)) return feed->cursor >= feed->is.kind->newest(feed->hub->worker->api);
	return feed->cursor == tail->cursor && (!tail->is_flying || feed->group->is_flying);
}

/* All is sent and there is room: where do the next bytes come from? */
static void follow(struct feed *feed)
{
	struct tail *tail = &feed->hub->tail;
	uint64_t newest = feed->is.kind->newest(feed->hub->worker->api);
	if (feed->is.kind->fill_shared && feed->cursor != FEED_FROM_START) {
		if (may_join(feed)) {
			tail->cursor = feed->cursor;
			join_live(feed);
			fly(feed->hub); /* it may have moved on since we looked */
			return;
		}
		if (is_tail_used(tail)) newest = tail->cursor;
	}
	if (newest > feed->cursor)
		want_pull(feed);
	else
		wait_for_news(feed);
}

static void pump(struct feed *feed)
{
	if (feed->is_pulling || feed->is_busy || feed->is_gone || !feed->is_begun) return;
	enum problem why = ended_by(feed);
	if (feed->is_live && !why) return;
	feed->is_busy = true;
	int rc = flush(feed);
	if (rc != OK) feed->status = rc;
	feed->is_busy = false;
	if (feed->is_gone)
		feed_free(feed);
	else if (why)
		finish(feed, why, STR_NONE);
	else if (feed->status != OK)
		fail(feed);
	else if (feed->out.len)
		return; /* feed_drained comes */
	else if (feed->is_done)
		finish(feed, PROBLEM_NONE, STR_NONE);
	else if (feed->is.sink->room(feed->is.sink_ctx) >= FEED_BATCH)
		follow(feed);
}

/* ── live feeds ──────────────────────────────────────────────────────────── */

/* `from`: where the bytes begin. The tail's cursor is where they end. */
static void hand_out(struct feed *feed, struct str bytes, uint64_t from)
{
	size_t taken = 0;
	if (feed->is.sink->room(feed->is.sink_ctx) < FEED_BATCH) {
		leave_live(feed, from); /* feed_drained comes */
		return;
	}
	feed->is_busy = true;
	int rc = feed->is.sink->write(feed->is.sink_ctx, bytes, &taken);
	feed->is_busy = false;
	if (feed->is_gone) {
		feed_free(feed);
		return;
	}
	if (rc == OK && taken < bytes.len) {
		rc = buf_append_str(&feed->out, str_of(bytes.ptr + taken, bytes.len - taken));
		leave_live(feed, feed->hub->tail.cursor);
	}
	feed->status = rc;
	if (rc != OK) fail(feed);
}

static void land(struct feed_hub *hub, struct feed_group *group, uint64_t from)
{
	struct feed *next;
	struct str bytes = buf_str(&group->slice.out);
	group->is_flying = false;
	group->refs++; /* the last feed may go meanwhile */
	for (struct feed *feed = bytes.len || hub->tail.status ? group->live : NULL; feed; feed = next) {
		next = feed->live_next;
		if (hub->tail.status == OK) {
			hand_out(feed, bytes, from);
			continue;
		}
		leave_live(feed, from); /* let each see for itself what is wrong */
		want_pull(feed);
	}
	buf_fini(&group->slice.out);
	buf_init(&group->slice.out, FEED_BATCH + FEED_MESSAGE_MAX);
	group_put(hub, group);
}

static struct feed_hub *hub_of(struct read_job *job)
{
	return (struct feed_hub *)((char *)job - offsetof(struct feed_hub, tail.job));
}

static void pump_waiting(struct feed_hub *hub)
{
	struct feed *list = hub->news, *next;
	hub->news = NULL;
	for (struct feed *feed = list; feed; feed = feed->news_next) feed->is_waiting = false;
	for (struct feed *feed = list; feed; feed = next) {
		next = feed->news_next;
		pump(feed);
	}
}

static void flight_work(struct read_job *job, struct read_thread *thread)
{
	struct tail *tail = &hub_of(job)->tail;
	tail->status = tail->kind->fill_shared(&tail->share, thread);
}

static void flight_done(struct read_job *job)
{
	struct feed_hub *hub = hub_of(job);
	struct tail *tail = &hub->tail;
	uint64_t from = tail->cursor;
	tail->is_flying = false;
	if (tail->status == OK) tail->cursor = tail->share.cursor;
	for (size_t i = 0; i < tail->share.count; i++) land(hub, tail->crew[i], from);
	pump_waiting(hub);
	fly(hub);
}

static bool make_crew(struct tail *tail)
{
	if (tail->room < tail->group_count) {
		size_t room = tail->group_count + 16;
		struct feed_group **crew = realloc(tail->crew, room * sizeof *crew);
		if (crew) tail->crew = crew;
		struct feed_slice **slices = crew ? realloc(tail->share.slices, room * sizeof *slices) : NULL;
		if (!slices) return false;
		tail->share.slices = slices;
		tail->room = room;
	}
	tail->share.count = 0;
	for (struct feed_group *group = tail->groups; group; group = group->next) {
		tail->crew[tail->share.count] = group;
		tail->share.slices[tail->share.count++] = &group->slice;
	}
	return true;
}

/* Reads what is new for everybody who is live. */
static void fly(struct feed_hub *hub)
{
	struct tail *tail = &hub->tail;
	struct api *api = hub->worker->api;
	if (tail->is_flying || tail->live_count == 0 || tail->kind->newest(api) <= tail->cursor) return;
	tail->share.api = api;
	tail->share.cursor = tail->cursor;
	tail->share.is_cancelled = &tail->job.is_cancelled;
	tail->job.work = flight_work;
	tail->job.done = flight_done;
	tail->status = OK;
	if (!make_crew(tail) || read_pool_submit(api->pool, &hub->worker->jobs, &tail->job) != OK) {
		retry_soon(hub);
		return;
	}
	tail->is_flying = true;
	for (size_t i = 0; i < tail->share.count; i++) tail->crew[i]->is_flying = true;
}

/* ── wakes ───────────────────────────────────────────────────────────────── */

static void end_called(struct feed_hub *hub)
{
	struct feed *next;
	for (struct feed *feed = hub->feeds; feed; feed = next) {
		next = feed->next;
		if (ended_by(feed)) pump(feed);
	}
}

void feed_hub_wake(struct feed_hub *hub)
{
	if (atomic_exchange(&hub->is_called, false)) end_called(hub);
	pump_waiting(hub);
	fly(hub);
}

void feed_hub_call(struct api_worker *worker)
{
	atomic_store(&worker->feeds->is_called, true);
	if (!atomic_exchange(&worker->is_wake_posted, true)) loop_post(worker->loop, &worker->wake);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd, (void)what;
	start_pulls(ctx);
	fly(ctx);
}

static void beat(struct feed *feed)
{
	if (!feed->is_begun || feed->is_pulling || feed->out.len) return;
	if (feed->is.sink->room(feed->is.sink_ctx) < FEED_BATCH) return;
	uint64_t cursor = cursor_of(feed);
	feed->is_busy = true;
	int rc = feed->is.sink->beat(feed->is.sink_ctx, cursor, feed->announced != cursor);
	feed->is_busy = false;
	feed->announced = cursor;
	if (feed->is_gone) {
		feed_free(feed);
		return;
	}
	if (rc == OK) return;
	feed->status = rc;
	leave_live(feed, cursor);
	fail(feed);
}

static void on_heartbeat(evutil_socket_t fd, short what, void *ctx)
{
	struct feed_hub *hub = ctx;
	struct feed *next;
	(void)fd, (void)what;
	for (struct feed *feed = hub->feeds; feed; feed = next) {
		next = feed->next;
		beat(feed);
	}
}

/* ── starting ────────────────────────────────────────────────────────────── */

struct feed *feed_start(struct api_worker *worker, struct feed_options *options)
{
	struct feed_hub *hub = worker->feeds;
	struct feed *feed = hub->count < FEEDS_MAX ? calloc(1, sizeof *feed) : NULL;
	if (!feed) {
		arena_fini(&options->arena);
		return NULL;
	}
	feed->group = group_get(hub, options);
	if (!feed->group) {
		free(feed);
		return NULL;
	}
	feed->hub = hub;
	feed->is = *options;
	feed->cursor = feed->announced = options->cursor;
	buf_init(&feed->out, FEED_BATCH + FEED_MESSAGE_MAX);
	feed->pull = (struct feed_pull){.params = feed->group->params,
					.api = worker->api,
					.out = &feed->out,
					.is_cancelled = &feed->job.is_cancelled};
	feed->next = hub->feeds;
	feed->link = &hub->feeds;
	if (hub->feeds) hub->feeds->link = &feed->next;
	hub->feeds = feed;
	hub->count++;
	atomic_fetch_add(&worker->interest, 1);
	atomic_fetch_add(worker->api->streams, 1);
	want_pull(feed);
	return feed;
}

/* ── the hub ─────────────────────────────────────────────────────────────── */

int feed_hub_new(struct api_worker *worker, struct feed_hub **out)
{
	struct feed_hub *hub = calloc(1, sizeof *hub);
	if (!hub) return ERR_NOMEM;
	uint32_t ms = worker->api->heartbeat_ms;
	const struct timeval every = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
	hub->worker = worker;
	hub->ready_last = &hub->ready_first;
	hub->heartbeat = event_new(loop_base(worker->loop), -1, EV_PERSIST, on_heartbeat, hub);
	hub->retry = evtimer_new(loop_base(worker->loop), on_retry, hub);
	if (!hub->heartbeat || !hub->retry || evtimer_add(hub->heartbeat, &every) != 0) {
		feed_hub_free(hub);
		return ERR_NOMEM;
	}
	*out = hub;
	return OK;
}

void feed_hub_free(struct feed_hub *hub)
{
	if (!hub) return;
	for (struct feed *feed = hub->feeds, *next; feed; feed = next) {
		next = feed->next;
		feed_free(feed);
	}
	if (hub->heartbeat) event_free(hub->heartbeat);
	if (hub->retry) event_free(hub->retry);
	free(hub->tail.crew);
	free(hub->tail.share.slices);
	free(hub);
}
