/* destination: one exporter's thread: read its streams, hand records over, move the cursors over what was settled.
 *
 * What it promises: per person and stream records go out in order; one that is to come again later is parked, and what comes after it of the same
 * person with it, while everybody else's go on; when the other side is down nothing is parked and everything waits (breaker.h). Every call into
 * the plugin, create and destroy included, is made on this thread. */
#pragma once

#include <pthread.h>

#include "base/metric.h"
#include "deliver/breaker.h"
#include "deliver/choose.h"
#include "deliver/deliver.h"
#include "deliver/flight.h"
#include "deliver/lane.h"
#include "deliver/letter.h"
#include "deliver/order.h"
#include "deliver/parked.h"
#include "deliver/rehearsal.h"
#include "plugin/http.h"

#define ABANDONED_MAX    4 /* handovers that a plugin never answered and still holds: with as many it gets no more */
#define LAST_ERROR_MAX   200
#define CURSOR_IDLE_ROWS 10000 /* a cursor that moved without handing anything over is written this rarely, … */
#define CURSOR_IDLE_US   (60 * US_PER_SECOND) /* … or this */
/* One that moved over what was handed over is written when as many records lie behind it, or after so long: what comes twice after a crash has the
 * same delivery ids, and is not more than that and the batches that were on their way. */
#define CURSOR_BUSY_ROWS 1500
#define CURSOR_BUSY_US   (200 * US_PER_MS)

struct destination {
	struct destination *next;
	struct deliver_shared *shared;
	struct arena arena; /* of name, conf */
	struct str name;
	const struct plugin *plugin;
	struct plugin_conf *conf;
	bool is_gated;           /* some purpose of the config gates it */
	struct conf_async async; /* its bounds for HTTP */
	struct conf_flow flow;   /* how it is handed records; nothing of it is 0 that has a default */
	struct selection selection;
	struct gate gate;
	struct http_guard guard;

	/* the thread's own */
	struct cdpd_instance *instance;
	struct people_reader *reader;
	struct stream_reader streams;
	struct chooser chooser;
	size_t turn;            /* lane that is asked first */
	int lease;              /* of changes that follow a snapshot; -1: none */
	int64_t repaired_at_us; /* clock_mono_us: when the last began; 0: none did */
	int64_t expired_at_us;  /* clock_mono_us: when a lane was last overdue and nothing on its way; 0: never */
	struct flight *flights;
	size_t flight_count;
	bool awaits_landing;                 /* what comes next may not go before all that is on its way has landed */
	bool is_rehearsing;                  /* a test event is with the plugin: it counts as a flight */
	struct person_set airborne, skipped; /* while a flight is filled: who is on their way, who must wait */
	struct parked_list parked;
	struct breaker breaker;
	unsigned refused_again; /* attempts in a row at parked records, of which none was taken */
	struct handover *abandoned[ABANDONED_MAX + CONF_CONCURRENCY_MAX];
	size_t abandoned_count;
	bool is_broken;                  /* nothing can be made durable any more */
	int64_t tokens_us, tokens_at_us; /* rate: time that is saved up */
	int64_t logged_drop_us;
	struct metric *delivered, *dropped, *retries, *expired, *denied, *lag, *failing;
	struct metric *filtered, *unmapped, *letters_lost, *letters, *lag_seconds, *paused;
	struct metric *parked_count, *breaker_state;
	struct letter_changes changes; /* not written yet, as parked_rows */
	struct parked_row *parked_rows;
	size_t parked_row_count, parked_row_room;
	struct notice_row *answers; /* to notices, not written yet */
	size_t answer_count, answer_room;
	uint64_t letters_until[STREAM_COUNT]; /* last position of a letter: what is taken beyond settles none */

	pthread_t thread;
	_Atomic(bool) stop;
	_Atomic(bool) wants_records; /* a commit of the fold is of interest */

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	bool has_thread, is_finished, was_woken, is_failing;
	bool was_answered; /* a pending handover has its answer */
	bool has_queued;   /* letters were queued again */
	bool is_reordered; /* `order` has changed: whoever waits looks at it */
	struct order order;
	bool is_inside;                  /* the thread is in a call into the plugin */
	bool is_left_behind;             /* and nobody waits for it any more: when it returns it touches nothing */
	struct http_client *http;        /* of the instance, used by the thread; under the lock others wake it */
	struct lane lanes[STREAM_COUNT]; /* of a lane: row and head_t */
	size_t lane_count;
	struct destination_state shown; /* what the thread showed last */
	struct rehearsal *rehearsal;    /* that waits for the thread; NULL: none */
	char last_error[LAST_ERROR_MAX + 1];
};

/* Does some purpose keep people from it who do not consent? */
bool destination_is_gated(const struct config *config, const struct conf_instance *conf);
/* No thread yet. Everything is copied. ERR_INVALID: not an exporter, or its options; logged. */
MUST_USE int destination_new(struct deliver_shared *shared, const struct config *config,
			     const struct conf_instance *conf, struct destination **out);
/* Where it goes on: its rows, or the oldest record. Before the start; again when a predecessor of this name has just ended. */
MUST_USE int destination_read_cursor(struct destination *destination);
MUST_USE int destination_start(struct destination *destination);
void destination_wake(struct destination *destination);  /* any thread */
void destination_nudge(struct destination *destination); /* the fold committed; any thread */
void destination_set_order(struct destination *destination,
			   const struct order *order);     /* written already; any thread */
void destination_redrive(struct destination *destination); /* letters were queued again; any thread */
void destination_ask_to_stop(struct destination *destination);
/* Waits until `until_us` (clock_mono_us) for the thread to end. False: a call into the plugin does not come back; the
 * destination must then stay as it is for ever. */
bool destination_join(struct destination *destination, int64_t until_us);
void destination_free(struct destination *destination); /* joined, or never started */
bool destination_is_same(const struct destination *destination, const struct destination *other);
void destination_make_metrics(struct destination *destination);        /* registers them; shows nothing */
void destination_show_counters(const struct destination *destination); /* its thread, or before the start */
void destination_show_lag(struct destination *destination);
void destination_show_state(struct destination *destination); /* its thread */
void destination_note_state(
    struct destination *destination); /* the same without metrics: one that runs may have its name */
void destination_show_all(struct destination *destination);   /* from now on they are this one's */
void destination_hide(const struct destination *destination); /* it has ended: it neither fails nor lags */
MUST_USE int destination_status(struct destination *destination, struct arena *arena, struct destination_status *out);

/* ── its thread's parts ──────────────────────────────────────────────────── */

bool destination_is_stopping(const struct destination *destination);
/* Until `until_us`, a stop, an order, an answer or (when `wakes`) destination_wake. Runs the plugin's timers and HTTP meanwhile. */
void destination_wait(struct destination *destination, int64_t until_us, bool wakes);
void destination_note_failure(struct destination *destination, struct str why);
void destination_note_error(struct destination *destination,
			    struct str why); /* of a record: it does not fail as a whole */
void destination_note_success(struct destination *destination);
/* One round (destination_round.c). False: nothing can be made durable here any more. */
bool destination_round(struct destination *destination);
/* After the last round: what is on its way lands, or is given up; what can be is made durable. */
void destination_finish(struct destination *destination, bool can_write);

/* Makes a flight of what may go out now (destination_fill.c). *out NULL: there is nothing. *wait_until_us: when there may be something. */
MUST_USE int destination_fill(struct destination *destination, struct flight **out, int64_t *wait_until_us);
/* What came of a flight, which is over then (destination_land.c). `is_answered`: its handover has verdicts. */
void destination_land(struct destination *destination, struct flight *flight, bool is_answered);
/* It never left: its records wait again. */
void destination_cancel(struct destination *destination, struct flight *flight);

/* What becomes durable (destination_write.c). */
MUST_USE int destination_put_letter(struct destination *destination, const struct letter *letter);
MUST_USE int destination_end_letter(struct destination *destination, enum stream_id stream, uint64_t position);
/* In the list too. ERR_FULL: as many as there may be. */
MUST_USE int destination_park(struct destination *destination, const struct parked *parked);
void destination_unpark(struct destination *destination, enum stream_id stream, uint64_t position);
/* What it said to a notice. */
MUST_USE int destination_put_answer(struct destination *destination, const uint8_t id[NOTICE_ID_SIZE],
				    const struct notice_answer *answer);
/* The cursors of all lanes move over what is settled; written when it is time. False: nothing can be made durable any more. */
MUST_USE bool destination_settle(struct destination *destination, bool is_idle);
MUST_USE bool destination_write(struct destination *destination); /* now */
bool destination_has_changes(const struct destination *destination);

/* Its calls into the plugin (destination_plugin.c). */
MUST_USE bool destination_create(struct destination *destination); /* the instance; false: the plugin has logged why */
void destination_destroy(struct destination *destination);
void destination_run_timers(struct destination *destination);
MUST_USE int destination_hand_over(struct destination *destination, struct handover *handover); /* as handover_begin */
