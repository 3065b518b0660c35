/* ingest_http: the ingest half of the HTTP face: which route is which dialect, and how a result reads as JSON. Bodies are JSON by route:
 * SDKs label theirs as they please, so Content-Type only tells protobuf from JSON on the native route. */
#pragma once

#include "ingest/ingest.h"
#include "net/http.h"

struct api;

/* POST /v1/{track,…}, /v1/batch, /v1/events and their short forms. */
MUST_USE int ingest_http_register(struct api *api, struct router *router);

/* For routes of other files that submit by themselves: the request as ingest wants it, handing it over, and the usual answer. */
void ingest_http_fill(struct http_request *req, enum ingest_dialect dialect, struct ingest_request *out);
void ingest_http_submit(struct http_request *req, const struct ingest_request *request, ingest_done_fn done);
/* X-Cdpd-Position, RateLimit-* and Retry-After of the answer. */
void ingest_http_set_headers(struct http_request *req, const struct ingest_result *result);
/* The request behind the `ctx` that `done` was called with. */
struct http_request *ingest_http_request(void *ctx);
void ingest_http_on_done(void *ctx, const struct ingest_result *result);

/* The body of a 200. */
MUST_USE int ingest_http_write_result(struct buf *out, const struct ingest_result *result);
