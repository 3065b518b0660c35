/* http1: HTTP/1.0 and 1.1 on a connection: reads a request, has it answered, and then the next; pipelined ones wait in
 * the input buffer. Its steps are an enum in http1.c. */
#pragma once

#include "net/decode.h"
#include "net/http1_parse.h"
#include "net/request.h"

#define HTTP1_MAGIC 0x31707468u

/* What the connection does. Idle connections have no struct http1 at all. */
enum http1_step {
	HTTP1_HEAD,    /* reading a head */
	HTTP1_BODY,    /* reading a body */
	HTTP1_HANDLER, /* the handler has the request and answers now or later */
	HTTP1_STREAM,  /* the answer is a stream */
};

struct http1 {
	uint32_t magic;
	enum http1_step step;
	struct conn *conn;
	bool is_running;     /* http1_run is on the stack: answers need not call it */
	bool is_stalled;     /* too much output waits for the client: no new request until it is sent */
	bool must_close;     /* decided: not to be kept alive */
	bool must_linger;    /* closed while the client may still be sending */
	bool is_discarding;  /* the body is read for the framing only */
	bool is_chunked_out; /* the stream's framing */
	bool has_failed;     /* no memory for the answer */
	enum problem refusal;
	struct http1_head_parser parser;
	struct http1_body body;
	size_t body_len;    /* body bytes that stand behind the head in conn->in */
	size_t held;        /* what of all connections' budget for bodies this one takes */
	int64_t started_us; /* of the step, once it had to wait; 0: it had not */
	struct decode decode;
	struct buf inflated;
	struct http_request request;
	struct http1 *next_spare;
};

extern const struct protocol http1_protocol;

void http1_free_spares(struct worker *worker);

/* http1_reply.c */
extern const struct http_carrier http1_carrier;
void http1_run(struct http1 *h1);
void http1_release(struct http1 *h1); /* back to the spares; conn->state is NULL then */
void http1_stream_check_drain(struct http1 *h1);
void http1_stream_close(struct http1 *h1, bool is_polite); /* calls on_close; polite: ends the framing */
