#include <stdlib.h>

#include "base/clock.h"
#include "net/http2.h"
#include "net/stats.h"
#include "net/worker.h"

#define ROUNDS_A_TURN  16 /* of HTTP2_OUT_HIGH each: then others have their turn */
#define NOTICE_US      US_PER_SECOND
#define GRACE_US       (60 * US_PER_SECOND)
#define PING_WAIT_MS   20000 /* or ten times `keepalive`, if that is less */
#define LINGER_US      (5 * US_PER_SECOND)
#define HALF_CLOSED_US (2 * US_PER_SECOND)

static const struct conf_limits *limits_of(const struct http2 *h2)
{
	return settings_limits(h2->conn->worker->settings);
}

static int64_t now_of(const struct http2 *h2)
{
	return worker_now(h2->conn->worker);
}

void http2_due(struct http2 *h2, int64_t at_us)
{
	struct conn *conn = h2->conn;
	if (conn->phase == CONN_OPEN && (!conn->deadline_us || at_us < conn->deadline_us))
		conn_set_deadline(conn, at_us);
}

void http2_later(struct http2 *h2)
{
	if (!h2->is_running) conn_later(h2->conn);
}

/* ── beginning and end ───────────────────────────────────────────────────── */

static struct http2 *start(struct conn *conn)
{
	struct http2 *h2 = calloc(1, sizeof *h2);
	if (!h2) return NULL;
	h2->magic = HTTP2_MAGIC;
	h2->conn = conn;
	conn->state = h2;
	h2->started_us = h2->idle_us = h2->heard_us = now_of(h2);
	http2_guard_init(&h2->guard, h2->started_us);
	stats_http2_connections(1);
	if (http2_session_open(h2) != OK) return NULL;
	http2_due(h2, h2->started_us + limits_of(h2)->header_timeout_ms * US_PER_MS);
	if (conn->age_us) http2_due(h2, conn->age_us);
	return h2;
}

static void free_http2(struct http2 *h2)
{
	CHECK(!h2->streams && h2->held == 0);
	h2->conn->state = NULL;
	h2->magic = 0;
	stats_http2_connections(-1);
	free(h2);
}

static struct http2_stream *first_open(const struct http2 *h2)
{
	struct http2_stream *stream = h2->streams;
	while (stream && !stream->is_open) stream = stream->next;
	return stream;
}

/* From all that the client had open. Whoever is told may end other streams: so each time anew. */
static void part(struct http2 *h2)
{
	struct http2_stream *stream;
	http2_session_close(h2);
	while ((stream = first_open(h2))) http2_stream_closed(stream);
	conn_count_output(h2->conn);
}

void http2_orphan_gone(struct http2 *h2)
{
	struct conn *conn = h2->conn;
	if (conn->phase != CONN_CLOSED || h2->streams) return;
	free_http2(h2);
	conn_release(conn);
}

/* What is said is said: sends it and closes. A client that does not read it is not waited for long. */
static void finish(struct http2 *h2)
{
	struct conn *conn = h2->conn;
	part(h2);
	conn_finish(conn, true);
	conn_set_deadline(conn, now_of(h2) + LINGER_US);
	conn_flush(conn);
}

/* ── a turn ──────────────────────────────────────────────────────────────── */

/* Whoever is called may end other streams: so each time from the first. */
static void tell_drained(struct http2 *h2)
{
	while (h2->drains_due > 0) {
		struct http2_stream *stream = h2->streams;
		while (!stream->is_drain_due) stream = stream->next;
		http2_stream_drained(stream);
	}
}

static void retire_streams(struct http2 *h2)
{
	struct http2_stream *stream = h2->streams;
	while (stream) stream = http2_stream_retire(stream) ? h2->streams : stream->next;
}

/* Makes frames and sends them; false when the connection is no longer open, or there were none. */
static bool send_round(struct http2 *h2)
{
	struct conn *conn = h2->conn;
	h2->is_running = true;
	if (h2->drain != HTTP2_SERVING) retire_streams(h2);
	int rc = http2_session_write(h2);
	if (rc == OK) tell_drained(h2);
	h2->is_running = false;
	conn_count_output(conn);
	bool has_made = conn->out.len > 0;
	if (rc != OK) {
		stats_http2_ended(HTTP2_ENDED_ERROR);
		conn_abort(conn);
		return false;
	}
	bool is_over = http2_session_is_over(h2) || (h2->has_left && h2->open_count == 0);
	if (is_over)
		finish(h2);
	else
		conn_flush(conn);
	return has_made && !is_over && conn->phase == CONN_OPEN;
}

/* Input is read even while the client reads nothing: its window updates and answers to PINGs are in there. What that may make us owe
 * is bounded: answers by the streams it may have open, the rest by the guard. */
static void run(struct http2 *h2)
{
	struct conn *conn = h2->conn;
	int rounds = 0;
	while (rounds < ROUNDS_A_TURN && send_round(h2) && conn->out.len == 0 && http2_session_has_output(h2)) rounds++;
	if (conn->state != h2 || conn->phase != CONN_OPEN) return;
	if (rounds == ROUNDS_A_TURN) conn_later(conn);
	conn_count_output(conn);
	if (h2->open_count == 0) http2_due(h2, h2->idle_us + limits_of(h2)->idle_timeout_ms * US_PER_MS);
}

/* ── draining ────────────────────────────────────────────────────────────── */

/* In two steps: the notice, so that requests under way to us are not lost, and when the client knows, the last word. */
void http2_begin_drain(struct http2 *h2)
{
	if (h2->drain != HTTP2_SERVING || !h2->session) return;
	h2->drain = HTTP2_NOTICED;
	h2->noticed_us = now_of(h2);
	http2_session_notice(h2);
	http2_due(h2, h2->noticed_us + NOTICE_US);
	http2_later(h2);
}

void http2_noticed(struct http2 *h2)
{
	if (h2->drain != HTTP2_NOTICED) return;
	h2->drain = HTTP2_DRAINING;
	http2_session_goaway(h2);
	http2_due(h2, h2->noticed_us + GRACE_US);
}

/* ── the clock ───────────────────────────────────────────────────────────── */

/* Has that moment come? If not, it will be looked at then. */
static bool is_past(struct http2 *h2, int64_t at_us)
{
	if (now_of(h2) >= at_us) return true;
	http2_due(h2, at_us);
	return false;
}

static void watch_stream(struct http2 *h2, struct http2_stream *stream)
{
	if (stream->waiting_us && !stream->is_half_closed && is_past(h2, http2_stream_body_deadline(stream)))
		http2_stream_timeout(stream);
	if (!stream->is_blocked || !is_past(h2, stream->blocked_us + limits_of(h2)->write_timeout_ms * US_PER_MS))
		return;
	stats_dropped(DROP_WRITE_TIMEOUT);
	stream->is_blocked = false;
	http2_send_reset(stream, HTTP2_CANCEL);
}

static void watch_streams(struct http2 *h2)
{
	for (struct http2_stream *stream = h2->streams, *next; stream; stream = next) {
		next = stream->next;
		if (stream->is_open) watch_stream(h2, stream);
	}
}

static int64_t ping_deadline(const struct http2 *h2)
{
	uint64_t wait_ms = (uint64_t)limits_of(h2)->keepalive_ms * 10;
	return h2->ping_us + (int64_t)(wait_ms < PING_WAIT_MS ? wait_ms : PING_WAIT_MS) * US_PER_MS;
}

/* What must be there by now and is not: the connection ends at once. */
static bool has_failed(struct http2 *h2)
{
	const struct conf_limits *limits = limits_of(h2);
	if (!h2->is_greeted && is_past(h2, h2->started_us + limits->header_timeout_ms * US_PER_MS)) return true;
	if (h2->head_us && is_past(h2, h2->head_us + limits->header_timeout_ms * US_PER_MS)) return true;
	if (h2->has_left && is_past(h2, h2->left_us + HALF_CLOSED_US)) return true;
	if (!h2->ping_us || !is_past(h2, ping_deadline(h2))) return false;
	stats_http2_ended(HTTP2_ENDED_PING);
	return true;
}

static void watch_life(struct http2 *h2)
{
	const struct conf_limits *limits = limits_of(h2);
	if (h2->open_count == 0) {
		if (is_past(h2, h2->idle_us + limits->idle_timeout_ms * US_PER_MS)) http2_begin_drain(h2);
	} else if (limits->keepalive_ms && !h2->ping_us) {
		if (is_past(h2, h2->heard_us + limits->keepalive_ms * US_PER_MS)) {
			h2->ping_us = now_of(h2);
			http2_session_ping(h2);
			http2_due(h2, ping_deadline(h2));
		}
	}
	if (h2->drain == HTTP2_SERVING && h2->conn->age_us && is_past(h2, h2->conn->age_us)) {
		stats_http2_ended(HTTP2_ENDED_AGE);
		http2_begin_drain(h2);
	}
	if (h2->drain == HTTP2_NOTICED && is_past(h2, h2->noticed_us + NOTICE_US)) http2_noticed(h2);
	if (h2->drain == HTTP2_DRAINING && is_past(h2, h2->noticed_us + GRACE_US))
		http2_session_end(h2, HTTP2_NO_ERROR);
}

static void on_timeout(struct conn *conn)
{
	struct http2 *h2 = conn->state;
	if (has_failed(h2)) {
		finish(h2);
		return;
	}
	h2->is_running = true;
	watch_streams(h2);
	watch_life(h2);
	h2->is_running = false;
	run(h2);
}

/* ── protocol ────────────────────────────────────────────────────────────── */

/* The deadline counts from the head's first byte: sending it byte by byte wins nothing. */
static void time_head(struct http2 *h2)
{
	if (!http2_guard_in_head(&h2->guard)) {
		h2->head_us = 0;
	} else if (!h2->head_us || h2->head != h2->guard.heads) {
		h2->head = h2->guard.heads;
		h2->head_us = now_of(h2);
		http2_due(h2, h2->head_us + limits_of(h2)->header_timeout_ms * US_PER_MS);
	}
}

/* Whoever sends anything lives. */
static void hear(struct http2 *h2)
{
	h2->heard_us = now_of(h2);
	if (h2->ping_us) http2_due(h2, h2->heard_us + limits_of(h2)->keepalive_ms * US_PER_MS);
	h2->ping_us = 0;
}

static void on_data(struct conn *conn)
{
	struct http2 *h2 = conn->state ? conn->state : start(conn);
	if (!h2) {
		conn_abort(conn);
		return;
	}
	hear(h2);
	h2->is_running = true;
	size_t len = conn->in.len, allowed = http2_guard_scan(&h2->guard, buf_ptr(&conn->in), len, h2->heard_us);
	time_head(h2);
	int rc = http2_session_read(h2, buf_ptr(&conn->in), allowed);
	if (rc == OK && allowed < len && !h2->is_ending) {
		stats_http2_ended(HTTP2_ENDED_CONTROL);
		http2_session_end(h2, HTTP2_ENHANCE_YOUR_CALM);
	}
	h2->is_running = false;
	buf_consume(&conn->in, len);
	conn_give_input(conn);
	if (rc == OK) {
		run(h2);
		return;
	}
	stats_http2_ended(HTTP2_ENDED_ERROR);
	conn_abort(conn);
}

/* It will read no long streams to their end; what it asked for before it is still answered. */
static void on_eof(struct conn *conn)
{
	struct http2 *h2 = conn->state;
	if (!h2) {
		conn_abort(conn);
		return;
	}
	h2->has_left = true;
	h2->left_us = now_of(h2);
	http2_due(h2, h2->left_us + HALF_CLOSED_US);
	h2->is_running = true;
	for (struct http2_stream *stream = h2->streams, *next; stream; stream = next) {
		next = stream->next;
		if (stream->is_open &&
		    (!stream->is_half_closed || stream->step == HTTP2_STREAM || stream->step == HTTP2_DUPLEX))
			http2_send_reset(stream, HTTP2_CANCEL);
	}
	h2->is_running = false;
	run(h2);
}

static void on_drained(struct conn *conn)
{
	if (conn->state) run(conn->state);
}

/* Requests whose clients have left, and whose handlers asked only then to be told. */
static void tell_orphans(struct http2 *h2)
{
	for (struct http2_stream *stream = h2->streams; stream;) {
		if (stream->is_open || !request_abort(&stream->request)) {
			stream = stream->next;
			continue;
		}
		http2_stream_release(stream);
		stream = h2->streams;
	}
}

static void on_resume(struct conn *conn)
{
	struct http2 *h2 = conn->state;
	if (!h2) return;
	tell_orphans(h2);
	if (conn->phase == CONN_CLOSED)
		http2_orphan_gone(h2);
	else if (conn->phase == CONN_OPEN)
		run(h2);
	else
		conn_flush(conn);
}

static void on_retire(struct conn *conn)
{
	struct http2 *h2 = conn->state;
	http2_begin_drain(h2);
	run(h2);
}

static bool on_close(struct conn *conn)
{
	struct http2 *h2 = conn->state;
	if (!h2) return false;
	part(h2);
	CHECK(conn->behind == 0);
	if (h2->streams) return true;
	free_http2(h2);
	return false;
}

static void on_forget(struct conn *conn)
{
	struct http2 *h2 = conn->state;
	while (h2->streams) http2_stream_release(h2->streams);
	http2_orphan_gone(h2);
}

const struct protocol http2_protocol = {
    .name = "h2",
    .data = on_data,
    .eof = on_eof,
    .drained = on_drained,
    .resume = on_resume,
    .timeout = on_timeout,
    .retire = on_retire,
    .close = on_close,
    .forget = on_forget,
};
