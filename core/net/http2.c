#include "net/http2.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/stats.h"
#include "net/worker.h"

#define RESETS_BURST 200 /* RST_STREAM from a client (rapid reset) … */
#define RESETS_RATE  50  /* … and a second */
/* nghttp2 counts a frame again whenever its 9 bytes of header arrive in another read: the guard counts right and ends it before. */
#define CONTINUATIONS_MAX ((size_t)10 * HTTP2_CONTINUATIONS)
#define ACKS_MAX          ((size_t)2 * HTTP2_CONTROL_BURST) /* the guard ends it before, and says why */
#define FIELDS_MAX        (REPLY_FIELDS_MAX + HTTP_TRAILERS_MAX + 4)

static struct http2 *h2_of(void *user_data)
{
	struct http2 *h2 = user_data;
	CHECK(h2->magic == HTTP2_MAGIC);
	return h2;
}

static struct http2_stream *stream_of(nghttp2_session *session, int32_t id)
{
	struct http2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
	if (stream) CHECK(stream->magic == HTTP2_STREAM_MAGIC && stream->is_open);
	return stream;
}

static void count_offence(struct http2 *h2)
{
	if (http2_guard_reset(&h2->guard, worker_now(h2->conn->worker)) || h2->is_ending) return;
	stats_http2_ended(HTTP2_ENDED_RESETS);
	http2_session_end(h2, HTTP2_ENHANCE_YOUR_CALM);
}

/* ── frames in ───────────────────────────────────────────────────────────── */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct http2 *h2 = h2_of(user_data);
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
	struct http2_stream *stream = http2_stream_new(h2, frame->hd.stream_id);
	if (stream)
		(void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
	else
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
						NGHTTP2_REFUSED_STREAM);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
	(void)flags;
	struct http2_stream *stream = stream_of(session, frame->hd.stream_id);
	if (!stream) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* refused: not worth reading */
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		if (http2_stream_field(stream, str_of(name, name_len), str_of(value, value_len))) return 0;
	} else { /* trailers: nobody here reads any */
		stream->head_bytes += name_len + value_len;
		if (stream->head_bytes <= HTTP2_HEAD_ENDURED) return 0;
	}
	count_offence(h2_of(user_data));
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* nghttp2 would leave the field out and go on. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
			     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
	(void)session, (void)frame, (void)name, (void)name_len, (void)value, (void)value_len, (void)flags;
	(void)user_data;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
			 void *user_data)
{
	struct http2_stream *stream = stream_of(session, id);
	(void)flags, (void)user_data;
	if (stream)
		http2_stream_data(stream, str_of(data, len));
	else
		(void)nghttp2_session_consume(session, id, len);
	return 0;
}

static const uint8_t notice_ping[8] = {'n', 'o', 't', 'i', 'c', 'e', 'd', 0};

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct http2 *h2 = h2_of(user_data);
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA: break;
	case NGHTTP2_SETTINGS: h2->is_greeted = true; return 0;
	case NGHTTP2_RST_STREAM: stats_reset(false); return 0;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK &&
		    memcmp(frame->ping.opaque_data, notice_ping, sizeof notice_ping) == 0)
			http2_noticed(h2);
		return 0;
	default: return 0;
	}
	struct http2_stream *stream = stream_of(session, frame->hd.stream_id);
	if (!stream) return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		http2_stream_head_done(stream);
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) http2_stream_end(stream);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user_data)
{
	struct http2_stream *stream = stream_of(session, id);
	(void)error, (void)user_data;
	if (!stream) return 0;
	(void)nghttp2_session_set_stream_user_data(session, id, NULL);
	http2_stream_closed(stream);
	return 0;
}

int http2_session_read(struct http2 *h2, const char *data, size_t len)
{
	ssize_t n = nghttp2_session_mem_recv(h2->session, (const uint8_t *)data, len);
	if (n == (ssize_t)len) return OK;
	log_debug(LOG_NET, "HTTP/2 connection closed (%s)", n < 0 ? nghttp2_strerror((int)n) : "input left over");
	return n == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : ERR_INVALID;
}

/* ── frames out ──────────────────────────────────────────────────────────── */

static nghttp2_nv field(struct str name, struct str value, uint8_t flags)
{
	return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.ptr,
			    .namelen = name.len,
			    .value = (uint8_t *)(uintptr_t)value.ptr,
			    .valuelen = value.len,
			    .flags = flags};
}

static size_t add_trailers(const struct http2_stream *stream, nghttp2_nv *fields)
{
	for (size_t i = 0; i < stream->trailer_count; i++)
		fields[i] = field(stream->trailers[i].name, stream->trailers[i].value, NGHTTP2_NV_FLAG_NONE);
	return stream->trailer_count;
}

/* The last bytes of an answer: its trailers must be submitted in just this moment, or they would overtake data. */
static void end_data(nghttp2_session *session, struct http2_stream *stream, uint32_t *flags)
{
	nghttp2_nv fields[HTTP_TRAILERS_MAX];
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (stream->trailer_count == 0) return;
	*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	if (nghttp2_submit_trailer(session, stream->id, fields, add_trailers(stream, fields)) != 0)
		http2_send_reset(stream, HTTP2_INTERNAL_ERROR);
}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
			   nghttp2_data_source *source, void *user_data)
{
	struct http2_stream *stream = source->ptr;
	(void)id, (void)to, (void)user_data;
	size_t len = stream->out.len < room ? stream->out.len : room;
	if (len == 0 && !stream->is_ended) return NGHTTP2_ERR_DEFERRED;
	if (len > 0) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (len == stream->out.len && stream->is_ended) end_data(session, stream, flags);
	return (ssize_t)len;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t len,
		     nghttp2_data_source *source, void *user_data)
{
	struct http2 *h2 = h2_of(user_data);
	struct http2_stream *stream = source->ptr;
	struct buf *out = conn_output(h2->conn);
	(void)session, (void)frame;
	if (out->len >= HTTP2_OUT_HIGH) return NGHTTP2_ERR_WOULDBLOCK;
	char *to;
	if (buf_reserve(out, 9 + len, &to) != OK) return NGHTTP2_ERR_CALLBACK_FAILURE;
	memcpy(to, header, 9);
	memcpy(to + 9, buf_ptr(&stream->out), len);
	buf_commit(out, 9 + len);
	http2_stream_sent(stream, len);
	return 0;
}

/* The answer is out. A client that is still sending may be told to stop only now: before, it could lose the answer. */
static void on_answered(struct http2_stream *stream)
{
	stream->is_sent = true;
	if (stream->must_stop && !stream->is_half_closed) http2_send_reset(stream, HTTP2_NO_ERROR);
}

/* Resets that nghttp2 makes of a client's mistakes; our own decisions are not the client's fault. */
static void count_reset(struct http2 *h2, uint32_t error)
{
	stats_reset(true);
	if (error != NGHTTP2_NO_ERROR && error != NGHTTP2_CANCEL && error != NGHTTP2_INTERNAL_ERROR) count_offence(h2);
}

/* nghttp2's own: for what cannot be repaired, and for too many resets by the client. */
static void count_goaway(const struct http2 *h2, uint32_t error)
{
	if (error == NGHTTP2_NO_ERROR || h2->is_ending) return;
	stats_http2_ended(error == NGHTTP2_INTERNAL_ERROR ? HTTP2_ENDED_RESETS : HTTP2_ENDED_ERROR);
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct http2 *h2 = h2_of(user_data);
	if (frame->hd.type == NGHTTP2_RST_STREAM) count_reset(h2, frame->rst_stream.error_code);
	if (frame->hd.type == NGHTTP2_GOAWAY) count_goaway(h2, frame->goaway.error_code);
	if (frame->hd.type == NGHTTP2_DATA) http2_guard_sent_data(&h2->guard);
	if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
	struct http2_stream *stream = stream_of(session, frame->hd.stream_id);
	if (stream) on_answered(stream);
	return 0;
}

int http2_session_write(struct http2 *h2)
{
	const uint8_t *data;
	for (;;) {
		if (h2->conn->out.len >= HTTP2_OUT_HIGH) return OK;
		ssize_t n = nghttp2_session_mem_send(h2->session, &data);
		if (n == 0) return OK;
		if (n < 0) return n == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : ERR_INVALID;
		int rc = buf_append(conn_output(h2->conn), data, (size_t)n);
		if (rc != OK) return rc;
	}
}

bool http2_session_has_output(const struct http2 *h2)
{
	return nghttp2_session_want_write(h2->session) != 0;
}

bool http2_session_is_over(const struct http2 *h2)
{
	return !nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session);
}

/* ── what is sent ────────────────────────────────────────────────────────── */

void http2_send_head(struct http2_stream *stream, int status, struct str content_type, int64_t length, bool is_last)
{
	const struct http_request *request = &stream->request;
	struct http2 *h2 = stream->h2;
	nghttp2_nv fields[FIELDS_MAX];
	char status_text[16], length_text[24];
	size_t n = 0;
	(void)snprintf(status_text, sizeof status_text, "%d", status);
	fields[n++] = field(STR(":status"), str_from(status_text), NGHTTP2_NV_FLAG_NO_COPY_NAME);
	fields[n++] = field(STR("date"), worker_date(h2->conn->worker, clock_wall_us()), NGHTTP2_NV_FLAG_NO_COPY_NAME);
	if (content_type.len) fields[n++] = field(STR("content-type"), content_type, NGHTTP2_NV_FLAG_NO_COPY_NAME);
	if (length >= 0) {
		(void)snprintf(length_text, sizeof length_text, "%lld", (long long)length);
		fields[n++] = field(STR("content-length"), str_from(length_text), NGHTTP2_NV_FLAG_NO_COPY_NAME);
	}
	for (size_t i = 0; i < request->field_count; i++)
		fields[n++] = field(request->fields[i].name, request->fields[i].value, NGHTTP2_NV_FLAG_NONE);
	if (is_last) n += add_trailers(stream, fields + n);
	const nghttp2_data_provider data = {.source = {.ptr = stream}, .read_callback = read_answer};
	if (!h2->session) return;
	if (nghttp2_submit_response(h2->session, stream->id, fields, n, is_last ? NULL : &data) != 0)
		http2_send_reset(stream, HTTP2_INTERNAL_ERROR);
	http2_later(h2);
}

void http2_send_more(struct http2_stream *stream)
{
	if (!stream->h2->session) return;
	/* Refused while the head is still to be sent, or nothing was deferred: it comes by itself then. */
	(void)nghttp2_session_resume_data(stream->h2->session, stream->id);
	http2_later(stream->h2);
}

void http2_send_reset(struct http2_stream *stream, enum http2_error error)
{
	if (!stream->h2->session) return;
	(void)nghttp2_submit_rst_stream(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id, (uint32_t)error);
	http2_later(stream->h2);
}

void http2_session_consume(struct http2_stream *stream, size_t len)
{
	nghttp2_session *session = stream->h2->session;
	if (!session || len == 0) return;
	(void)(stream->is_open ? nghttp2_session_consume(session, stream->id, len)
			       : nghttp2_session_consume_connection(session, len));
	http2_later(stream->h2);
}

void http2_session_end(struct http2 *h2, enum http2_error error)
{
	if (!h2->session) return;
	h2->is_ending = true;
	(void)nghttp2_session_terminate_session(h2->session, (uint32_t)error);
	http2_later(h2);
}

void http2_session_notice(struct http2 *h2)
{
	(void)nghttp2_submit_shutdown_notice(h2->session);
	(void)nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, notice_ping);
	http2_later(h2);
}

void http2_session_goaway(struct http2 *h2)
{
	int32_t last = nghttp2_session_get_last_proc_stream_id(h2->session);
	(void)nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
	http2_later(h2);
}

void http2_session_ping(struct http2 *h2)
{
	(void)nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
	http2_later(h2);
}

/* ── opening and closing ─────────────────────────────────────────────────── */

static void set_callbacks(nghttp2_session_callbacks *callbacks)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
}

static void set_options(nghttp2_option *option)
{
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_stream_reset_rate_limit(option, RESETS_BURST, RESETS_RATE);
	nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX);
	nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
}

static int make_session(struct http2 *h2)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int rc = nghttp2_session_callbacks_new(&callbacks);
	if (rc == 0) rc = nghttp2_option_new(&option);
	if (rc == 0) {
		set_callbacks(callbacks);
		set_options(option);
		rc = nghttp2_session_server_new2(&h2->session, callbacks, h2, option);
	}
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return rc == 0 ? OK : ERR_NOMEM;
}

static int greet(struct http2 *h2)
{
	uint32_t streams = settings_limits(h2->conn->worker->settings)->streams_per_connection;
	const nghttp2_settings_entry settings[] = {
	    {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams ? streams : HTTP2_STREAMS_USUAL},
	    {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW},
	    {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEAD_BYTES_MAX},
	};
	if (nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, COUNT_OF(settings)) != 0)
		return ERR_NOMEM;
	if (nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, HTTP2_CONNECTION_WINDOW) != 0)
		return ERR_NOMEM;
	return OK;
}

int http2_session_open(struct http2 *h2)
{
	int rc = make_session(h2);
	if (rc == OK) rc = greet(h2);
	return rc;
}

void http2_session_close(struct http2 *h2)
{
	nghttp2_session_del(h2->session);
	h2->session = NULL;
}
