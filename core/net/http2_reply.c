/* Answers over HTTP/2. What is written waits in the stream's `out` until its window and the connection's output have room. */
#include "base/clock.h"
#include "base/log.h"
#include "net/http2.h"
#include "net/worker.h"

#define STREAM_LOW_WATER (HTTP_STREAM_BUFFER / 4)
#define STREAM_SPARED    (HTTP_STREAM_BUFFER / 2) /* may wait whatever else waits: who keeps reading is not ended */

/* The client left, nobody asked to be told, and now the answer comes. */
static bool is_orphan(struct http2_stream *stream)
{
	struct http2 *h2 = stream->h2;
	if (stream->is_open) return false;
	http2_stream_release(stream);
	http2_orphan_gone(h2);
	return true;
}

/* Something waits from now on: not for ever. Duplex streams have owners who know how long. */
static void watch_progress(struct http2_stream *stream)
{
	struct http2 *h2 = stream->h2;
	if (stream->is_blocked || stream->out.len == 0 || stream->step == HTTP2_DUPLEX) return;
	stream->is_blocked = true;
	stream->blocked_us = worker_now(h2->conn->worker);
	http2_due(h2, stream->blocked_us + settings_limits(h2->conn->worker->settings)->write_timeout_ms * US_PER_MS);
}

static int append(struct http2_stream *stream, struct str data)
{
	struct conn *conn = stream->h2->conn;
	if (!stream->out.data) worker_take_buf(conn->worker, &stream->out);
	int rc = buf_append_str(&stream->out, data);
	http2_stream_count(stream);
	conn_count_output(conn);
	watch_progress(stream);
	return rc;
}

/* The request is over for its handler; the stream still has to send. */
static void finish_request(struct http2_stream *stream)
{
	struct conn *conn = stream->h2->conn;
	stream->step = HTTP2_DONE;
	stream->request.is_answered = true;
	http2_stream_forget_body(stream);
	if (!stream->is_half_closed) http2_stream_wait(stream);
	if (++conn->served >= settings_limits(conn->worker->settings)->requests_per_connection)
		http2_begin_drain(stream->h2);
}

/* ── whole answers ───────────────────────────────────────────────────────── */

static void reply(struct http_request *request, int status, struct str content_type, struct str body)
{
	struct http2_stream *stream = http2_stream_of(request);
	if (is_orphan(stream)) return;
	CHECK(stream->step == HTTP2_HANDLER);
	bool has_body = status >= 200 && status != 204 && status != 304;
	bool is_sent = has_body && body.len > 0 && request->head->method != HTTP_HEAD;
	int rc = is_sent ? append(stream, body) : OK;
	if (rc == OK) {
		stream->is_ended = true;
		http2_send_head(stream, status, content_type, has_body ? (int64_t)body.len : -1, !is_sent);
	} else {
		log_error(LOG_NET, "an answer of %zu bytes is not sent, its stream reset (%s)", body.len,
			  status_str(rc));
		http2_send_reset(stream, HTTP2_INTERNAL_ERROR);
	}
	finish_request(stream);
	request_end(request);
}

static void watch_abort(struct http_request *request)
{
	struct http2_stream *stream = http2_stream_of(request);
	if (!stream->is_open) conn_later(stream->h2->conn);
}

/* ── what streams and duplex share ───────────────────────────────────────── */

void http2_stream_sent(struct http2_stream *stream, size_t len)
{
	struct http2 *h2 = stream->h2;
	buf_consume(&stream->out, len);
	stream->blocked_us = worker_now(h2->conn->worker);
	if (stream->out.len == 0) {
		stream->is_blocked = false;
		worker_give_buf(h2->conn->worker, &stream->out);
		http2_stream_count(stream);
	}
	if (!stream->was_high || stream->is_drain_due || stream->out.len > STREAM_LOW_WATER) return;
	stream->was_high = false;
	stream->is_drain_due = true;
	h2->drains_due++;
}

void http2_stream_drained(struct http2_stream *stream)
{
	struct http_stream *sse = &stream->request.stream;
	struct http_duplex *duplex = &stream->request.duplex;
	stream->is_drain_due = false;
	stream->h2->drains_due--;
	if (stream->step == HTTP2_STREAM && sse->events.on_drain) sse->events.on_drain(sse->ctx);
	if (stream->step == HTTP2_DUPLEX && duplex->events.on_drain) duplex->events.on_drain(duplex->ctx);
}

static size_t room_of(const struct http2_stream *stream)
{
	return stream->out.len < HTTP_STREAM_BUFFER ? HTTP_STREAM_BUFFER - stream->out.len : 0;
}

static int write_more(struct http2_stream *stream, struct str data)
{
	struct conn *conn = stream->h2->conn;
	if (data.len > room_of(stream)) {
		stream->was_high = true;
		return ERR_TOO_LARGE;
	}
	if (conn->behind + data.len > STREAM_SPARED && !conn_may_queue(conn, data.len)) return ERR_BUSY;
	int rc = append(stream, data);
	if (rc != OK) return rc;
	if (stream->out.len > STREAM_LOW_WATER) stream->was_high = true;
	http2_send_more(stream);
	return OK;
}

/* Nothing more is written; what waits is still sent. */
static void end_output(struct http2_stream *stream)
{
	stream->is_ended = true;
	finish_request(stream);
	http2_send_more(stream);
	watch_progress(stream);
}

void http2_stream_cut(struct http2_stream *stream, bool is_polite)
{
	struct http_stream *sse = &stream->request.stream;
	struct http_duplex *duplex = &stream->request.duplex;
	enum http2_step step = stream->step;
	if (step != HTTP2_STREAM && step != HTTP2_DUPLEX) return;
	sse->is_open = duplex->is_open = false;
	stream->step = HTTP2_DONE;
	if (is_polite) end_output(stream);
	if (step == HTTP2_STREAM && sse->events.on_close) sse->events.on_close(sse->ctx);
	if (step == HTTP2_DUPLEX && duplex->events.on_close) duplex->events.on_close(duplex->ctx);
}

bool http2_stream_retire(struct http2_stream *stream)
{
	struct http_duplex *duplex = &stream->request.duplex;
	if (stream->is_retired || (stream->step != HTTP2_STREAM && stream->step != HTTP2_DUPLEX)) return false;
	stream->is_retired = true;
	if (stream->step == HTTP2_STREAM)
		http2_stream_cut(stream, true);
	else if (duplex->events.on_retire)
		duplex->events.on_retire(duplex->ctx);
	return true;
}

/* ── streams ─────────────────────────────────────────────────────────────── */

static struct http_stream *stream_begin(struct http_request *request, int status, struct str content_type)
{
	struct http2_stream *stream = http2_stream_of(request);
	bool is_head = request->head->method == HTTP_HEAD;
	if (is_orphan(stream)) return NULL;
	CHECK(stream->step == HTTP2_HANDLER);
	http2_send_head(stream, status, content_type, -1, is_head);
	if (is_head) {
		(void)request_abort(request);
		finish_request(stream);
		return NULL;
	}
	request->on_abort = NULL;
	request->stream.is_open = true;
	stream->step = HTTP2_STREAM;
	http2_stream_forget_request(stream);
	return &request->stream;
}

static size_t stream_room(const struct http_stream *sse)
{
	return room_of(http2_stream_of(sse->request));
}

static int stream_write(struct http_stream *sse, struct str data)
{
	return write_more(http2_stream_of(sse->request), data);
}

static void stream_end(struct http_stream *sse)
{
	sse->is_open = false;
	end_output(http2_stream_of(sse->request));
}

/* ── duplex ──────────────────────────────────────────────────────────────── */

static void duplex_begin(struct http_request *request)
{
	struct http2_stream *stream = http2_stream_of(request);
	CHECK(stream->step == HTTP2_HANDLER && stream->is_open && stream->received == 0);
	stream->step = HTTP2_DUPLEX;
}

static void duplex_consume(struct http_duplex *duplex, size_t len)
{
	struct http2_stream *stream = http2_stream_of(duplex->request);
	CHECK(len <= stream->unconsumed);
	stream->unconsumed -= len;
	http2_session_consume(stream, len);
}

static void duplex_reply(struct http_duplex *duplex, int status, struct str content_type)
{
	http2_send_head(http2_stream_of(duplex->request), status, content_type, -1, false);
}

static int duplex_write(struct http_duplex *duplex, struct str data)
{
	return write_more(http2_stream_of(duplex->request), data);
}

/* Who asks how much room there is may wait for more of it. */
static size_t duplex_room(const struct http_duplex *duplex)
{
	struct http2_stream *stream = http2_stream_of(duplex->request);
	if (stream->out.len > 0) stream->was_high = true;
	return room_of(stream);
}

static void duplex_end(struct http_duplex *duplex, struct str content_type, const struct http_trailer *trailers,
		       size_t count)
{
	struct http2_stream *stream = http2_stream_of(duplex->request);
	stream->trailers = trailers;
	stream->trailer_count = count;
	stream->must_stop = true;
	if (!duplex->has_replied) {
		stream->is_ended = true;
		http2_send_head(stream, 200, content_type, -1, true);
		finish_request(stream);
	} else {
		end_output(stream);
	}
	/* What it did not take in time nobody will take any more. */
	http2_session_consume(stream, stream->unconsumed);
	stream->unconsumed = 0;
}

static void duplex_reset(struct http_duplex *duplex)
{
	struct http2_stream *stream = http2_stream_of(duplex->request);
	finish_request(stream);
	http2_send_reset(stream, HTTP2_INTERNAL_ERROR);
}

const struct http_carrier http2_carrier = {
    .reply = reply,
    .stream_begin = stream_begin,
    .stream_write = stream_write,
    .stream_room = stream_room,
    .stream_end = stream_end,
    .watch_abort = watch_abort,
    .duplex_begin = duplex_begin,
    .duplex_consume = duplex_consume,
    .duplex_reply = duplex_reply,
    .duplex_write = duplex_write,
    .duplex_room = duplex_room,
    .duplex_end = duplex_end,
    .duplex_reset = duplex_reset,
};
