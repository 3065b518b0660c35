#include "api/feed_http.h"

#include <stdlib.h>

#include "api/params.h"

struct http_sink {
	struct api *api;
	enum feed_dress dress;
	enum position_feed cursors;
	struct feed *feed;
	struct http_request *req;   /* until the stream begins */
	struct http_stream *stream; /* NULL before */
	bool is_busy, is_gone;      /* inside a function that calls net, which may say that the client left */
};

static void on_gone(void *ctx)
{
	struct http_sink *sink = ctx;
	sink->req = NULL;
	sink->stream = NULL;
	sink->is_gone = true;
	if (sink->feed) feed_gone(sink->feed);
	sink->feed = NULL;
	if (!sink->is_busy) free(sink);
}

/* The client may be gone when it returns, and the sink with it. */
static int send(struct http_sink *sink, struct str bytes)
{
	sink->is_busy = true;
	int rc = http_stream_write(sink->stream, bytes);
	sink->is_busy = false;
	if (!sink->is_gone) return rc;
	free(sink);
	return OK;
}

static void on_drain(void *ctx)
{
	struct http_sink *sink = ctx;
	if (sink->feed) feed_drained(sink->feed);
}

static const struct http_stream_events STREAM_EVENTS = {.on_drain = on_drain, .on_close = on_gone};

static int write_id(const struct http_sink *sink, struct buf *out, const char *comment, uint64_t cursor)
{
	char text[POSITION_TEXT_SIZE];
	struct position position = {.epoch = journal_epoch(sink->api->journal), .seq = cursor};
	position_format(sink->cursors, position, text);
	return buf_printf(out, ": %s\nid: %s\n\n", comment, text);
}

static struct str mime_of(enum feed_dress dress)
{
	switch (dress) {
	case FEED_EVENTS: return MIME_EVENT_STREAM;
	case FEED_CSV: return STR("text/csv; charset=utf-8");
	case FEED_LINES: break;
	}
	return STR("application/x-ndjson");
}

static int begin(void *ctx, uint64_t cursor)
{
	struct http_sink *sink = ctx;
	struct http_request *req = sink->req;
	struct str type = mime_of(sink->dress);
	http_on_abort(req, NULL, NULL);
	http_set_header(req, STR("Cache-Control"), STR("no-store"));
	http_set_header(req, STR("X-Accel-Buffering"), STR("no"));
	sink->req = NULL;
	sink->stream = http_stream_begin(req, 200, type, &STREAM_EVENTS, sink);
	if (!sink->stream) {
		on_gone(sink);
		return OK;
	}
	if (sink->dress != FEED_EVENTS) return OK;
	struct buf hello;
	buf_init(&hello, 256);
	int rc = buf_append_str(&hello, STR("retry: 2000\n"));
	if (rc == OK) rc = write_id(sink, &hello, "connected", cursor);
	if (rc == OK) rc = send(sink, buf_str(&hello));
	buf_fini(&hello);
	return rc;
}

static size_t room(const void *ctx)
{
	const struct http_sink *sink = ctx;
	return http_stream_room(sink->stream);
}

static int write_bytes(void *ctx, struct str bytes, size_t *taken)
{
	struct http_sink *sink = ctx;
	size_t space = http_stream_room(sink->stream);
	*taken = bytes.len < space ? bytes.len : space;
	return *taken ? send(sink, str_of(bytes.ptr, *taken)) : OK;
}

static int beat(void *ctx, uint64_t cursor, bool has_moved)
{
	struct http_sink *sink = ctx;
	struct buf text;
	if (sink->dress != FEED_EVENTS) return OK;
	buf_init(&text, 256);
	int rc = has_moved ? write_id(sink, &text, "heartbeat", cursor) : buf_append_str(&text, STR(": heartbeat\n\n"));
	if (rc == OK) rc = send(sink, buf_str(&text));
	buf_fini(&text);
	return rc;
}

static int write_last(const struct http_sink *sink, struct buf *out, enum problem why, struct str message)
{
	const struct problem_info *info = problem_info(why);
	if (!message.len) message = str_from(info->text);
	if (sink->dress == FEED_EVENTS)
		return buf_printf(out, "event: error\ndata: {\"code\":\"%s\",\"message\":\"%.*s\"}\n\n", info->code,
				  STR_ARG(message));
	return buf_printf(out, "{\"error\":{\"code\":\"%s\",\"message\":\"%.*s\"}}\n", info->code, STR_ARG(message));
}

/* Behind half a message it would be taken for that one's end. */
static void say_why(struct http_sink *sink, enum problem why, struct str message)
{
	struct buf last;
	if (sink->dress == FEED_CSV) return;
	buf_init(&last, 1024);
	if (write_last(sink, &last, why, message) == OK && http_stream_room(sink->stream) >= last.len &&
	    http_stream_write(sink->stream, buf_str(&last)) != OK)
		log_debug(LOG_API, "a stream's last message was not sent");
	buf_fini(&last);
}

static void end(void *ctx, enum problem why, struct str message, bool is_whole)
{
	struct http_sink *sink = ctx;
	sink->feed = NULL;
	sink->is_busy = true;
	if (sink->req) {
		http_on_abort(sink->req, NULL, NULL);
		http_reply_problem(sink->req, why, message, STR_NONE);
	} else {
		if (why != PROBLEM_NONE && is_whole) say_why(sink, why, message);
		if (!sink->is_gone) http_stream_end(sink->stream);
	}
	free(sink);
}

static const struct feed_sink SINK = {.begin = begin, .room = room, .write = write_bytes, .beat = beat, .end = end};

void feed_http_start(struct api_worker *worker, struct http_request *req, enum feed_dress dress,
		     enum position_feed cursors, struct feed_options *options)
{
	if (http_method(req) == HTTP_HEAD) {
		arena_fini(&options->arena);
		if (options->release) options->release(options->release_ctx);
		http_reply(req, 200, mime_of(dress), STR_NONE);
		return;
	}
	struct http_sink *sink = calloc(1, sizeof *sink);
	if (sink) {
		*sink = (struct http_sink){.api = worker->api, .dress = dress, .cursors = cursors, .req = req};
		options->sink = &SINK;
		options->sink_ctx = sink;
		sink->feed = feed_start(worker, options);
	} else {
		arena_fini(&options->arena);
	}
	if (sink && sink->feed) {
		http_on_abort(req, on_gone, sink);
		return;
	}
	free(sink);
	if (options->release) options->release(options->release_ctx);
	http_reply_problem(req, PROBLEM_OVERLOADED, STR("too many streams are open"), STR_NONE);
}

bool feed_http_cursor(struct api_worker *worker, struct http_request *req, const struct feed_kind *kind,
		      enum position_feed cursors, uint64_t *cursor)
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
	if (!param_position(worker->api, req, cursors, name, text, cursor)) return false;
	if (*cursor <= kind->newest(worker->api)) return true;
	param_refuse(req, name, "that position lies ahead of the feed");
	return false;
}

int feed_message_begin(struct buf *out, const struct api *api, enum position_feed feed, uint64_t seq, const char *event)
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
