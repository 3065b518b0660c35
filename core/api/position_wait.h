/* position_wait: a read after a write. ?min_position= holds a request back until the fold has passed that position, for
 * at most config.min_position_wait_ms; then 503 not_yet_applied. */
#pragma once

#include "api/internal.h"

/* Calls `next` at once or when the fold is there; or answers itself: 400 (not a position), 410 gone (another store's), 503. */
void position_gate(struct api_worker *worker, struct http_request *req, api_handler_fn next);
/* The fold committed: lets those go whose position is applied. On the worker's thread. */
void position_waiters_wake(struct api_worker *worker);
/* The loop has ended and the requests with it. */
void position_waiters_drop(struct api_worker *worker);

/* Calls `done` when the fold has passed position `seq` or the bound is over, whichever comes first (or at once, when too many wait
 * already); on the worker's loop. Not called when the client left first. `ctx` may lie in the request's arena. */
typedef void (*position_fn)(struct api_worker *worker, struct http_request *req, bool is_applied, void *ctx);
void position_wait(struct api_worker *worker, struct http_request *req, uint64_t seq, position_fn done, void *ctx);
