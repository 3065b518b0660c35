/* Answers in HTTP/1.1's words: one contiguous write of head and body, chunks for streams. */
#include "base/clock.h"

#include "base/log.h"
#include "net/http1.h"
#include "net/worker.h"

#define CHUNK_OVERHEAD   20 /* 16 digits and two CRLFs */
#define STREAM_LOW_WATER (HTTP_STREAM_BUFFER / 4)
#define STREAM_SPARED    (HTTP_STREAM_BUFFER / 2) /* may wait whatever else waits: who keeps reading is not ended */
#define HEAD_FIXED_MAX   256

static struct http1 *h1_of(const struct http_request *request)
{
	struct http1 *h1 = (struct http1 *)(uintptr_t)((const char *)request - offsetof(struct http1, request));
	CHECK(h1->magic == HTTP1_MAGIC);
	return h1;
}

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {
	    {200, "OK"},
	    {202, "Accepted"},
	    {204, "No Content"},
	    {302, "Found"},
	    {304, "Not Modified"},
	    {400, "Bad Request"},
	    {401, "Unauthorized"},
	    {403, "Forbidden"},
	    {404, "Not Found"},
	    {405, "Method Not Allowed"},
	    {408, "Request Timeout"},
	    {409, "Conflict"},
	    {410, "Gone"},
	    {413, "Content Too Large"},
	    {414, "URI Too Long"},
	    {415, "Unsupported Media Type"},
	    {417, "Expectation Failed"},
	    {422, "Unprocessable Content"},
	    {429, "Too Many Requests"},
	    {431, "Request Header Fields Too Large"},
	    {500, "Internal Server Error"},
	    {503, "Service Unavailable"},
	    {505, "HTTP Version Not Supported"},
	};
	for (size_t i = 0; i < COUNT_OF(reasons); i++)
		if (reasons[i].status == status) return reasons[i].text;
	return "";
}

/* ── assembling ──────────────────────────────────────────────────────────── */

static char *put(char *to, struct str text)
{
	memcpy(to, text.ptr, text.len);
	return to + text.len;
}

static char *put_number(char *to, uint64_t number, unsigned base)
{
	char digits[24];
	size_t n = 0;
	do {
		digits[n++] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number);
	while (n > 0) *to++ = digits[--n];
	return to;
}

static char *put_field(char *to, struct str name, struct str value)
{
	to = put(to, name);
	to = put(to, STR(": "));
	to = put(to, value);
	return put(to, STR("\r\n"));
}

static size_t head_bound(const struct http_request *request, struct str content_type)
{
	size_t bound = HEAD_FIXED_MAX + content_type.len;
	for (size_t i = 0; i < request->field_count; i++)
		bound += request->fields[i].name.len + request->fields[i].value.len + 4;
	return bound;
}

/* Status line and everything but the framing. */
static char *put_head(char *to, const struct http1 *h1, int status, struct str content_type)
{
	const struct http_request *request = &h1->request;
	to = put(to, STR("HTTP/1.1 "));
	to = put_number(to, (uint64_t)status, 10);
	*to++ = ' ';
	to = put(to, str_from(reason(status)));
	to = put(to, STR("\r\nDate: "));
	to = put(to, worker_date(h1->conn->worker, clock_wall_us()));
	to = put(to, STR("\r\n"));
	if (content_type.len) to = put_field(to, STR("Content-Type"), content_type);
	for (size_t i = 0; i < request->field_count; i++)
		to = put_field(to, request->fields[i].name, request->fields[i].value);
	if (h1->must_close)
		to = put(to, STR("Connection: close\r\n"));
	else if (request->head->minor == 0)
		to = put(to, STR("Connection: keep-alive\r\n"));
	return to;
}

static void decide_close(struct http1 *h1)
{
	const struct head *head = h1->request.head;
	const struct conn *conn = h1->conn;
	const struct conf_limits *limits = settings_limits(conn->worker->settings);
	bool keeps = head->minor == 1 ? !head->wants_close : head->wants_keep_alive && !head->wants_close;
	bool is_old = conn->age_us && worker_now(conn->worker) >= conn->age_us;
	if (!keeps || is_old || conn->worker->is_draining || conn->served + 1 >= limits->requests_per_connection)
		h1->must_close = true;
}

static void write_answer(struct http1 *h1, int status, struct str content_type, struct str body)
{
	const struct http_request *request = &h1->request;
	bool has_body = status >= 200 && status != 204 && status != 304;
	size_t copied = has_body && request->head->method != HTTP_HEAD ? body.len : 0;
	char *start;
	int rc = buf_reserve(conn_output(h1->conn), head_bound(request, content_type) + copied, &start);
	if (rc != OK) {
		log_error(LOG_NET, "an answer of %zu bytes is not sent, connection closed (%s)", body.len,
			  status_str(rc));
		h1->has_failed = true;
		return;
	}
	char *to = put_head(start, h1, status, content_type);
	if (has_body) {
		to = put(to, STR("Content-Length: "));
		to = put_number(to, body.len, 10);
		to = put(to, STR("\r\n"));
	}
	to = put(to, STR("\r\n"));
	to = put(to, (struct str){body.ptr, copied});
	buf_commit(&h1->conn->out, (size_t)(to - start));
	conn_count_output(h1->conn);
}

/* An answer of its own turn is sent and followed up at that turn's end: here a handler, or something that answers
 * many requests in a row, is still on the stack. */
static void answered(struct http1 *h1)
{
	h1->request.is_answered = true;
	if (!h1->is_running) conn_later(h1->conn);
}

/* The client left, nobody asked to be told, and now the answer comes. */
static bool is_orphan(struct http1 *h1)
{
	struct conn *conn = h1->conn;
	if (conn->phase != CONN_CLOSED) return false;
	http1_release(h1);
	conn_release(conn);
	return true;
}

static void reply(struct http_request *request, int status, struct str content_type, struct str body)
{
	struct http1 *h1 = h1_of(request);
	if (is_orphan(h1)) return;
	CHECK(h1->step == HTTP1_HANDLER);
	decide_close(h1);
	write_answer(h1, status, content_type, body);
	answered(h1);
}

static void watch_abort(struct http_request *request)
{
	if (request->conn->phase == CONN_CLOSED) conn_later(request->conn);
}

/* ── streams ─────────────────────────────────────────────────────────────── */

static struct http_stream *stream_begin(struct http_request *request, int status, struct str content_type)
{
	struct http1 *h1 = h1_of(request);
	char *start;
	if (is_orphan(h1)) return NULL;
	CHECK(h1->step == HTTP1_HANDLER);
	decide_close(h1);
	h1->is_chunked_out = request->head->minor == 1;
	if (!h1->is_chunked_out) h1->must_close = true; /* its end is the stream's */
	if (buf_reserve(conn_output(h1->conn), head_bound(request, content_type), &start) != OK) h1->has_failed = true;
	if (!h1->has_failed) {
		char *to = put_head(start, h1, status, content_type);
		if (h1->is_chunked_out) to = put(to, STR("Transfer-Encoding: chunked\r\n"));
		to = put(to, STR("\r\n"));
		buf_commit(&h1->conn->out, (size_t)(to - start));
	}
	/* HEAD is answered by the head alone. */
	if (h1->has_failed || request->head->method == HTTP_HEAD) {
		(void)request_abort(request);
		answered(h1);
		return NULL;
	}
	request->on_abort = NULL;
	request->stream.is_open = true;
	h1->step = HTTP1_STREAM;
	if (!h1->is_running) conn_later(h1->conn);
	return &request->stream;
}

static size_t stream_room(const struct http_stream *stream)
{
	size_t waiting = stream->request->conn->out.len + CHUNK_OVERHEAD;
	return waiting < HTTP_STREAM_BUFFER ? HTTP_STREAM_BUFFER - waiting : 0;
}

static int stream_write(struct http_stream *stream, struct str data)
{
	struct http1 *h1 = h1_of(stream->request);
	struct buf *out = conn_output(h1->conn);
	char *start;
	if (data.len > stream_room(stream)) {
		stream->was_high = true;
		return ERR_TOO_LARGE;
	}
	size_t waiting = out->len + data.len;
	if (waiting > STREAM_SPARED && !conn_may_queue(h1->conn, waiting)) return ERR_BUSY;
	int rc = buf_reserve(out, data.len + CHUNK_OVERHEAD, &start);
	if (rc != OK) return rc;
	char *to = start;
	if (h1->is_chunked_out) to = put(put_number(to, data.len, 16), STR("\r\n"));
	to = put(to, data);
	if (h1->is_chunked_out) to = put(to, STR("\r\n"));
	buf_commit(out, (size_t)(to - start));
	conn_count_output(h1->conn);
	if (out->len > STREAM_LOW_WATER) stream->was_high = true;
	if (!h1->is_running) conn_later(h1->conn);
	return OK;
}

static void end_framing(struct http1 *h1)
{
	if (h1->is_chunked_out && buf_append_str(conn_output(h1->conn), STR("0\r\n\r\n")) != OK) h1->has_failed = true;
}

static void stream_end(struct http_stream *stream)
{
	struct http1 *h1 = h1_of(stream->request);
	stream->is_open = false;
	h1->step = HTTP1_HANDLER;
	end_framing(h1);
	answered(h1);
}

void http1_stream_check_drain(struct http1 *h1)
{
	struct http_stream *stream = &h1->request.stream;
	if (!stream->is_open || !stream->was_high || h1->conn->out.len > STREAM_LOW_WATER) return;
	stream->was_high = false;
	if (stream->events.on_drain) stream->events.on_drain(stream->ctx);
}

void http1_stream_close(struct http1 *h1, bool is_polite)
{
	struct http_stream *stream = &h1->request.stream;
	if (!stream->is_open) return;
	stream->is_open = false;
	if (is_polite) end_framing(h1);
	if (stream->events.on_close) stream->events.on_close(stream->ctx);
}

const struct http_carrier http1_carrier = {
    .reply = reply,
    .stream_begin = stream_begin,
    .stream_write = stream_write,
    .stream_room = stream_room,
    .stream_end = stream_end,
    .watch_abort = watch_abort,
};
