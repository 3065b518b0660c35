#include "net/http1.h"

#include <stdlib.h>

#include "base/clock.h"
#include "net/stats.h"
#include "net/worker.h"

#define PIPELINED_OUT_MAX ((size_t)64 * 1024)
#define INFLATED_KEEP     ((size_t)32 * 1024)
#define SPARES_MAX        64
#define SMALL_BODY        ((size_t)64 * 1024) /* not counted: the cap on connections bounds these */
#define BODIES_AT_ONCE    32                  /* of the largest size, over all connections: beyond, 429 */
/* A client that has sent all may close its half and still read. One that has left looks the same, so there is a limit. */
#define HALF_CLOSED_US (2 * US_PER_SECOND)

static const struct conf_limits *limits_of(const struct http1 *h1)
{
	return settings_limits(h1->conn->worker->settings);
}

/* ── state: taken for the first byte of a request, given back when nothing is left to do ─────────────────────────── */

static void start_head(struct http1 *h1)
{
	http1_head_start(&h1->parser);
	h1->step = HTTP1_HEAD;
	h1->is_stalled = h1->must_close = h1->must_linger = h1->is_discarding = h1->has_failed = false;
	h1->refusal = PROBLEM_NONE;
	h1->body_len = 0;
	h1->started_us = 0;
}

static struct http1 *take(struct conn *conn)
{
	struct worker *worker = conn->worker;
	struct http1 *h1 = worker->spare_http1;
	if (h1) {
		worker->spare_http1 = h1->next_spare;
		worker->spare_http1_count--;
	} else {
		h1 = calloc(1, sizeof *h1);
		if (!h1) return NULL;
		h1->magic = HTTP1_MAGIC;
		request_init(&h1->request, &http1_carrier);
		buf_init(&h1->inflated, 1);
	}
	h1->conn = conn;
	h1->is_running = false;
	conn->state = h1;
	start_head(h1);
	return h1;
}

static void free_http1(struct http1 *h1)
{
	request_fini(&h1->request);
	buf_fini(&h1->inflated);
	h1->magic = 0;
	free(h1);
}

/* What one request used. */
static void end_request(struct http1 *h1)
{
	if (h1->held) census_let_go(h1->conn->worker->census, h1->held);
	h1->held = 0;
	request_end(&h1->request);
	decode_fini(&h1->decode);
	buf_clear(&h1->inflated);
	buf_shrink(&h1->inflated, INFLATED_KEEP);
}

void http1_release(struct http1 *h1)
{
	struct worker *worker = h1->conn->worker;
	end_request(h1);
	h1->conn->state = NULL;
	h1->conn = NULL;
	if (worker->spare_http1_count == SPARES_MAX) {
		free_http1(h1);
		return;
	}
	h1->next_spare = worker->spare_http1;
	worker->spare_http1 = h1;
	worker->spare_http1_count++;
}

void http1_free_spares(struct worker *worker)
{
	while (worker->spare_http1) {
		struct http1 *h1 = worker->spare_http1;
		worker->spare_http1 = h1->next_spare;
		free_http1(h1);
	}
	worker->spare_http1_count = 0;
}

/* ── refusing ────────────────────────────────────────────────────────────── */

/* Hands the request to its handler, or to the refusal that was found on the way. */
static void dispatch(struct http1 *h1)
{
	struct conn *conn = h1->conn;
	struct http_request *request = &h1->request;
	const char *base = buf_ptr(&conn->in);
	struct str body =
	    h1->decode.is_gzip ? buf_str(&h1->inflated) : (struct str){base + h1->parser.length, h1->body_len};
	conn_set_deadline(conn, conn->is_eof ? worker_now(conn->worker) + HALF_CLOSED_US : 0);
	conn->has_fixed_in = true;
	h1->step = HTTP1_HANDLER;
	h1->started_us = 0;
	request->base = base;
	if (h1->refusal == PROBLEM_NONE) {
		request_dispatch(request, base, body);
	} else {
		stats_refused(h1->refusal);
		http_reply_problem(request, h1->refusal, STR_NONE, STR_NONE);
	}
}

/* Where the next request would start is not known, or not worth reading for: answers and closes. */
static bool refuse(struct http1 *h1, enum problem problem, const char *why)
{
	struct http_request *request = &h1->request;
	const char *base = buf_ptr(&h1->conn->in);
	if (h1->step == HTTP1_HEAD && h1->parser.length == 0) {
		request_begin(request, h1->conn, &h1->parser.head, base);
		request->match.route = NULL; /* a head that is not whole is nobody's */
		request->match.cors = CORS_NONE;
	}
	h1->must_close = h1->must_linger = true;
	h1->conn->has_fixed_in = true;
	h1->step = HTTP1_HANDLER;
	request->base = base;
	stats_refused(problem);
	http_reply_problem(request, problem, str_from(why), STR_NONE);
	return true;
}

static bool refuse_as(struct http1 *h1, const struct http1_refusal *refusal)
{
	return refuse(h1, refusal->problem, refusal->why);
}

/* ── reading a head ──────────────────────────────────────────────────────── */

/* Whether the client waits to hear before it sends its body. */
static bool waits_for_continue(const struct http1 *h1)
{
	const struct head *head = &h1->parser.head;
	return head->minor == 1 && head->wants_continue && (head->is_chunked || head->content_length > 0) &&
	       h1->conn->in.len == h1->parser.length;
}

static bool begin_request(struct http1 *h1)
{
	struct conn *conn = h1->conn;
	struct http_request *request = &h1->request;
	const struct head *head = &h1->parser.head;
	request_begin(request, conn, head, buf_ptr(&conn->in));
	size_t cap = request_body_cap(request);
	if (head->minor == 1 && head->has_other_expect) return refuse(h1, PROBLEM_EXPECTATION_FAILED, NULL);
	if (head->content_length > cap) return refuse(h1, PROBLEM_TOO_LARGE, NULL);
	h1->refusal = decode_start(&h1->decode, head_value(head, request->base, HEAD_CONTENT_ENCODING));
	if (request->match.route && request->match.route->duplex) h1->refusal = PROBLEM_HTTP2_REQUIRED;
	h1->is_discarding = h1->refusal != PROBLEM_NONE || !request->match.route;
	http1_body_start(&h1->body, head, cap);
	if (waits_for_continue(h1)) {
		if (h1->is_discarding) { /* answered at once; what the client does about its body then is its choice */
			h1->must_close = h1->must_linger = true;
			dispatch(h1);
			return true;
		}
		if (buf_append_str(conn_output(conn), STR("HTTP/1.1 100 Continue\r\n\r\n")) != OK)
			return refuse(h1, PROBLEM_INTERNAL, NULL);
	}
	h1->inflated.cap = cap;
	conn->in.cap = h1->parser.length + cap + 2 * CONN_READ_MAX;
	h1->step = HTTP1_BODY;
	h1->started_us = 0;
	return true;
}

/* The deadline counts from the head's first byte: sending it byte by byte wins nothing. */
static bool wait_for_head(struct http1 *h1)
{
	struct conn *conn = h1->conn;
	if (conn->in.len == 0) return false;
	if (conn->is_eof) {
		conn_finish(conn, false);
		return false;
	}
	if (!h1->started_us) {
		h1->started_us = worker_now(conn->worker);
		conn_set_deadline(conn, h1->started_us + limits_of(h1)->header_timeout_ms * US_PER_MS);
	}
	return false;
}

static bool read_head(struct http1 *h1)
{
	struct conn *conn = h1->conn;
	if (conn->in.len == 0) {
		if (conn->is_eof) conn_finish(conn, false);
		return false;
	}
	if (conn->out.len > PIPELINED_OUT_MAX) {
		h1->is_stalled = conn->has_fixed_in = true;
		conn_set_deadline(conn, 0);
		return false;
	}
	switch (http1_head_parse(&h1->parser, buf_ptr(&conn->in), conn->in.len)) {
	case HTTP1_MORE: return wait_for_head(h1);
	case HTTP1_REFUSED: return refuse_as(h1, &h1->parser.refusal);
	case HTTP1_DONE: break;
	}
	return begin_request(h1);
}

/* ── reading a body ──────────────────────────────────────────────────────── */

/* Takes the body bytes out from between the head and what follows. */
static void drop_body(struct http1 *h1)
{
	struct buf *in = &h1->conn->in;
	char *body = buf_ptr(in) + h1->parser.length;
	memmove(body, body + h1->body_len, in->len - h1->parser.length - h1->body_len);
	in->len -= h1->body_len;
	h1->body_len = 0;
}

static enum problem take_body(struct http1 *h1, bool is_last)
{
	struct str bytes = {buf_ptr(&h1->conn->in) + h1->parser.length, h1->body_len};
	if (h1->is_discarding) {
		drop_body(h1);
		return PROBLEM_NONE;
	}
	decode_sniff(&h1->decode, bytes, is_last);
	if (!h1->decode.is_gzip) return PROBLEM_NONE;
	enum problem problem = bytes.len ? decode_feed(&h1->decode, bytes, &h1->inflated) : PROBLEM_NONE;
	drop_body(h1);
	return problem == PROBLEM_NONE && is_last ? decode_end(&h1->decode) : problem;
}

/* Some grace, and then as many bytes as the slowest client that is waited for would have sent. */
static bool wait_for_body(struct http1 *h1)
{
	struct conn *conn = h1->conn;
	const struct conf_limits *limits = limits_of(h1);
	if (conn->is_eof) {
		conn_finish(conn, false);
		return false;
	}
	if (!h1->started_us) h1->started_us = worker_now(conn->worker);
	uint64_t rate = limits->body_min_rate ? limits->body_min_rate : 1;
	int64_t earned_us = (int64_t)(h1->body.total * (uint64_t)US_PER_SECOND / rate);
	conn_set_deadline(conn, h1->started_us + limits->body_timeout_ms * US_PER_MS + earned_us);
	size_t want = h1->body.left < CONN_READ_MAX ? (size_t)h1->body.left : CONN_READ_MAX;
	conn->read_want = want > CONN_READ_USUAL ? want : CONN_READ_USUAL;
	return false;
}

/* Many connections that each send most of a large body and then wait could else take any amount of memory. */
static bool is_within_budget(struct http1 *h1)
{
	struct census *census = h1->conn->worker->census;
	size_t now = h1->conn->in.size + h1->inflated.size;
	if (now <= SMALL_BODY || now <= h1->held) return true;
	size_t sum = census_hold(census, now - h1->held);
	h1->held = now;
	return sum <= limits_of(h1)->body_bytes * BODIES_AT_ONCE;
}

static bool read_body(struct http1 *h1)
{
	struct buf *in = &h1->conn->in;
	char *fresh = buf_ptr(in) + h1->parser.length + h1->body_len;
	size_t len = in->len - h1->parser.length - h1->body_len, taken = 0, made = 0;
	enum http1_result result = http1_body_parse(&h1->body, fresh, len, &taken, &made);
	if (made < taken) {
		memmove(fresh + made, fresh + taken, len - taken);
		in->len -= taken - made;
	}
	h1->body_len += made;
	if (result == HTTP1_REFUSED) return refuse_as(h1, &h1->body.refusal);
	enum problem problem = take_body(h1, result == HTTP1_DONE);
	if (problem != PROBLEM_NONE) return refuse(h1, problem, NULL);
	if (!is_within_budget(h1)) return refuse(h1, PROBLEM_OVERLOADED, "too many large bodies are being received");
	if (result == HTTP1_MORE) return wait_for_body(h1);
	dispatch(h1);
	return true;
}

/* ── after the answer ────────────────────────────────────────────────────── */

static bool finish_request(struct http1 *h1)
{
	struct conn *conn = h1->conn;
	bool must_close = h1->must_close, must_linger = h1->must_linger;
	if (h1->has_failed) {
		conn_abort(conn);
		return false;
	}
	/* A refused request's length is not known: what came of it is thrown away with the rest. */
	size_t used = must_linger ? conn->in.len : h1->parser.length + h1->body_len;
	end_request(h1);
	conn->served++;
	buf_consume(&conn->in, used);
	conn_unfix(conn);
	if (conn->phase != CONN_OPEN) return false;
	if (must_close) {
		conn_finish(conn, must_linger || conn->in.len > 0);
		return false;
	}
	conn_set_deadline(conn, worker_now(conn->worker) + limits_of(h1)->idle_timeout_ms * US_PER_MS);
	start_head(h1);
	return true;
}

static bool advance(struct http1 *h1)
{
	switch (h1->step) {
	case HTTP1_HEAD: return read_head(h1);
	case HTTP1_BODY: return read_body(h1);
	case HTTP1_HANDLER: return h1->request.is_answered && finish_request(h1);
	case HTTP1_STREAM: return false;
	}
	return false;
}

/* As far as the bytes and the answers go. Output is sent once for all requests of the turn. Whatever may close the
 * connection comes last, for h1 is gone then. */
void http1_run(struct http1 *h1)
{
	struct conn *conn = h1->conn;
	bool goes_on;
	do {
		h1->is_running = true;
		while (advance(h1)) continue;
		if (conn->state != h1) return; /* closed: given back already */
		h1->is_running = false;
		goes_on = h1->is_stalled;
		h1->is_stalled = false;
		if (h1->step == HTTP1_HEAD && conn->in.len == 0 && conn->phase == CONN_OPEN) {
			http1_release(h1);
			conn_give_input(conn);
			conn_flush(conn);
			return;
		}
		conn_flush(conn);
		if (conn->phase != CONN_OPEN || conn->state != h1) return;
		if (h1->step == HTTP1_STREAM) http1_stream_check_drain(h1);
		goes_on = goes_on && conn->out.len == 0;
		if (goes_on) conn_unfix(conn);
	} while (goes_on && conn->state == h1);
}

/* ── protocol ────────────────────────────────────────────────────────────── */

static void on_data(struct conn *conn)
{
	struct http1 *h1 = conn->state ? conn->state : take(conn);
	if (!h1) {
		conn_abort(conn);
		return;
	}
	/* With a request under way, more bytes wait for their turn. */
	if (h1->step == HTTP1_HEAD || h1->step == HTTP1_BODY) http1_run(h1);
}

static void on_eof(struct conn *conn)
{
	struct http1 *h1 = conn->state;
	if (!h1) {
		conn_finish(conn, false);
		conn_flush(conn);
	} else if (h1->step == HTTP1_STREAM) {
		conn_abort(conn);
	} else if (h1->step == HTTP1_HANDLER) {
		conn_set_deadline(conn, worker_now(conn->worker) + HALF_CLOSED_US);
	} else {
		http1_run(h1);
	}
}

static void on_drained(struct conn *conn)
{
	struct http1 *h1 = conn->state;
	if (!h1) return;
	if (h1->step == HTTP1_STREAM) {
		http1_stream_check_drain(h1);
	} else if (h1->step == HTTP1_HEAD && conn->out.len <= PIPELINED_OUT_MAX) {
		conn_unfix(conn);
		http1_run(h1);
	}
}

static void on_resume(struct conn *conn)
{
	struct http1 *h1 = conn->state;
	if (conn->phase == CONN_CLOSED && h1) { /* left before somebody asked to be told */
		if (!request_abort(&h1->request)) return;
		http1_release(h1);
		conn_release(conn);
	} else if (conn->phase == CONN_OPEN && h1) {
		http1_run(h1);
	} else {
		conn_flush(conn);
	}
}

static void on_timeout(struct conn *conn)
{
	struct http1 *h1 = conn->state;
	if (!h1 || (h1->step == HTTP1_HEAD && conn->in.len == 0)) {
		conn_finish(conn, false); /* idle: closed without a word */
		conn_flush(conn);
	} else if (h1->step == HTTP1_HEAD || h1->step == HTTP1_BODY) {
		(void)refuse(h1, PROBLEM_REQUEST_TIMEOUT, NULL);
		http1_run(h1);
	} else {
		conn_abort(conn); /* half closed for too long */
	}
}

static void on_retire(struct conn *conn)
{
	struct http1 *h1 = conn->state;
	if (h1 && h1->step == HTTP1_STREAM) {
		http1_stream_close(h1, true);
		h1->must_close = true;
		h1->step = HTTP1_HANDLER;
		h1->request.is_answered = true;
		http1_run(h1);
	} else if (!h1) {
		conn_finish(conn, false);
		conn_flush(conn);
	}
	/* Else the request in progress is answered first, with Connection: close. */
}

static void on_forget(struct conn *conn)
{
	http1_release(conn->state);
	conn_release(conn);
}

static bool on_close(struct conn *conn)
{
	struct http1 *h1 = conn->state;
	if (!h1) return false;
	if (h1->step == HTTP1_HANDLER && !h1->request.is_answered && !request_abort(&h1->request)) return true;
	if (h1->step == HTTP1_STREAM) http1_stream_close(h1, false);
	http1_release(h1);
	return false;
}

const struct protocol http1_protocol = {
    .name = "http/1.1",
    .data = on_data,
    .eof = on_eof,
    .drained = on_drained,
    .resume = on_resume,
    .timeout = on_timeout,
    .retire = on_retire,
    .close = on_close,
    .forget = on_forget,
};
