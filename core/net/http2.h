/* http2: HTTP/2 on a connection, as another `struct protocol`: streams are requests for the same router and handlers as HTTP/1.1's.
 *
 *   http2.c         nghttp2, and all that knows it: frames in, frames out
 *   http2_conn.c    the connection: turns, timers, draining, its end
 *   http2_stream.c  a request from its head to its handler
 *   http2_reply.c   answers: whole ones, streams, duplex
 *   http2_guard.c   what clients may not do often
 *
 * A stream's object lives while nghttp2 has the stream open or somebody has its request. Callbacks of nghttp2 and of handlers only
 * take notes and queue frames; frames are made and sent at the end of the turn (http2_run). */
#pragma once

#include "net/decode.h"
#include "net/http2_guard.h"
#include "net/request.h"

#define HTTP2_MAGIC        0x32707468u
#define HTTP2_STREAM_MAGIC 0x32727473u

#define HTTP2_HEAD_ENDURED      (4 * HEAD_BYTES_MAX) /* refused with 431 up to here, reset beyond */
#define HTTP2_STREAMS_USUAL     100
#define HTTP2_STREAM_WINDOW     (256 * 1024)
#define HTTP2_CONNECTION_WINDOW (1024 * 1024) /* what unread duplex data may take of a connection */
#define HTTP2_OUT_HIGH          ((size_t)32 * 1024)

/* RFC 9113 section 7. */
enum http2_error {
	HTTP2_NO_ERROR = 0,
	HTTP2_PROTOCOL_ERROR = 1,
	HTTP2_INTERNAL_ERROR = 2,
	HTTP2_REFUSED_STREAM = 7,
	HTTP2_CANCEL = 8,
	HTTP2_ENHANCE_YOUR_CALM = 11,
};

enum http2_step {
	HTTP2_HEAD,    /* reading a head */
	HTTP2_BODY,    /* reading a body */
	HTTP2_HANDLER, /* the handler has the request and answers now or later */
	HTTP2_STREAM,  /* the answer is a stream */
	HTTP2_DUPLEX,
	HTTP2_DONE, /* answered: what waits is being sent, what comes is thrown away */
};

struct http2;
struct nghttp2_session;

struct http2_stream {
	uint32_t magic;
	int32_t id;
	enum http2_step step;
	bool is_open;        /* nghttp2 has it */
	bool is_half_closed; /* the client has sent all */
	bool is_ended;       /* nothing more will be written */
	bool is_sent;        /* all of the answer has left */
	bool must_stop;      /* once the answer is sent, the client is told to send no more */
	bool is_blocked;     /* blocked_us counts */
	bool was_high;       /* output passed the low-water mark: on_drain is due when it falls below */
	bool is_drain_due, is_retired;
	enum problem refusal;
	const char *why; /* of the refusal; NULL: the table's text */
	struct http2 *h2;
	struct http2_stream *next, **link; /* of the connection; the spares */
	size_t head_bytes;                 /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
	size_t received, discarded;        /* of the body */
	size_t unconsumed;                 /* duplex: what counts against the windows */
	size_t counted_in, counted_out;    /* of its buffers, in the connection's sums */
	int64_t waiting_us;                /* since when the body is waited for */
	int64_t blocked_us;                /* since when nothing of `out` could be sent */
	const struct http_trailer *trailers;
	size_t trailer_count;
	struct buf text; /* what `head` points into */
	struct buf body, out;
	struct decode decode;
	struct head head;
	struct http_request request;
};

struct http2 {
	uint32_t magic;
	struct conn *conn;
	struct nghttp2_session *session; /* NULL once nothing can be sent any more */
	bool is_running;                 /* the turn's end is on the stack, or will come */
	bool is_greeted;                 /* the client's SETTINGS are there */
	bool is_ending;                  /* the last GOAWAY was decided on */
	bool has_left;                   /* the client closed its half: left_us counts */
	enum { HTTP2_SERVING, HTTP2_NOTICED, HTTP2_DRAINING } drain;
	struct http2_stream *streams;
	size_t stream_count, open_count, drains_due;
	size_t input_bytes,
	    held; /* memory of bodies and large heads; what of all connections' budget for bodies it takes */
	int64_t started_us, heard_us, idle_us, left_us, noticed_us;
	int64_t head_us; /* since when a header block, the `head`th, is incomplete; 0: none is */
	uint32_t head;
	int64_t ping_us; /* since when a PING is unanswered; 0: none is */
	struct http2_guard guard;
};

extern const struct protocol http2_protocol;
extern const struct http_carrier http2_carrier;
void http2_free_spares(struct worker *worker);

/* ── the session: http2.c ────────────────────────────────────────────────── */

MUST_USE int http2_session_open(struct http2 *h2);
void http2_session_close(struct http2 *h2); /* its streams stay */
/* ERR_INVALID: the connection is beyond repair, ERR_NOMEM. */
MUST_USE int http2_session_read(struct http2 *h2, const char *data, size_t len);
/* Fills the connection's output up to HTTP2_OUT_HIGH; failures as above. */
MUST_USE int http2_session_write(struct http2 *h2);
bool http2_session_has_output(const struct http2 *h2);
bool http2_session_is_over(const struct http2 *h2); /* nothing to say and nothing to hear */
void http2_session_end(struct http2 *h2, enum http2_error error);
/* Says that the connection is about to end; the answer to its PING, http2_noticed, comes when the client knows. */
void http2_session_notice(struct http2 *h2);
void http2_session_goaway(struct http2 *h2);
void http2_session_ping(struct http2 *h2);
void http2_session_consume(struct http2_stream *stream, size_t len);

/* The head of the answer; `length` < 0: none is told. is_last: nothing follows, the stream's trailers are part of it. */
void http2_send_head(struct http2_stream *stream, int status, struct str content_type, int64_t length, bool is_last);
void http2_send_more(struct http2_stream *stream); /* there is more in `out`, or is_ended was set */
void http2_send_reset(struct http2_stream *stream, enum http2_error error);

/* ── the connection: http2_conn.c ────────────────────────────────────────── */

void http2_due(struct http2 *h2, int64_t at_us); /* look at the clock then, or before */
void http2_later(struct http2 *h2);              /* has something to send */
void http2_begin_drain(struct http2 *h2);
void http2_noticed(struct http2 *h2);
/* After a request without an open stream was answered or aborted: frees the connection when it was the last. */
void http2_orphan_gone(struct http2 *h2);

/* ── streams: http2_stream.c ─────────────────────────────────────────────── */

/* NULL: no memory, or too many. */
struct http2_stream *http2_stream_new(struct http2 *h2, int32_t id);
void http2_stream_release(struct http2_stream *stream);
/* False: the list is so long that its end is not worth reading for. */
MUST_USE bool http2_stream_field(struct http2_stream *stream, struct str name, struct str value);
void http2_stream_head_done(struct http2_stream *stream);
void http2_stream_data(struct http2_stream *stream, struct str data);
void http2_stream_end(struct http2_stream *stream); /* the client has sent all */
void http2_stream_closed(
    struct http2_stream *stream); /* nghttp2 has forgotten it; frees it unless somebody has its request */
void http2_stream_wait(struct http2_stream *stream); /* for the body, from now on */
/* The body did not come in time. */
void http2_stream_timeout(struct http2_stream *stream);
int64_t http2_stream_body_deadline(const struct http2_stream *stream);
void http2_stream_count(struct http2_stream *stream); /* its buffers have changed */
void http2_stream_forget_body(struct http2_stream *stream);
void http2_stream_forget_request(struct http2_stream *stream); /* its memory: a stream may stay for days */
struct http2_stream *http2_stream_of(const struct http_request *request);

/* ── answers: http2_reply.c ──────────────────────────────────────────────── */

void http2_stream_sent(struct http2_stream *stream, size_t len); /* of `out` */
void http2_stream_drained(struct http2_stream *stream);          /* is_drain_due: tells so */
/* Tells who streams that it is over; is_polite: the answer ends where it is. */
void http2_stream_cut(struct http2_stream *stream, bool is_polite);
bool http2_stream_retire(
    struct http2_stream *stream); /* the connection ends soon; false: told already, or nobody is to be told */
