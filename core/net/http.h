/* http: requests and answers, whatever carries them: HTTP/1.1 (core/net/http1.h) or HTTP/2 (core/net/http2.h), each a
 * `struct protocol` (core/net/conn.h) behind the same request.
 *
 * A request lives on one loop's thread. The handler is called when the whole (decompressed, capped) body is there. It answers
 * at once or later, exactly once; if the client leaves first, on_abort is called instead and the request is gone. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/loop.h"
#include "base/problem.h"
#include "config/config.h"

struct http_request;

enum http_method {
	HTTP_GET = 1,
	HTTP_HEAD = 2,
	HTTP_POST = 4,
	HTTP_PUT = 8,
	HTTP_DELETE = 16,
	HTTP_OPTIONS = 32,
	HTTP_OTHER = 64
};

/* What a request holds; valid until it was answered or aborted. Header names are compared without case. */
enum http_method http_method(const struct http_request *req);
struct str http_path(const struct http_request *req);  /* raw, without the query */
struct str http_query(const struct http_request *req); /* raw, after '?', or empty */
/* Percent-decoded, '+' is a space; false when absent. Lives in the request's arena. */
bool http_query_get(struct http_request *req, struct str name, struct str *value);
/* Path segments captured by the route's {name}s, percent-decoded, in order. */
struct str http_path_param(const struct http_request *req, size_t index);
struct str http_header(const struct http_request *req, struct str name); /* first, or empty */
bool http_header_at(const struct http_request *req, size_t index, struct str *name,
		    struct str *value);               /* all of them, in order; false past the last */
struct str http_body(const struct http_request *req); /* followed by BUF_SLACK readable bytes */
struct str http_client_ip(
    const struct http_request *req); /* of the peer, or of X-Forwarded-For behind trusted proxies */
bool http_is_admin_listener(const struct http_request *req);
bool http_is_tls(const struct http_request *req);
struct str http_local_authority(const struct http_request *req); /* "127.0.0.1:8080" of the listener that took it */
struct arena *http_arena(struct http_request *req);              /* dies with the request */
struct loop *http_loop(const struct http_request *req);
void *http_worker(const struct http_request *req); /* net_options.worker_ctx of this loop */
int64_t http_received_at_us(const struct http_request *req);

/* Called at most once, when the client has left before the answer was complete; the request and its arena are gone when
 * it returns. Who does not ask keeps the request, arena included, until it answers: what other threads still work on may
 * then live in the arena. */
void http_on_abort(struct http_request *req, void (*fn)(void *ctx), void *ctx);

/* Answering. Headers set before http_reply are copied. Content-Length, Date, Connection and CORS are the server's work. */
void http_set_header(struct http_request *req, struct str name, struct str value);
/* Sends all; `body` is copied (or sent) before the call returns. The request is gone afterwards. A large body is answered `overloaded`
 * instead while clients that do not read leave no room for it: who cannot have that asks http_may_reply first. */
bool http_may_reply(const struct http_request *req, size_t len);
void http_reply(struct http_request *req, int status, struct str content_type, struct str body);
/* The problem table's status, Retry-After and JSON body. Empty message: the table's. */
void http_reply_problem(struct http_request *req, enum problem problem, struct str message, struct str pointer);

/* A streamed answer (SSE): begin, write while http_stream_room > 0, end. Chunked in HTTP/1.1, DATA frames in HTTP/2. */
struct http_stream;
struct http_stream_events {
	void (*on_drain)(void *ctx); /* output fell below the low-water mark */
	void (*on_close)(void *ctx); /* the client left or the server drains; the stream is gone after it returns */
};
/* The request is gone; the stream takes its place. NULL when the client has left (on_abort was called). */
struct http_stream *http_stream_begin(struct http_request *req, int status, struct str content_type,
				      const struct http_stream_events *events, void *ctx);
MUST_USE int http_stream_write(
    struct http_stream *stream,
    struct str
	data); /* ERR_TOO_LARGE past HTTP_STREAM_BUFFER; ERR_BUSY: all clients together read too slowly, end it */
size_t http_stream_room(const struct http_stream *stream);
void http_stream_end(struct http_stream *stream); /* on_close is not called */
#define HTTP_STREAM_BUFFER ((size_t)256 * 1024)

/* ── duplex: a body read as it comes, an answer that may begin before it ends and closes with trailers (gRPC) ── */

/* A route with `duplex` is called as soon as the head is there. The handler either answers like any other (http_reply, which
 * ends the request; what the client still sends is thrown away), or, before it returns, takes the request over with http_duplex_begin. Only
 * carriers with trailers can: over HTTP/1.1 such a route answers `http2_required` without calling anybody. */
struct http_duplex;
struct http_duplex_events {
	/* Body bytes, borrowed during the call, as framed by the peer (any split). They count against the stream's flow-control window until
	 * http_duplex_consume: who does not consume stops the client, and only this stream. */
	void (*on_data)(void *ctx, struct str data);
	void (*on_end)(void *ctx);   /* the client has sent all; it still reads */
	void (*on_drain)(void *ctx); /* room again, after http_duplex_room was too small */
	/* The stream is over without http_duplex_end: reset by the client, connection lost, or a bound was passed. Nothing of it may be touched
	 * after this returns. Not called once http_duplex_end was. */
	void (*on_close)(void *ctx);
	/* The connection is to end soon (the server stops, or the connection is old): end at the next good moment. May be NULL. */
	void (*on_retire)(void *ctx);
};
/* The request, its head and its arena live until http_duplex_end or on_close. */
MUST_USE struct http_duplex *http_duplex_begin(struct http_request *req, const struct http_duplex_events *events,
					       void *ctx);
const struct http_request *http_duplex_request(const struct http_duplex *duplex);
void http_duplex_consume(struct http_duplex *duplex, size_t len);
/* The answer's head; at most once, with the headers set on the request so far. */
void http_duplex_reply(struct http_duplex *duplex, int status, struct str content_type);
/* After http_duplex_reply. ERR_TOO_LARGE past HTTP_STREAM_BUFFER; ERR_BUSY as http_stream_write. Copied. What was written in one turn of
 * the loop is sent together. */
MUST_USE int http_duplex_write(struct http_duplex *duplex, struct str data);
size_t http_duplex_room(const struct http_duplex *duplex);
struct http_trailer {
	struct str name, value; /* lower case; copied */
};
#define HTTP_TRAILERS_MAX ((size_t)64)
/* Ends the answer after all that was written, and the request. At most HTTP_TRAILERS_MAX. Before http_duplex_reply: `status` 200, `content_type` and the trailers
 * go as one head (what gRPC calls Trailers-Only). The client may still be sending: that is thrown away, the connection lives on. */
void http_duplex_end(struct http_duplex *duplex, struct str content_type, const struct http_trailer *trailers,
		     size_t count);
/* Ends it at once with RST_STREAM: the client sees a broken stream. on_close is not called. */
void http_duplex_reset(struct http_duplex *duplex);

/* ── routes ──────────────────────────────────────────────────────────────── */

enum cors_class { CORS_NONE, CORS_INGEST /* any origin, credentials */, CORS_PERSON /* allow-listed origins */ };

struct route {
	unsigned methods; /* OR of http_method; OPTIONS and HEAD (where GET) are added by the router */
	const char
	    *path; /* "/v1/profiles/{ref}/events": {x} is one segment; matched with and without a trailing slash */
	enum cors_class cors;
	size_t body_cap; /* 0: the config's limits.body_bytes */
	bool admin_only; /* 404 on listeners that are not admin listeners */
	void (*handler)(struct http_request *req, void *ctx);
	void (*duplex)(struct http_request *req, void *ctx); /* instead of handler: called when the head is there */
	void *ctx;
	const char
	    *scope; /* documentation and the scope test: the token scope, "write_key", "person" (a person token, or a
			    source that may) or "" */
};
struct router;
MUST_USE int router_new(struct router **out);
void router_free(struct router *router);
MUST_USE int router_add(struct router *router,
			const struct route *route); /* the struct is copied, strings are borrowed for ever */
/* Requests for application/grpc at paths that no route has go here instead of being answered `not_found`: gRPC has its own way of saying so.
 * Only for carriers with trailers; at most once. */
void router_set_unknown_duplex(struct router *router, void (*duplex)(struct http_request *req, void *ctx), void *ctx);
/* For tests and documentation: calls fn for each route in the order added. */
void router_each(const struct router *router, void (*fn)(void *ctx, const struct route *route), void *ctx);
