/* params: query parameters that every list shares. Each function answers the request itself (400, 410) when it returns false. */
#pragma once

#include "api/internal.h"

#define LIST_LIMIT_DEFAULT 50
#define LIST_LIMIT_MAX     500

/* ?limit=, 1 to LIST_LIMIT_MAX; LIST_LIMIT_DEFAULT when absent. */
MUST_USE bool param_limit(struct http_request *req, size_t *limit);
/* ?cursor= of a list by position; 0 when absent. */
MUST_USE bool param_cursor(struct api *api, struct http_request *req, uint64_t *seq);
/* The text of parameter or header `name` as a position of `feed`: malformed or of another feed 400, of another store 410. */
MUST_USE bool param_position(struct api *api, struct http_request *req, enum position_feed feed, struct str name,
			     struct str text, uint64_t *seq);
/* "next": the cursor of the page behind position `seq`, or null when that was the last one. */
void param_write_next(struct json_out *out, const struct api *api, bool has_more, uint64_t seq);
/* Copies a parameter into `arena`; empty when absent. False: too long, or no memory. */
MUST_USE bool param_text(struct http_request *req, struct str name, size_t max, struct arena *arena, struct str *out);
void param_refuse(struct http_request *req, struct str name, const char *why);
