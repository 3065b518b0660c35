/* deliver: hands applied events on to destinations until they are acknowledged. Each destination has a thread, a cursor in
 * `delivery/` and a bounded batch: a slow or dead one delays nobody and loses nothing; past its maximum lag it is declared
 * expired, visibly. It reads records only through their outcome, never ahead of the fold. */
#pragma once

#include "journal/journal.h"
#include "profile/people.h"

struct deliver;
struct spaces;

/* Refuses a cursor ahead of the journal or of another epoch. ERR_INVALID: a destination's options; logged. */
MUST_USE int deliver_new(struct journal *journal, struct people *people, const struct config *config,
			 struct deliver **out);
/* Before the start: where exporters keep their caches and key-values. */
void deliver_set_spaces(struct deliver *deliver, struct spaces *spaces);
MUST_USE int deliver_start(struct deliver *deliver);
void deliver_wake(struct deliver *deliver); /* the fold committed; any thread */
void deliver_stop(struct deliver *deliver); /* waits for batches in progress, bounded */
void deliver_free(struct deliver *deliver);
MUST_USE int deliver_reload(struct deliver *deliver,
			    const struct config *config); /* adds, removes, recreates changed ones */

/* Named cursors of the change feed (deliver/subscription.h). */
struct subscriptions;
struct subscriptions *deliver_subscriptions(const struct deliver *deliver);

struct destination_status {
	struct str name, plugin;
	uint64_t cursor; /* next seq to hand over */
	uint64_t lag;    /* records behind the fold */
	uint64_t delivered, dropped, retries, expired_records;
	uint64_t denied; /* kept back because the person does not consent */
	bool is_failing;
	struct str last_error;
	int64_t last_success_us;
};
/* Copies into the arena. */
MUST_USE int deliver_status(struct deliver *deliver, struct arena *arena, struct destination_status **out,
			    size_t *count);
