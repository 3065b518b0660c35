/* answer: one request that is answered from the read pool. Parameters are copied into its arena, `work` fills `out` on a
 * pool thread, the reply is sent on the request's loop. If the client leaves, the work is cancelled and thrown away. HTTP's requests
 * are the usual case; another face gives its own way to reply. */
#pragma once

#include "api/internal.h"

struct answer {
	struct read_job job;
	struct api_worker *worker;
	struct http_request *req;             /* HTTP's, the loop's; NULL: the client left, or another face asked */
	void *asker;                          /* another face's; NULL: left */
	void (*reply)(struct answer *answer); /* for it, on the loop; the answer is freed afterwards */
	int (*work)(struct answer *answer, struct read_thread *thread);
	struct arena arena; /* parameters and what `work` leaves for the reply */
	void *params;       /* in the arena */
	struct api *api;

	/* The answer, made by `work`. */
	struct json_out json; /* writes into out */
	struct buf out;
	int status; /* of success; 0: 200 */
	bool is_failed;
	enum problem problem; /* with is_failed */
	struct str message, pointer;
	uint64_t applied; /* of the snapshot; 0: not said */
};

/* Never NULL unless it has answered the request itself (no memory). *params: params_size zeroed bytes. */
MUST_USE struct answer *answer_new(struct api_worker *worker, struct http_request *req,
				   int (*work)(struct answer *answer, struct read_thread *thread), size_t params_size);
/* For another face: `reply` is called once, from answer_submit itself when the queue is full, but not after answer_leave. NULL: no
 * memory, nothing was called. */
MUST_USE struct answer *answer_new_for(struct api_worker *worker, void *asker, void (*reply)(struct answer *answer),
				       int (*work)(struct answer *answer, struct read_thread *thread),
				       size_t params_size);
/* The asker is gone: cancels; nobody is told. On the loop's thread, after answer_submit and before the reply. */
void answer_leave(struct answer *answer);
/* Before submit: a parameter was refused and the request answered. */
void answer_drop(struct answer *answer);
/* Hands it over, or answers `overloaded`. The answer is not the caller's any more. */
void answer_submit(struct answer *answer);

/* For `work`: say no. Returns OK, so that `return answer_fail(…)` reads well. Texts live in the arena or for ever. */
int answer_fail(struct answer *answer, enum problem problem, struct str message);
/* The problem that fits a status of people_get: unknown, malformed, or our own trouble. */
int answer_fail_ref(struct answer *answer, int status);
bool answer_is_cancelled(const struct answer *answer);
