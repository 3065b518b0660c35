/* ingest_http: the ingest half of the HTTP face: which route is which dialect, and how a result reads as JSON. Bodies are JSON by route:
 * SDKs label theirs as they please, so Content-Type only tells protobuf from JSON on the native route. */
#pragma once

#include "ingest/ingest.h"
#include "net/http.h"

struct api;

/* POST /v1/{track,…}, /v1/batch, /v1/events and their short forms. */
MUST_USE int ingest_http_register(struct api *api, struct router *router);

/* The body of a 200. */
MUST_USE int ingest_http_write_result(struct buf *out, const struct ingest_result *result);
