/* subscriptions: the HTTP face of named cursors. */
#pragma once

#include "api/change_feed.h"

/* GET /v1/changes?subscription=NAME: takes the request over. */
void subscription_stream(struct api_worker *worker, struct http_request *req, struct str name);
/* changes.c: one change as a Server-Sent Event. */
MUST_USE int changes_write_event(struct buf *out, const struct api *api, const struct change *change, struct str body);
