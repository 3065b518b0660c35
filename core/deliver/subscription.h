/* subscription: durable named cursors of the change feed, in the delivery/ environment. A cursor moves only by commit, never backwards
 * unless that is asked for; one consumer at a time holds a subscription, the newest takes over. They never pin retention: a cursor
 * that changes were trimmed behind is expired, and what it missed is counted when it is moved on.
 *
 * Orders are written together: whoever comes first writes for all that are queued, in one durable transaction. */
#pragma once

#include <pthread.h>

#include "base/metric.h"
#include "base/problem.h"
#include "deliver/cursor.h"

#define SUBSCRIPTIONS_MAX       1000
#define SUBSCRIPTION_NAME_MAX   64    /* letters, digits, '_', '-', '.' */
#define SUBSCRIPTION_FILTER_MAX 16384 /* bytes */

struct subscription {
	struct str name, filter;          /* filter: the text it was put with, not looked into here */
	uint64_t cursor;                  /* changes up to here are done with */
	int64_t created_at, committed_at; /* wall clock; committed_at 0: never */
	uint64_t expiries;                /* how often it was moved on after it had expired */
	uint64_t missed;                  /* changes that were trimmed before it had them, at those times */
	bool is_held;                     /* told by subscriptions_get and _list */
};
/* What the feed holds: changes after `floor`, up to `last`. */
struct subscription_feed {
	uint64_t floor, last;
};
/* Changes it will never see; 0: not expired. A cursor ahead of the feed (an older backup of the profiles) has missed what it says. */
uint64_t subscription_gap(const struct subscription *subscription, const struct subscription_feed *feed);
bool subscription_is_expired(const struct subscription *subscription, const struct subscription_feed *feed);
bool subscription_name_is_valid(struct str name);

enum subscription_deed { SUBSCRIPTION_PUT, SUBSCRIPTION_COMMIT, SUBSCRIPTION_DELETE };
enum subscription_start { SUBSCRIPTION_NOW, SUBSCRIPTION_OLDEST, SUBSCRIPTION_CURSOR };

struct subscription_order {
	enum subscription_deed deed;
	struct str name, filter;       /* put */
	enum subscription_start start; /* put: where a new one begins */
	uint64_t cursor;               /* commit, or put with SUBSCRIPTION_CURSOR */
	bool is_reset;                 /* commit: backwards too; its holder is told to subscribe again */

	/* When it is settled: */
	int status; /* OK; ERR_NOT_FOUND; ERR_GONE: cursor behind retention; ERR_INVALID: ahead of the feed; ERR_FULL: too many (or the disk); the store's */
	bool is_settled, is_new, has_moved, has_too_many, was_expired;
	uint64_t gap;               /* of one that had expired */
	struct subscription result; /* name and filter borrow the order's arena */
	struct arena *arena;
	struct subscription_order *next;
};

struct subscriptions;
MUST_USE int subscriptions_new(struct cursors *cursors, struct subscriptions **out);
void subscriptions_free(struct subscriptions *subscriptions);

/* Any thread. Then, on a thread that may wait for the disk, subscriptions_settle: every queued order is settled in their order, durably. */
void subscriptions_queue(struct subscriptions *subscriptions, struct subscription_order *order);
void subscriptions_settle(struct subscriptions *subscriptions, const struct subscription_feed *feed);
/* An order that was never settled goes: nobody settles at this moment, or it is settled. */
void subscriptions_forget(struct subscriptions *subscriptions, struct subscription_order *order);

/* Copies into the arena. ERR_NOT_FOUND. */
MUST_USE int subscriptions_get(struct subscriptions *subscriptions, struct str name, struct arena *arena,
			       struct subscription *out);
/* Up to `limit` by name, after `after` (empty: from the first). */
MUST_USE int subscriptions_list(struct subscriptions *subscriptions, struct str after, size_t limit,
				struct arena *arena, struct subscription **out, size_t *count);

/* Who reads from it now. Embedded in what reads; `name` lives as long. */
struct subscription_hold {
	struct str name;
	/* Another took over (PROBLEM_TAKEN_OVER), it was changed or reset (PROBLEM_SUBSCRIPTION_CHANGED) or deleted (PROBLEM_NOT_FOUND). From any
	 * thread, under the subscriptions' lock: only to pass it on. At most once. */
	void (*on_lost)(struct subscription_hold *hold, enum problem why);
	struct subscription_hold *next, **link;
	bool is_lost;
};
void subscriptions_hold(struct subscriptions *subscriptions, struct subscription_hold *hold);
void subscriptions_release(struct subscriptions *subscriptions, struct subscription_hold *hold);
