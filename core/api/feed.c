#include "api/feed.h"

#include <event2/event.h>
#include <stdlib.h>

#include "api/params.h"

struct feed {
	struct feed *next, **link; /* of the hub */
	struct feed *ready_next;   /* waiting for one of FEED_PULLS_MAX */
	struct feed_hub *hub;
	const struct feed_kind *kind;
	struct arena arena;
	struct http_request *req;   /* until the stream begins */
	struct http_stream *stream; /* NULL before, and after the client left */
	uint64_t cursor, announced; /* passed; last told to the client as an id */
	struct buf out;             /* fetched, not yet in the stream */
	bool is_pulling, is_ready;
	bool is_busy; /* inside a function that uses it after calling net, which may call on_gone */
	int status;   /* of the last pull */
	struct feed_pull pull;
	struct read_job job;
};

struct feed_hub {
	struct api_worker *worker;
	struct feed *feeds;
	size_t count, pulls;
	struct feed *ready_first, **ready_last;
	struct event *heartbeat, *retry;
};

static void pump(struct feed *feed);
static void start_pulls(struct feed_hub *hub);

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

static void feed_free(struct feed *feed)
{
	struct feed_hub *hub = feed->hub;
	leave_ready(feed);
	*feed->link = feed->next;
	if (feed->next) feed->next->link = feed->link;
	hub->count--;
	atomic_fetch_sub(&hub->worker->interest, 1);
	atomic_fetch_sub(hub->worker->api->streams, 1);
	buf_fini(&feed->out);
	arena_fini(&feed->arena);
	free(feed);
}

/* The client is gone: now, or when the pool gives the job back. */
static void abandon(struct feed *feed)
{
	feed->req = NULL;
	feed->stream = NULL;
	if (feed->is_busy) return;
	if (feed->is_pulling)
		read_job_cancel(&feed->job);
	else
		feed_free(feed);
}

static void on_gone(void *ctx)
{
	abandon(ctx);
}

static void on_drain(void *ctx)
{
	pump(ctx);
}

/* ── the pull ────────────────────────────────────────────────────────────── */

static struct feed *feed_of(struct read_job *job)
{
	return (struct feed *)((char *)job - offsetof(struct feed, job));
}

static void work(struct read_job *job, struct read_thread *thread)
{
	struct feed *feed = feed_of(job);
	feed->status = feed->kind->fill(&feed->pull, thread);
}

static const struct http_stream_events STREAM_EVENTS = {.on_drain = on_drain, .on_close = on_gone};

static void refuse(struct feed *feed)
{
	struct http_request *req = feed->req;
	int status = feed->status;
	http_on_abort(req, NULL, NULL);
	feed_free(feed);
	if (status == ERR_GONE)
		http_reply_problem(req, PROBLEM_GONE,
				   STR("that position is behind retention: start again from the present state"),
				   STR_NONE);
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static int announce(struct feed *feed, struct buf *out, const char *comment)
{
	char text[POSITION_TEXT_SIZE];
	struct position position = {.epoch = journal_epoch(feed->hub->worker->api->journal), .seq = feed->cursor};
	position_format(feed->kind->cursors, position, text);
	feed->announced = feed->cursor;
	return buf_printf(out, ": %s\nid: %s\n\n", comment, text);
}

/* The first pull went well: the request becomes a stream. */
static bool begin(struct feed *feed)
{
	struct buf hello;
	struct http_request *req = feed->req;
	feed->req = NULL;
	http_on_abort(req, NULL, NULL);
	http_set_header(req, STR("Cache-Control"), STR("no-store"));
	http_set_header(req, STR("X-Accel-Buffering"), STR("no"));
	feed->stream = http_stream_begin(req, 200, MIME_EVENT_STREAM, &STREAM_EVENTS, feed);
	if (!feed->stream) return false;
	buf_init(&hello, 256);
	/* An id at once: a client that sees nothing else can still resume from here. */
	uint64_t cursor = feed->cursor;
	if (feed->out.len) feed->cursor = feed->announced;
	int rc = buf_append_str(&hello, STR("retry: 2000\n"));
	if (rc == OK) rc = announce(feed, &hello, "connected");
	feed->cursor = cursor;
	feed->is_busy = true;
	if (rc == OK) rc = http_stream_write(feed->stream, buf_str(&hello));
	feed->is_busy = false;
	buf_fini(&hello);
	if (rc != OK && feed->stream) http_stream_end(feed->stream);
	return rc == OK && feed->stream;
}

static void fail(struct feed *feed)
{
	bool is_gone = feed->status == ERR_GONE;
	if (!is_gone) log_warn(LOG_API, "a stream ends early (%s)", status_str(feed->status));
	struct str last =
	    is_gone
		? STR("event: error\ndata: {\"code\":\"gone\",\"message\":\"the consumer fell behind retention\"}\n\n")
		: STR("event: error\ndata: {\"code\":\"internal\",\"message\":\"see the daemon's log\"}\n\n");
	feed->is_busy = true;
	/* Behind half a message it would be taken for that one's end. */
	if (!feed->out.len && http_stream_room(feed->stream) >= last.len && http_stream_write(feed->stream, last) != OK)
		log_debug(LOG_API, "a stream's last message was not sent");
	struct http_stream *stream = feed->stream;
	feed->is_busy = false;
	feed_free(feed);
	if (stream) http_stream_end(stream);
}

static void done(struct read_job *job)
{
	struct feed *feed = feed_of(job);
	struct feed_hub *hub = feed->hub;
	hub->pulls--;
	feed->is_pulling = false;
	if (!feed->req && !feed->stream) {
		feed_free(feed);
	} else if (feed->req && feed->status != OK) {
		refuse(feed);
	} else {
		feed->cursor = feed->pull.cursor;
		if (feed->req && !begin(feed))
			abandon(feed);
		else
			pump(feed);
	}
	start_pulls(hub);
}

static int submit(struct feed *feed)
{
	feed->pull.cursor = feed->cursor;
	feed->job.work = work;
	feed->job.done = done;
	feed->status = OK;
	int rc = read_pool_submit(feed->hub->worker->api->pool, &feed->hub->worker->jobs, &feed->job);
	if (rc != OK) return rc;
	feed->is_pulling = true;
	feed->hub->pulls++;
	return OK;
}

static void start_pulls(struct feed_hub *hub)
{
	while (hub->ready_first && hub->pulls < FEED_PULLS_MAX) {
		if (submit(hub->ready_first) != OK) {
			const struct timeval soon = {.tv_usec = 100000};
			(void)evtimer_add(hub->retry, &soon);
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

/* ── the stream ──────────────────────────────────────────────────────────── */

/* Moves what was fetched into the stream, as far as it goes. */
static int flush(struct feed *feed)
{
	while (feed->stream && feed->out.len) {
		size_t room = http_stream_room(feed->stream);
		if (!room) return OK;
		size_t len = feed->out.len < room ? feed->out.len : room;
		int rc = http_stream_write(feed->stream, str_of(buf_ptr(&feed->out), len));
		if (rc != OK) return rc;
		buf_consume(&feed->out, len);
	}
	buf_clear(&feed->out);
	buf_shrink(&feed->out, FEED_BATCH);
	return OK;
}

static void pump(struct feed *feed)
{
	if (feed->is_pulling || feed->is_busy || !feed->stream) return;
	feed->is_busy = true;
	int rc = flush(feed);
	if (rc != OK) feed->status = rc;
	feed->is_busy = false;
	if (!feed->stream) {
		feed_free(feed);
		return;
	}
	if (feed->status != OK) {
		fail(feed);
		return;
	}
	if (feed->out.len || http_stream_room(feed->stream) < FEED_BATCH) return; /* on_drain comes */
	if (feed->kind->newest(feed->hub->worker->api) > feed->cursor) want_pull(feed);
}

void feed_hub_wake(struct feed_hub *hub)
{
	struct feed *next;
	for (struct feed *feed = hub->feeds; feed; feed = next) {
		next = feed->next;
		pump(feed);
	}
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd, (void)what;
	start_pulls(ctx);
}

static void beat(struct feed *feed)
{
	struct buf text;
	if (!feed->stream || feed->is_pulling || feed->out.len || http_stream_room(feed->stream) < FEED_BATCH) return;
	buf_init(&text, 256);
	feed->is_busy = true;
	int rc = feed->announced == feed->cursor ? buf_append_str(&text, STR(": heartbeat\n\n"))
						 : announce(feed, &text, "heartbeat");
	if (rc == OK && http_stream_write(feed->stream, buf_str(&text)) != OK)
		log_debug(LOG_API, "a heartbeat was not sent");
	buf_fini(&text);
	feed->is_busy = false;
	if (feed->stream)
		pump(feed);
	else
		feed_free(feed);
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

void feed_start(struct api_worker *worker, struct http_request *req, const struct feed_kind *kind, struct arena *arena,
		const void *params, uint64_t cursor)
{
	struct feed_hub *hub = worker->feeds;
	if (http_method(req) == HTTP_HEAD) {
		arena_fini(arena);
		http_reply(req, 200, MIME_EVENT_STREAM, STR_NONE);
		return;
	}
	struct feed *feed = hub->count < FEEDS_MAX ? calloc(1, sizeof *feed) : NULL;
	if (!feed) {
		arena_fini(arena);
		http_reply_problem(req, PROBLEM_OVERLOADED, STR("too many streams are open"), STR_NONE);
		return;
	}
	feed->hub = hub;
	feed->kind = kind;
	feed->arena = *arena;
	feed->req = req;
	feed->cursor = feed->announced = cursor;
	buf_init(&feed->out, FEED_BATCH + FEED_MESSAGE_MAX);
	feed->pull = (struct feed_pull){
	    .params = params, .api = worker->api, .out = &feed->out, .is_cancelled = &feed->job.is_cancelled};
	feed->next = hub->feeds;
	feed->link = &hub->feeds;
	if (hub->feeds) hub->feeds->link = &feed->next;
	hub->feeds = feed;
	hub->count++;
	atomic_fetch_add(&worker->interest, 1);
	atomic_fetch_add(worker->api->streams, 1);
	http_on_abort(req, on_gone, feed);
	want_pull(feed);
}

bool feed_cursor(struct api_worker *worker, struct http_request *req, const struct feed_kind *kind, uint64_t *cursor)
{
	struct str name = STR("Last-Event-ID");
	struct str text = http_header(req, STR("last-event-id"));
	if (!text.len) {
		name = STR("since");
		if (!http_query_get(req, name, &text)) return true;
		if (str_eq(text, STR("start"))) {
			*cursor = FEED_FROM_START;
			return true;
		}
	}
	if (!param_position(worker->api, req, kind->cursors, name, text, cursor)) return false;
	if (*cursor <= kind->newest(worker->api)) return true;
	param_refuse(req, name, "that position lies ahead of the feed");
	return false;
}

int feed_message_begin(struct buf *out, struct api *api, enum position_feed feed, uint64_t seq, const char *event)
{
	char text[POSITION_TEXT_SIZE];
	position_format(feed, (struct position){.epoch = journal_epoch(api->journal), .seq = seq}, text);
	return buf_printf(out, "id: %s\nevent: %s\ndata: ", text, event);
}

int feed_message_end(struct buf *out, int status, size_t before)
{
	if (status == OK) status = buf_append_str(out, STR("\n\n"));
	if (status != OK) buf_cut(out, before);
	return status;
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
	free(hub);
}
