/* cors: which pages of other origins may call, and what they may read of the answer. */
#pragma once

#include "net/request.h"

void cors_add_fields(struct http_request *request); /* to any answer, errors included */
/* Answers a preflight (204); false when the request is none. */
bool cors_preflight(struct http_request *request);
