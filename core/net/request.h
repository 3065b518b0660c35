/* request: what stands behind http.h, whatever protocol carried the request. A carrier (http1.c) fills one, dispatches
 * it, and is told the answer through its functions. */
#pragma once

#include "net/conn.h"
#include "net/head.h"
#include "net/http.h"
#include "net/router.h"

#define REQUEST_MAGIC    0x71657268u
#define STREAM_MAGIC     0x6d727473u
#define DUPLEX_MAGIC     0x6c707564u
#define REPLY_FIELDS_MAX 24

struct http_carrier {
	/* The answer's fields are in request->fields; the request is gone afterwards. */
	void (*reply)(struct http_request *request, int status, struct str content_type, struct str body);
	struct http_stream *(*stream_begin)(struct http_request *request, int status, struct str content_type);
	int (*stream_write)(struct http_stream *stream, struct str data);
	size_t (*stream_room)(const struct http_stream *stream);
	void (*stream_end)(struct http_stream *stream);
	/* An abort handler was set: for a client that has left already. */
	void (*watch_abort)(struct http_request *request);
	/* NULL, all of them, where answers have no trailers. */
	void (*duplex_begin)(struct http_request *request);
	void (*duplex_consume)(struct http_duplex *duplex, size_t len);
	void (*duplex_reply)(struct http_duplex *duplex, int status, struct str content_type);
	int (*duplex_write)(struct http_duplex *duplex, struct str data);
	size_t (*duplex_room)(const struct http_duplex *duplex);
	/* The trailers live as long as the request. */
	void (*duplex_end)(struct http_duplex *duplex, struct str content_type, const struct http_trailer *trailers,
			   size_t count);
	void (*duplex_reset)(struct http_duplex *duplex);
};

struct http_stream {
	uint32_t magic;
	bool is_open;
	bool was_high; /* output passed the low-water mark: on_drain is due when it falls below */
	struct http_request *request;
	struct http_stream_events events;
	void *ctx;
};

struct http_duplex {
	uint32_t magic;
	bool is_open; /* neither ended nor closed */
	bool has_replied;
	struct http_request *request;
	struct http_duplex_events events;
	void *ctx;
};

struct reply_field {
	struct str name, value;
};

struct http_request {
	uint32_t magic;
	bool is_answered;
	const struct http_carrier *carrier;
	struct conn *conn;
	const struct head *head;
	const char *base; /* what the head's offsets count from */
	struct str body;
	struct route_match match;
	struct arena arena;
	size_t field_count;
	struct reply_field fields[REPLY_FIELDS_MAX];
	void (*on_abort)(void *ctx);
	void *abort_ctx;
	int64_t received_at_us;
	char ip_text[IP_TEXT_SIZE]; /* when X-Forwarded-For was believed, else empty */
	struct http_stream stream;
	struct http_duplex duplex;
};

void request_init(struct http_request *request, const struct http_carrier *carrier);
void request_fini(struct http_request *request);
/* A new request whose head is at `base`; finds its route. */
void request_begin(struct http_request *request, struct conn *conn, const struct head *head, const char *base);
void request_end(struct http_request *request); /* its arena is emptied */
/* Nobody asks for anything of it any more, though it stays: gives its arena's memory back. */
void request_shed(struct http_request *request);
/* The whole body is there and nothing moves any more: calls the handler, or answers OPTIONS, 404 and 405. */
void request_dispatch(struct http_request *request, const char *base, struct str body);
/* The client has left before the answer: false when nobody asked to be told. */
bool request_abort(struct http_request *request);
size_t request_body_cap(const struct http_request *request);

/* Adds a field without copying its texts. */
void reply_add(struct http_request *request, struct str name, struct str value);
bool reply_has(const struct http_request *request, struct str name);
