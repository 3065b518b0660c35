/* subscription_call: what outsiders do with named cursors, whatever face asks: look-ups and orders (deliver/subscription.h), on the thread that may
 * wait for the disk. Orders that queue up while it writes are written together. */
#pragma once

#include "api/change_feed.h"
#include "deliver/subscription.h"

enum subscription_ask { SUBSCRIPTION_ORDER, SUBSCRIPTION_GET, SUBSCRIPTION_LIST };

struct subscription_call {
	struct read_job job;
	struct api_worker *worker;
	struct arena arena; /* of everything here */
	void *asker;        /* NULL: left */
	void (*reply)(
	    struct subscription_call *call); /* on the loop, once, unless the asker left; the call is gone afterwards */
	enum subscription_ask ask;
	struct subscription_order order;
	struct str name; /* of a look-up; of a list: after it */
	size_t limit;
	/* The answer. */
	int status; /* as of the order or look-up; ERR_BUSY: the queue is full */
	struct subscription_feed feed;
	struct subscription *items; /* one, or the list */
	size_t count;
};

/* NULL: no memory, nothing was called. */
MUST_USE struct subscription_call *subscription_call_new(struct api_worker *worker, void *asker,
							 void (*reply)(struct subscription_call *call));
void subscription_call_drop(struct subscription_call *call); /* before submit */
/* Replies, later or at once. An order that was handed over is carried out even when its asker leaves. */
void subscription_call_submit(struct subscription_call *call);
void subscription_call_leave(struct subscription_call *call); /* after submit, before the reply */
/* Why not; PROBLEM_NONE: it went well. *message: static, or empty. */
enum problem subscription_problem(const struct subscription_call *call, struct str *message);

/* A feed from a subscription's cursor with its filter, held from now on: fills in all but the sink. ERR_NOMEM, ERR_CORRUPT. */
MUST_USE int subscription_open(struct api_worker *worker, const struct subscription *subscription,
			       change_write_fn write, struct feed_options *out);
