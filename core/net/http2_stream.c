#include <stdlib.h>

#include "base/clock.h"
#include "net/http1_scan.h"
#include "net/http2.h"
#include "net/stats.h"
#include "net/worker.h"

#define SPARES_MAX 128
#define ORPHANS_MAX \
	1000 /* of one connection: requests whose clients have left and whose handlers have not answered yet */
#define TEXT_SMALL     ((size_t)2 * 1024)
#define TEXT_KEEP      ((size_t)4 * 1024)
#define FIELD_COST     32                  /* of each field, RFC 9113 section 10.5.1 */
#define SMALL_INPUT    ((size_t)64 * 1024) /* of a connection; not counted: the cap on connections bounds these */
#define BODIES_AT_ONCE 32                  /* of the largest size, over all connections: beyond, 429 */

static const struct conf_limits *limits_of(const struct http2_stream *stream)
{
	return settings_limits(stream->h2->conn->worker->settings);
}

struct http2_stream *http2_stream_of(const struct http_request *request)
{
	char *start = (char *)(uintptr_t)request - offsetof(struct http2_stream, request);
	struct http2_stream *stream = (struct http2_stream *)(void *)start;
	CHECK(stream->magic == HTTP2_STREAM_MAGIC);
	return stream;
}

/* ── objects ─────────────────────────────────────────────────────────────── */

static struct http2_stream *make(void)
{
	struct http2_stream *stream = calloc(1, sizeof *stream);
	if (!stream) return NULL;
	stream->magic = HTTP2_STREAM_MAGIC;
	request_init(&stream->request, &http2_carrier);
	buf_init(&stream->text, HEAD_BYTES_MAX);
	buf_init(&stream->body, 1);
	buf_init(&stream->out, CONN_OUTPUT_MAX);
	return stream;
}

static void destroy(struct http2_stream *stream)
{
	request_fini(&stream->request);
	buf_fini(&stream->text);
	stream->magic = 0;
	free(stream);
}

void http2_free_spares(struct worker *worker)
{
	while (worker->spare_streams) {
		struct http2_stream *stream = worker->spare_streams;
		worker->spare_streams = stream->next;
		destroy(stream);
	}
	worker->spare_stream_count = 0;
}

/* All but what is reused. Fields of the head past field_count are never read. */
static void reset(struct http2_stream *stream)
{
	stream->step = HTTP2_HEAD;
	stream->is_half_closed = stream->is_ended = stream->is_sent = stream->must_stop = stream->is_blocked = false;
	stream->was_high = stream->is_drain_due = stream->is_retired = false;
	stream->refusal = PROBLEM_NONE;
	stream->why = NULL;
	stream->head_bytes = stream->received = stream->discarded = stream->unconsumed = 0;
	stream->waiting_us = stream->blocked_us = 0;
	stream->trailers = NULL;
	stream->trailer_count = 0;
	memset(&stream->head, 0, offsetof(struct head, fields));
}

struct http2_stream *http2_stream_new(struct http2 *h2, int32_t id)
{
	struct worker *worker = h2->conn->worker;
	struct http2_stream *stream = worker->spare_streams;
	if (h2->stream_count - h2->open_count >= ORPHANS_MAX) return NULL;
	if (stream) {
		worker->spare_streams = stream->next;
		worker->spare_stream_count--;
	} else if (!(stream = make())) {
		return NULL;
	}
	reset(stream);
	stream->h2 = h2;
	stream->id = id;
	stream->is_open = true;
	stream->next = h2->streams;
	stream->link = &h2->streams;
	if (stream->next) stream->next->link = &stream->next;
	h2->streams = stream;
	h2->stream_count++;
	h2->open_count++;
	return stream;
}

/* ── memory ──────────────────────────────────────────────────────────────── */

static const char too_much[] = "too many large bodies are being received";

/* Many requests that each send most of a large body and then wait could else take any amount of memory. */
static void count_bodies(struct http2 *h2)
{
	struct census *census = h2->conn->worker->census;
	size_t now = h2->input_bytes > SMALL_INPUT ? h2->input_bytes : 0;
	if (now > h2->held) (void)census_hold(census, now - h2->held);
	if (now < h2->held) census_let_go(census, h2->held - now);
	h2->held = now;
}

static bool is_within_budget(const struct http2_stream *stream)
{
	const struct http2 *h2 = stream->h2;
	return !h2->held || census_hold(h2->conn->worker->census, 0) <= limits_of(stream)->body_bytes * BODIES_AT_ONCE;
}

/* Heads of usual size are the cap on connections' business. */
static size_t memory_of(const struct http2_stream *stream)
{
	size_t body = stream->body.data ? stream->body.size : 0;
	return stream->text.data && stream->text.size > TEXT_SMALL ? body + stream->text.size : body;
}

static void count_input(struct http2_stream *stream, size_t now)
{
	struct http2 *h2 = stream->h2;
	if (now == stream->counted_in) return;
	h2->input_bytes += now - stream->counted_in;
	stream->counted_in = now;
	count_bodies(h2);
}

void http2_stream_count(struct http2_stream *stream)
{
	size_t out = stream->out.data ? stream->out.size : 0;
	stream->h2->conn->behind += out - stream->counted_out;
	stream->counted_out = out;
	count_input(stream, memory_of(stream));
}

void http2_stream_forget_body(struct http2_stream *stream)
{
	decode_fini(&stream->decode);
	buf_clear(&stream->body);
	worker_give_buf(stream->h2->conn->worker, &stream->body);
	http2_stream_count(stream);
}

void http2_stream_forget_request(struct http2_stream *stream)
{
	http2_stream_forget_body(stream);
	buf_fini(&stream->text);
	buf_init(&stream->text, HEAD_BYTES_MAX);
	request_shed(&stream->request);
	http2_stream_count(stream);
}

void http2_stream_release(struct http2_stream *stream)
{
	struct http2 *h2 = stream->h2;
	struct worker *worker = h2->conn->worker;
	buf_clear(&stream->out);
	worker_give_buf(worker, &stream->out);
	http2_stream_forget_body(stream);
	count_input(stream, 0);
	request_end(&stream->request);
	buf_clear(&stream->text);
	buf_shrink(&stream->text, TEXT_KEEP);
	if (stream->is_drain_due) h2->drains_due--;
	*stream->link = stream->next;
	if (stream->next) stream->next->link = stream->link;
	h2->stream_count--;
	stream->h2 = NULL;
	if (worker->spare_stream_count == SPARES_MAX) {
		destroy(stream);
		return;
	}
	stream->next = worker->spare_streams;
	worker->spare_streams = stream;
	worker->spare_stream_count++;
}

void http2_stream_closed(struct http2_stream *stream)
{
	struct http2 *h2 = stream->h2;
	stream->is_open = false;
	if (--h2->open_count == 0) h2->idle_us = worker_now(h2->conn->worker);
	http2_session_consume(stream, stream->unconsumed);
	stream->unconsumed = 0;
	buf_clear(&stream->out);
	worker_give_buf(h2->conn->worker, &stream->out);
	http2_stream_count(stream);
	if (stream->step == HTTP2_HANDLER && !request_abort(&stream->request)) return; /* until it is answered */
	http2_stream_cut(stream, false);
	http2_stream_release(stream);
}

/* ── the head ────────────────────────────────────────────────────────────── */

static void doubt(struct http2_stream *stream, enum problem problem, const char *why)
{
	if (stream->refusal != PROBLEM_NONE) return;
	stream->refusal = problem;
	stream->why = why;
}

static struct text_ref store(struct http2_stream *stream, struct str text)
{
	struct text_ref ref = {(uint32_t)stream->text.len, (uint32_t)text.len};
	if (!stream->text.data) {
		char *unused;
		if (buf_reserve(&stream->text, 1024, &unused) != OK) doubt(stream, PROBLEM_INTERNAL, NULL);
	}
	if (buf_append_str(&stream->text, text) == OK) return ref;
	doubt(stream, PROBLEM_HEADERS_TOO_LARGE, NULL);
	return (struct text_ref){0};
}

static struct str text_of(const struct http2_stream *stream, struct text_ref ref)
{
	return stream->text.data ? text_at(buf_ptr(&stream->text), ref) : STR_NONE;
}

static void take_path(struct http2_stream *stream, struct str target)
{
	const char *mark = memchr(target.ptr, '?', target.len);
	struct str path = {target.ptr, mark ? (size_t)(mark - target.ptr) : target.len};
	struct str query = {target.ptr + target.len, 0};
	bool is_star = str_eq(target, STR("*")); /* nghttp2 takes it of OPTIONS alone */
	if (mark) query = (struct str){mark + 1, target.len - path.len - 1};
	if (target.len > HEAD_LINE_MAX)
		doubt(stream, PROBLEM_URI_TOO_LONG, NULL);
	else if (!is_star && !http1_is_path(path))
		doubt(stream, PROBLEM_INVALID_REQUEST, "the path holds a forbidden byte or a broken escape");
	else if (!http1_is_query(query))
		doubt(stream, PROBLEM_INVALID_REQUEST, "the query holds a forbidden byte");
	stream->head.path = store(stream, path);
	stream->head.query = store(stream, query);
}

static void add_field(struct http2_stream *stream, struct str name, struct str value)
{
	struct head *head = &stream->head;
	int known = head_known_field(name);
	if (head->field_count == HEAD_FIELDS_MAX) {
		doubt(stream, PROBLEM_HEADERS_TOO_LARGE, "too many header fields");
		return;
	}
	struct head_field *field = &head->fields[head->field_count++];
	field->name = store(stream, name);
	field->value = store(stream, value);
	if (known >= 0 && !head->known[known]) head->known[known] = (uint8_t)head->field_count;
}

/* :authority and Host are the same to handlers; two different ones are two different requests. */
static void take_host(struct http2_stream *stream, struct str host)
{
	struct text_ref ref = {0};
	uint8_t index = stream->head.known[HEAD_HOST];
	if (index) ref = stream->head.fields[index - 1].value;
	if (!http1_is_host(host))
		doubt(stream, PROBLEM_INVALID_REQUEST, "the authority is malformed");
	else if (!index)
		add_field(stream, STR("host"), host);
	else if (!str_eq_nocase(text_of(stream, ref), host))
		doubt(stream, PROBLEM_INVALID_REQUEST, "Host is not the authority");
}

static void take_length(struct http2_stream *stream, struct str value)
{
	struct head *head = &stream->head;
	if (str_to_u64(value, &head->content_length) != OK)
		doubt(stream, PROBLEM_INVALID_REQUEST, "Content-Length is not a number");
	head->has_length = true;
}

static void take_pseudo(struct http2_stream *stream, struct str name, struct str value)
{
	if (str_eq(name, STR(":path")))
		take_path(stream, value);
	else if (str_eq(name, STR(":method")))
		stream->head.method = head_method(value);
	else if (str_eq(name, STR(":authority")))
		take_host(stream, value);
}

/* nghttp2 has checked which bytes may stand where, which fields may be there, and which must not come twice. */
bool http2_stream_field(struct http2_stream *stream, struct str name, struct str value)
{
	stream->head_bytes += name.len + value.len + FIELD_COST;
	if (stream->head_bytes > HEAD_BYTES_MAX) {
		bool is_path = str_eq(name, STR(":path"));
		doubt(stream, is_path ? PROBLEM_URI_TOO_LONG : PROBLEM_HEADERS_TOO_LARGE, NULL);
		return stream->head_bytes <= HTTP2_HEAD_ENDURED;
	}
	if (name.len > 0 && name.ptr[0] == ':') {
		take_pseudo(stream, name, value);
	} else if (str_eq(name, STR("host"))) {
		take_host(stream, value);
	} else {
		if (str_eq(name, STR("content-length"))) take_length(stream, value);
		add_field(stream, name, value);
	}
	return true;
}

/* ── to the handler ──────────────────────────────────────────────────────── */

/* Hands the request to its handler, or to the refusal that was found on the way. */
static void dispatch(struct http2_stream *stream)
{
	struct http_request *request = &stream->request;
	stream->step = HTTP2_HANDLER;
	stream->waiting_us = 0;
	if (stream->refusal == PROBLEM_NONE) {
		request_dispatch(request, request->base, buf_str(&stream->body));
	} else {
		struct str why = stream->why ? str_from(stream->why) : STR_NONE;
		stats_refused(stream->refusal);
		http_reply_problem(request, stream->refusal, why, STR_NONE);
	}
}

/* Answered at once; the rest of the body is thrown away. */
static void refuse(struct http2_stream *stream, enum problem problem, const char *why)
{
	stream->refusal = problem;
	stream->why = why;
	dispatch(stream);
}

void http2_stream_wait(struct http2_stream *stream)
{
	stream->waiting_us = worker_now(stream->h2->conn->worker);
	http2_due(stream->h2, http2_stream_body_deadline(stream));
}

/* A head that is not whole is nobody's. */
static void begin_request(struct http2_stream *stream)
{
	struct http_request *request = &stream->request;
	static const char none[1];
	const char *base = stream->text.data ? buf_ptr(&stream->text) : none;
	bool is_broken = stream->refusal != PROBLEM_NONE;
	stream->head.minor = 1;
	if (stream->head.path.len == 0) doubt(stream, PROBLEM_INVALID_REQUEST, "the request has no path");
	request_begin(request, stream->h2->conn, &stream->head, base);
	if (!is_broken) return;
	request->match.route = NULL;
	request->match.cors = CORS_NONE;
}

void http2_stream_head_done(struct http2_stream *stream)
{
	const struct head *head = &stream->head;
	struct http_request *request = &stream->request;
	stats_http2_request();
	begin_request(stream);
	const struct route *route = request->match.route;
	size_t cap = request_body_cap(request);
	stream->body.cap = cap;
	http2_stream_count(stream);
	if (stream->refusal == PROBLEM_NONE && !is_within_budget(stream)) doubt(stream, PROBLEM_OVERLOADED, too_much);
	if (route && route->duplex) {
		dispatch(stream);
		return;
	}
	if (stream->refusal == PROBLEM_NONE && head->content_length > cap) stream->refusal = PROBLEM_TOO_LARGE;
	enum problem coding = decode_start(&stream->decode, head_value(head, request->base, HEAD_CONTENT_ENCODING));
	if (stream->refusal == PROBLEM_NONE) stream->refusal = coding;
	http2_stream_wait(stream);
	if (stream->refusal != PROBLEM_NONE || !route)
		dispatch(stream);
	else
		stream->step = HTTP2_BODY;
}

/* ── the body ────────────────────────────────────────────────────────────── */

int64_t http2_stream_body_deadline(const struct http2_stream *stream)
{
	const struct conf_limits *limits = limits_of(stream);
	uint64_t rate = limits->body_min_rate ? limits->body_min_rate : 1;
	int64_t earned_us = (int64_t)(stream->received * (uint64_t)US_PER_SECOND / rate);
	return stream->waiting_us + limits->body_timeout_ms * US_PER_MS + earned_us;
}

void http2_stream_timeout(struct http2_stream *stream)
{
	stream->waiting_us = 0;
	stream->must_stop = true;
	if (stream->step == HTTP2_BODY)
		refuse(stream, PROBLEM_REQUEST_TIMEOUT, NULL);
	else if (stream->is_sent)
		http2_send_reset(stream, HTTP2_NO_ERROR);
}

/* Nobody wants it. Clients take it badly when they are stopped amid a body of usual size: so that much is read. */
static void discard(struct http2_stream *stream, size_t len)
{
	stream->discarded += len;
	if (stream->must_stop || stream->discarded > stream->body.cap) {
		bool is_first = !stream->must_stop;
		stream->must_stop = true;
		stream->unconsumed += len;
		if (is_first && stream->is_sent) http2_send_reset(stream, HTTP2_NO_ERROR);
		return;
	}
	http2_session_consume(stream, len);
}

/* What was kept for sniffing turns out to be gzip: it is inflated after all. */
static enum problem inflate_kept(struct http2_stream *stream)
{
	struct buf kept = stream->body;
	buf_init(&stream->body, kept.cap);
	enum problem problem = kept.len ? decode_feed(&stream->decode, buf_str(&kept), &stream->body) : PROBLEM_NONE;
	buf_fini(&kept);
	return problem;
}

static enum problem keep(struct http2_stream *stream, struct str data)
{
	struct decode *decode = &stream->decode;
	if (decode->is_sniffed && decode->is_gzip) return decode_feed(decode, data, &stream->body);
	if (!stream->body.data) worker_take_buf(stream->h2->conn->worker, &stream->body);
	switch (buf_append_str(&stream->body, data)) {
	case OK: break;
	case ERR_TOO_LARGE: return PROBLEM_TOO_LARGE;
	default: return PROBLEM_INTERNAL;
	}
	if (decode->is_sniffed) return PROBLEM_NONE;
	decode_sniff(decode, buf_str(&stream->body), false);
	return decode->is_gzip ? inflate_kept(stream) : PROBLEM_NONE;
}

static void take_body(struct http2_stream *stream, struct str data)
{
	http2_session_consume(stream, data.len);
	enum problem problem = stream->received > stream->body.cap ? PROBLEM_TOO_LARGE : keep(stream, data);
	http2_stream_count(stream);
	if (problem != PROBLEM_NONE)
		refuse(stream, problem, NULL);
	else if (!is_within_budget(stream))
		refuse(stream, PROBLEM_OVERLOADED, too_much);
}

void http2_stream_data(struct http2_stream *stream, struct str data)
{
	struct http_duplex *duplex = &stream->request.duplex;
	stream->received += data.len;
	if (stream->step == HTTP2_BODY) {
		take_body(stream, data);
	} else if (stream->step == HTTP2_DUPLEX) {
		stream->unconsumed += data.len;
		duplex->events.on_data(duplex->ctx, data);
	} else {
		discard(stream, data.len);
	}
}

void http2_stream_end(struct http2_stream *stream)
{
	struct http_duplex *duplex = &stream->request.duplex;
	stream->is_half_closed = true;
	stream->waiting_us = 0;
	if (stream->step == HTTP2_DUPLEX) {
		if (duplex->events.on_end) duplex->events.on_end(duplex->ctx);
	} else if (stream->step == HTTP2_BODY) {
		stream->refusal = decode_end(&stream->decode);
		dispatch(stream);
	}
}
