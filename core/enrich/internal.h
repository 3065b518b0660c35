/* internal: the asking thread and one enricher of it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "enrich/enrichers.h"
#include "enrich/patched.h"
#include "plugin/runner.h"
#include "profile/awaits.h"
#include "profile/erase.h"

#define BREAKER_FAILURES   10 /* in a row, and nobody is asked for a while */
#define BREAKER_PAUSE_US   US_PER_SECOND
#define BREAKER_LONGEST_US (60 * US_PER_SECOND)
#define RETRY_MIN_US       (500 * US_PER_MS)
#define RETRY_MAX_US       (60 * US_PER_SECOND)
#define RETRIES_MAX        4096 /* of one enricher, waiting to be asked again */
#define AHEAD_MAX          64   /* waits read at a time */
#define SCAN_ROWS          512  /* rows looked at in one read transaction */
#define OUTBOX_MAX         1024 /* results that wait for the journal: nobody is asked beyond. One append takes that many */
#define BATCHED_MIN        256 /* questions at a time of an isolated synchronous enricher */
#define STOP_US            (5 * US_PER_SECOND)
#define STUCK_US           (2 * US_PER_SECOND) /* inside one call of a plugin that must not block */

struct question {
	struct question *next, *next_settled;
	struct enricher *enricher;
	struct ticket *ticket;
	uint64_t seq;
	int64_t t, asked_at, deadline_us;
	unsigned attempt;
	bool is_asked;     /* the ticket is with the plugin */
	bool is_abandoned; /* and nobody waits for it any more */
};

struct retry {
	uint64_t seq;
	int64_t t, due_us;
	unsigned attempt;
};

/* Where a walk over the waits stands: behind the wait of that event and enricher. */
struct await_cursor {
	uint64_t seq, after;
};

struct enricher {
	struct enricher *next;
	struct enrichers *all;
	struct arena arena; /* of what follows */
	struct str name;
	const struct plugin *plugin;
	struct plugin_conf *conf;
	struct conf_async async;
	uint64_t key;
	struct runner *runner; /* NULL: not started */

	/* the asking thread's */
	uint64_t start_after; /* nobody is asked before the fold has come here: the answers may be in the journal */
	struct await_cursor cursor;
	struct retry ahead[AHEAD_MAX];
	size_t ahead_at, ahead_count;
	struct retry *retries; /* RETRIES_MAX */
	size_t retry_count;
	struct question *questions; /* all there are */
	size_t asked, abandoned;
	unsigned failures; /* in a row */
	int64_t paused_until_us, pause_us;
	bool is_restarting, is_left_behind, is_stuck;
	struct metric *events, *answers, *errors, *timeouts, *given_up, *pauses, *in_flight, *paused, *stuck, *seconds;

	/* under all->lock */
	bool was_ended; /* the instance is gone: nothing is held any more */
};

struct enrichers {
	struct journal *journal;
	struct people *people;
	struct spaces *spaces;
	struct people_reader *reader;
	struct arena arena; /* scratch of a read */
	struct enricher *list, *left_behind;
	struct await_cursor release; /* of waits for enrichers that are no more */
	uint64_t release_after;

	struct arena outbox_arena;
	struct resolution *outbox; /* at most OUTBOX_MAX and what was under way */
	size_t outbox_count, outbox_room;
	int64_t outbox_retry_us;
	struct metric *waiting;
	int64_t counted_at_us;

	pthread_mutex_t admin; /* start, stop, reload */
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* everything below, and `was_ended` */
	pthread_cond_t changed;
	struct question *settled, *settled_last; /* in the order of their answers: errors in a row are counted */
	bool was_woken, should_stop;
};

/* ── enricher.c; the asking thread ───────────────────────────────────────── */

/* No thread yet. Everything is copied. ERR_INVALID: its options; logged. */
MUST_USE int enricher_new(struct enrichers *all, const struct config *config, const struct conf_instance *conf,
			  const struct plugin *plugin, struct plugin_conf *plugin_conf, struct arena *arena,
			  struct enricher **out);
MUST_USE int enricher_start(struct enricher *enricher);
/* Stopped before, or never started. */
void enricher_free(struct enricher *enricher);
bool enricher_is_same(const struct enricher *a, const struct enricher *b);
/* A ticket of it was answered or came back. */
void enricher_settle(struct enricher *enricher, struct question *question);
/* The instance ended: what it was asked is asked again. */
void enricher_ended(struct enricher *enricher);
/* Deadlines, then new questions. The next time something is due (clock_mono_us). */
MUST_USE int enricher_turn(struct enricher *enricher, uint64_t applied, int64_t *due_us);

/* Is the event still a person's? Its outcome. ERR_NOT_FOUND: no. Inside people_read_begin/end. */
MUST_USE int person_is_there(struct people_reader *reader, uint64_t seq, struct outcome *outcome);

/* ── enrichers.c ─────────────────────────────────────────────────────────── */

/* Puts a result into the outbox. False: no memory. */
bool outbox_put(struct enrichers *all, const struct resolution *resolution);
bool outbox_has_room(const struct enrichers *all);
