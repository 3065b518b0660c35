/* http1_parse: HTTP/1.0 and 1.1 requests read strictly: what RFC 9112 allows a server to repair is refused
 * instead, because whoever repairs differently is how requests are smuggled.
 *
 * Pure functions over bytes: no I/O, no allocation, no clock. Feeding byte by byte gives the same result
 * as feeding all at once. */
#pragma once

#include "net/head.h"

enum http1_result { HTTP1_MORE, HTTP1_DONE, HTTP1_REFUSED };

struct http1_refusal {
	enum problem problem;
	const char *why; /* static text */
};

/* ── head ────────────────────────────────────────────────────────────────── */

struct http1_head_parser {
	uint32_t line_start, scanned; /* offsets: of the line being read; up to where it was looked at */
	uint32_t length;              /* of the whole head, once done */
	uint8_t step;
	struct http1_refusal refusal;
	struct head head;
};

void http1_head_start(struct http1_head_parser *parser);
/* `data` holds all bytes since the request's first, those of earlier calls included. */
enum http1_result http1_head_parse(struct http1_head_parser *parser, const char *data, size_t len);

/* ── body ────────────────────────────────────────────────────────────────── */

#define BODY_EXTENSION_MAX  256        /* of one chunk */
#define BODY_EXTENSIONS_MAX (4 * 1024) /* of all chunks of a body */
#define BODY_TRAILERS_MAX   (4 * 1024)

struct http1_body {
	uint8_t step;
	uint8_t digits; /* of the chunk size so far */
	bool is_chunked;
	uint32_t extension, extensions, trailer;
	uint64_t left;       /* bytes of the length or of the chunk still to come */
	uint64_t total, cap; /* body bytes so far; the most allowed */
	struct http1_refusal refusal;
};

/* A length beyond the cap is the caller's to refuse. */
void http1_body_start(struct http1_body *body, const struct head *head, uint64_t cap);
/* Takes *taken of the `len` new bytes; *made body bytes now stand at the front of `data` (made <= taken). */
enum http1_result http1_body_parse(struct http1_body *body, char *data, size_t len, size_t *taken, size_t *made);
