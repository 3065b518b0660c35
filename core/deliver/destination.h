/* destination: one exporter's thread: gather a batch of applied events, hand it over, move the cursor over what was settled.
 *
 * Every call into the plugin, create and destroy included, is made on this thread. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/metric.h"
#include "deliver/cursor.h"
#include "deliver/deliver.h"
#include "deliver/letter.h"
#include "deliver/order.h"
#include "deliver/selection.h"
#include "deliver/shared.h"
#include "deliver/stream.h"
#include "plugin/handover.h"
#include "plugin/http.h"

#define BATCH_BYTES_MAX  ((size_t)1 << 20)
#define ABANDONED_MAX    4 /* handovers that a plugin never answered and still holds */
#define LAST_ERROR_MAX   200
#define CURSOR_IDLE_ROWS 10000 /* a cursor that moved without handing anything over is written this rarely, … */
#define CURSOR_IDLE_US   (60 * US_PER_SECOND) /* … or this */

/* A record that is looked at and not handed over. */
enum aside_kind {
	ASIDE_DENIED,   /* by consent */
	ASIDE_FILTERED, /* not for this destination */
	ASIDE_UNMAPPED, /* a dead letter */
	ASIDE_GONE,     /* of those that were named: erased or trimmed since */
};
struct aside {
	enum aside_kind kind;
	uint64_t seq, journal_seq;
	uint8_t fragment[16];
	struct str why; /* in the batch's arena */
};

struct batch { /* records between gathering and settling */
	struct arena arena, scratch;
	struct buf person;
	struct json_reader *reader; /* NULL: nothing had to be parsed yet */
	struct stream_reader streams;
	struct stream_window window;
	const struct stream *stream;
	struct export_record records[HANDOVER_RECORDS_MAX];
	uint64_t seqs[HANDOVER_RECORDS_MAX]; /* positions in the stream */
	uint64_t journal_seqs[HANDOVER_RECORDS_MAX];
	uint8_t fragments[HANDOVER_RECORDS_MAX][16];
	bool is_settled[HANDOVER_RECORDS_MAX];
	/* Of the window's records. */
	struct str persons[WINDOW_RECORDS_MAX];
	bool is_withheld[WINDOW_RECORDS_MAX]; /* erased since: never handed over */
	bool is_denied[WINDOW_RECORDS_MAX];
	bool is_outside[WINDOW_RECORDS_MAX];     /* in none of the segments that are asked for */
	struct aside asides[WINDOW_RECORDS_MAX]; /* in order of position */
	size_t aside_count, aside_booked;
	size_t count, bytes;
	uint64_t next_seq; /* where the cursor stands when all are settled */
	bool is_redrive;   /* records that were named: the cursor has nothing to do with them */
};
MUST_USE int batch_init(struct batch *batch, struct deliver_shared *shared, struct people_reader *reader);
void batch_fini(struct batch *batch);
/* Whom a batch is for. */
struct gate {
	struct str name;
	bool is_gated; /* by the config: until the fold knows of it, nothing is handed over */
	const struct selection *selection;
	uint64_t since; /* where its profiles go on after a snapshot: names the snapshot */
};
/* Fills the batch from `position` on, without what consent or the selection keep from the destination. OK with count 0: nothing to hand over
 * below next_seq. ERR_GONE: `position` is behind retention. */
MUST_USE int batch_gather(struct batch *batch, const struct stream *stream, const struct gate *gate, uint64_t position);
/* The same with these positions, ascending, at most HANDOVER_RECORDS_MAX; those that did not fit are in neither records nor asides. ERR_BUSY: the
 * fold does not know of the gate yet. */
MUST_USE int batch_gather_named(struct batch *batch, const struct stream *stream, const struct gate *gate,
				const uint64_t *positions, size_t count);

/* A stream that the destination reads. */
struct lane {
	const struct stream *stream;
	uint64_t committed_seq; /* the thread's own, as committed_at_us */
	int64_t committed_at_us;
	bool is_new;           /* where it begins is not written yet */
	struct cursor_row row; /* under the lock; the thread alone writes it */
	int64_t head_t;        /* journal's time of the record at next_seq, 0: nothing waits, or not looked at yet */
};

struct destination {
	struct destination *next;
	struct deliver_shared *shared;
	struct arena arena; /* of name, conf */
	struct str name;
	const struct plugin *plugin;
	struct plugin_conf *conf;
	bool is_gated;           /* some purpose of the config gates it */
	struct conf_async async; /* its bounds for HTTP */
	struct selection selection;
	struct http_guard guard;

	/* the thread's own */
	struct cdpd_instance *instance;
	struct people_reader *reader;
	struct batch batch;
	struct lane *lane; /* whose turn it is */
	size_t turn;       /* of whom after it */
	int lease;         /* of changes that it will need; -1: none */
	struct handover *abandoned[ABANDONED_MAX];
	size_t abandoned_count;
	unsigned failures; /* in a row */
	int64_t logged_drop_us;
	struct metric *delivered, *dropped, *retries, *expired, *denied, *lag, *failing;
	struct metric *filtered, *unmapped, *letters_lost, *letters, *lag_seconds, *paused;
	struct letter_changes changes; /* not written yet */
	bool may_have_letters;         /* this destination has or had some: what it takes now may settle one */

	pthread_t thread;
	_Atomic(bool) stop;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	bool has_thread, is_finished, was_woken, is_failing;
	bool has_queued;   /* letters were queued again */
	bool is_reordered; /* `order` has changed: whoever waits looks at it */
	struct order order;
	bool is_inside;      /* the thread is in a call into the plugin */
	bool is_left_behind; /* and nobody waits for it any more: when it returns it touches nothing */
	struct handover *running;
	struct http_client *http; /* of the instance, used by the thread; under the lock others wake it */
	struct lane lanes[STREAM_COUNT];
	size_t lane_count;
	char last_error[LAST_ERROR_MAX + 1];
};

/* Does some purpose keep people from it who do not consent? */
bool destination_is_gated(const struct config *config, const struct conf_instance *conf);
/* No thread yet. Everything is copied. ERR_INVALID: not an exporter, or its options; logged. */
MUST_USE int destination_new(struct deliver_shared *shared, const struct config *config,
			     const struct conf_instance *conf, struct destination **out);
/* Where it goes on: its row, or the oldest record. Before the start; again when a predecessor of this name has just ended. */
MUST_USE int destination_read_cursor(struct destination *destination);
MUST_USE int destination_start(struct destination *destination);
void destination_wake(struct destination *destination); /* any thread */
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
MUST_USE int destination_status(struct destination *destination, struct arena *arena, struct destination_status *out);

/* ── its calls into the plugin (destination_plugin.c); its thread ────────── */

MUST_USE bool destination_create(struct destination *destination); /* the instance; false: the plugin has logged why */
void destination_destroy(struct destination *destination);
void destination_run_timers(struct destination *destination);
MUST_USE int destination_run_handover(struct destination *destination, struct handover *handover); /* as handover_run */
