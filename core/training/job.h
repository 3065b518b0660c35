/* job: one training set being made. The retained journal is folded once more, by the same code, into people of the job's own; between two
 * records the features of who is asked about are read. Internal to the room; all but the atomics is the job's thread's. */
#pragma once

#include <stdatomic.h>

#include "journal/journal.h"
#include "profile/erase.h"
#include "profile/event_match.h"
#include "profile/peek.h"
#include "training/columns.h"
#include "training/labels.h"
#include "training/rows.h"
#include "training/sorter.h"
#include "training/training.h"

struct job {
	/* what is asked */
	const struct config *config; /* a reference */
	struct arena arena;          /* of the definition and the columns */
	struct training_set set;
	struct columns columns;
	struct training_about about; /* what does not change while it runs */

	/* from where */
	struct journal *journal;
	struct people *people; /* the daemon's */
	struct people_reader *live;
	uint64_t first, end; /* positions */
	struct erasure_view *view;
	bool has_erased; /* somebody in the daemon's people was */

	/* into what */
	char folder[4096];
	struct people *own;
	struct buf features;     /* JSON: the array of definitions that the columns are read from */
	struct str define_first; /* until a definition record comes; in the arena */
	struct event_match *points, *label;
	struct labels labels;
	struct rows *rows;
	struct row_point head; /* the oldest row without a label */
	bool has_head;
	struct json_reader *json;
	struct arena scratch; /* of one record or row */
	char value[PEEK_JSON_MAX];
	bool is_open;        /* a transaction of `own` */
	size_t open_records; /* in it */
	uint64_t own_seq;    /* last position used in `own` */
	int64_t t;           /* time of the newest record */
	int64_t next_grid;   /* INT64_MAX: none */

	/* for any thread */
	_Atomic bool should_stop;
	_Atomic int64_t asked_at;     /* monotonic: when somebody last wanted to know of it */
	_Atomic uint64_t done, total; /* records */
	_Atomic uint64_t sampled_out;
	_Atomic uint64_t censored;
};

/* define.c: what `own` is folded by at a position whose definitions are `text`: its identity rules and enrichers, today's features. In the
 * scratch arena. */
MUST_USE int define_make(struct job *job, struct str text, struct str *out);
/* Of today; fills job->features and job->define_first. */
MUST_USE int define_start(struct job *job);

/* replay.c: folds everything. ERR_CLOSED: told to stop. ERR_GONE: retention was faster. */
MUST_USE int replay_run(struct job *job);
/* Asked now and then. ERR_CLOSED: told to stop, or nobody wants it any more; ERR_FULL: the disk is needed for more important things. */
MUST_USE int replay_may_go_on(const struct job *job);
MUST_USE int replay_begin(struct job *job);  /* opens a transaction of `own` unless there is one */
MUST_USE int replay_commit(struct job *job); /* ends it, if there is one */

/* seed.c: before the first record, where the journal was trimmed: the links from before it. */
MUST_USE int seed_links(struct job *job);

/* order.c: events and acts in the order of the times at which they happened. */
MUST_USE int order_make(struct job *job, struct sorter **out);

/* points.c: the first moment of the grid, when there is one. */
void points_start_grid(struct job *job, int64_t first_us);
/* Before the record of time `t`: grid points that came and windows that are over. */
MUST_USE int points_advance(struct job *job, int64_t t, uint64_t seq);
/* The point of an event that goes into that fragment, as things are now. */
MUST_USE int points_take(struct job *job, const struct fragment_id *fragment, uint64_t seq);
/* Windows that are over by `until`, after the last record. */
MUST_USE int points_finish(struct job *job, int64_t until, uint64_t seq);
