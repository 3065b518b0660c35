/* deliver: hands applied events on to destinations until they are acknowledged. Each destination has a thread, a cursor in
 * `delivery/` and a bounded batch: a slow or dead one delays nobody and loses nothing; past its maximum lag it is declared
 * expired, visibly. It reads records only through their outcome, never ahead of the fold. */
#pragma once

#include "deliver/cursor.h"
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

/* What operators tell a destination: durable when they return OK; carried out soon after by its thread. ERR_NOT_FOUND: no such destination. May wait
 * for a reload. */
MUST_USE int deliver_pause(struct deliver *deliver, struct str name, bool is_paused);
/* Hands over again from `seq` on. ERR_INVALID: it is not that far yet. *from: where that is in what is retained. */
MUST_USE int deliver_replay(struct deliver *deliver, struct str name, uint64_t seq, uint64_t *from);
/* The first record that is not older than `t`. */
MUST_USE int deliver_seq_at(struct deliver *deliver, int64_t t, uint64_t *seq);

/* Dead letters (deliver/letter.h). `name` empty: of all destinations; rows of destinations that are configured no more are kept. */
struct letter_place;
struct letter_row;
MUST_USE int deliver_letters(struct deliver *deliver, struct str name, const struct letter_place *after, size_t limit,
			     struct arena *arena, struct letter_row **out, size_t *count);
/* Of one position, or of all when it is 0. *count: how many it met. ERR_NOT_FOUND: no such destination. */
MUST_USE int deliver_redrive(struct deliver *deliver, struct str name, enum stream_id stream, uint64_t seq,
			     uint64_t *count);
MUST_USE int deliver_discard(struct deliver *deliver, struct str name, enum stream_id stream, uint64_t seq,
			     uint64_t *count);
MUST_USE int deliver_letters_of(struct deliver *deliver, const struct fragment_id *fragments, size_t fragment_count,
				uint64_t *count);
/* For the sweep of an erasure: letters of erased persons go, on disk too. ERR_CLOSED: *stop became true. */
MUST_USE int deliver_erase_letters(struct deliver *deliver, const _Atomic bool *stop, uint64_t *count);

/* Hands a test event to the destination and waits for the plugin's answer, at most `span_us` (deliver/rehearsal.h). ERR_NOT_FOUND; ERR_BUSY: another
 * test is under way. */
struct rehearsal_result;
MUST_USE int deliver_rehearse(struct deliver *deliver, struct str name, int64_t span_us, struct arena *arena,
			      struct rehearsal_result *out);

/* Named cursors of the change feed (deliver/subscription.h). */
struct subscriptions;
struct subscriptions *deliver_subscriptions(const struct deliver *deliver);

enum destination_condition {
	DESTINATION_OK,
	DESTINATION_WAITING, /* the other side is down: no attempt before retry_at_us */
	DESTINATION_TRYING,  /* … and one attempt tells */
	DESTINATION_FULL,    /* as many records are parked as may be: all of them wait */
	DESTINATION_STOPPED, /* nothing can be made durable any more */
};
const char *destination_condition_name(enum destination_condition condition);
struct destination_state {
	enum destination_condition condition;
	int64_t since_us, retry_at_us; /* wall clock; 0: not known, nothing waits */
	uint64_t parked;
};

struct destination_status {
	struct str name, plugin;
	uint64_t cursor; /* next seq to hand over */
	uint64_t lag;    /* records behind the fold */
	int64_t lag_us;  /* age of the oldest of them */
	bool is_paused;
	uint64_t delivered, dropped, retries, expired_records;
	uint64_t denied; /* kept back because the person does not consent */
	uint64_t filtered, unmapped;
	uint64_t letters, letters_queued,
	    letters_lost; /* dead letters: kept, of them queued to be handed over again; lost for ever */
	bool is_failing;
	struct destination_state state;
	struct str last_error;
	int64_t last_success_us;
};
/* Copies into the arena. */
MUST_USE int deliver_status(struct deliver *deliver, struct arena *arena, struct destination_status **out,
			    size_t *count);
