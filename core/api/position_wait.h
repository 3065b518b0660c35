/* position_wait: a read after a write. Who asks for a position is held back until the fold has passed it, for at most
 * config.min_position_wait_ms. It knows nobody's face; HTTP's ?min_position= stands below. */
#pragma once

#include "api/internal.h"

enum position_verdict {
	POSITION_APPLIED,
	POSITION_NOT_YET, /* the bound is over */
	POSITION_NO_ROOM  /* too many wait already */
};
typedef void (*position_fn)(struct api_worker *worker, enum position_verdict verdict, void *ctx);

/* Calls `done` exactly once on the worker's loop, unless cancelled: at once (NULL is returned then) or later. */
struct position_waiter *position_wait(struct api_worker *worker, uint64_t seq, position_fn done, void *ctx);
/* The asker is gone: `done` will not be called. */
void position_cancel(struct position_waiter *waiter);
/* What to say to who may not read yet; PROBLEM_NONE: it may. *message: static. */
enum problem position_problem(enum position_verdict verdict, struct str *message);

/* The text of a position of `feed`. PROBLEM_NONE; INVALID_PARAMETER: malformed, or of another feed; GONE: another store's. *message: static. */
MUST_USE enum problem position_read(struct api *api, enum position_feed feed, struct str text, uint64_t *seq,
				    struct str *message);

/* ?min_position=: calls `next` at once or when the fold is there; or answers itself: 400 (not a position), 410 (another store's), 503. */
void position_gate(struct api_worker *worker, struct http_request *req, api_handler_fn next);
/* The fold committed: lets those go whose position is applied. On the worker's thread. */
void position_waiters_wake(struct api_worker *worker);
/* The loop has ended and who waited with it. */
void position_waiters_drop(struct api_worker *worker);
