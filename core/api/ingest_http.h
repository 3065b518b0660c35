/* ingest_http: the ingest half of the HTTP face: which route is which dialect, and how a result reads as JSON. Bodies are JSON by route:
 * SDKs label theirs as they please, so Content-Type only tells protobuf from JSON on the native route. */
#pragma once

#include "ingest/ingest.h"
#include "net/http.h"

struct api;

/* POST /v1/{track,…}, /v1/batch, /v1/events and their short forms. */
MUST_USE int ingest_http_register(struct api *api, struct router *router);

/* X-Cdpd-Position, RateLimit-* and Retry-After of the answer. */
void ingest_http_set_headers(struct http_request *req, const struct ingest_result *result);
/* Who asks, from headers and query; the caller fills in dialect and body. */
void ingest_http_fill_request(struct http_request *req, struct ingest_request *out);
/* The body of a 200. */
MUST_USE int ingest_http_write_result(struct buf *out, const struct ingest_result *result);
