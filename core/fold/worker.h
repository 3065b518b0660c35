/* worker: the fold's thread and what it owns. Internal to the room.
 *
 * A turn: wait for records, fold until the journal has no more, commit. A transaction ends earlier when its dirty pages
 * reach a cap or readers have waited long enough; it never stays open while the thread waits. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "fold/burst.h"
#include "fold/dedup.h"
#include "fold/fold.h"
#include "fold/marker.h"
#include "fold/meter.h"

#define FOLD_MAGIC 0x666f6c64u

struct fold {
	uint32_t magic;
	struct journal *journal;
	struct people *people;
	struct dedup *dedup;
	struct marker marker;
	void (*on_commit)(void *ctx, uint64_t applied, uint64_t last_change);
	void (*on_fatal)(void *ctx, int status);
	void *ctx;

	pthread_t thread;
	bool is_started;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	_Atomic bool should_stop, is_ready;
	_Atomic int64_t changes_retention_us;

	/* under `lock`: text of the newest definition in the journal; empty: not known */
	struct buf definition;

	/* published by the thread for fold_status */
	_Atomic uint64_t applied, dedup_ids, maybe_duplicates;
	_Atomic int64_t dedup_window_us;

	/* a task of another thread, under `lock`: core/fold/task.c */
	pthread_cond_t task_done;
	const struct fold_task *task;
	int task_status;
	bool is_over; /* the thread has ended, or was never started */
	_Atomic bool has_task;

	/* the thread's own */
	uint64_t next; /* to fold; may be ahead of `applied` inside a transaction */
	int64_t t;     /* logical time of the newest folded record */
	struct journal_batch batch;
	struct arena arena;  /* of one record */
	bool is_open;        /* a transaction */
	size_t record_count; /* in it */
	struct burst burst;
	int64_t opened_at, committed_at, maintained_at; /* monotonic */
	size_t page_cap, gap_records;
	uint64_t trimmed_below;
	uint64_t oldest_await; /* the journal keeps events that an answer will be counted with */
	bool is_in_trouble;    /* no room: logged once, small transactions until one succeeds */
	struct meter meter;
	struct journal_batch past; /* old records, read again: core/fold/backfill.c */
	bool has_warned_of_past;
};

/* The thread's function. */
void *worker_main(void *fold);
/* Applies the active definitions' bounds. */
void worker_configure(struct fold *fold);
/* To where the checkpoint stands, with its definitions. */
void worker_rewind(struct fold *fold);
void worker_publish(struct fold *fold);

/* core/fold/task.c: the waiting task; at the end of the thread: nobody waits any more. */
struct fold_task {
	int (*fn)(void *ctx, struct people *people);
	void *ctx;
	bool is_outside; /* of a transaction */
};
MUST_USE int task_run(struct fold *fold, const struct fold_task *task);
void task_finish(struct fold *fold, int status);
void task_end(struct fold *fold);
/* For due.c: one transaction, begun when it is not open yet; whether it should end; ending it. */
MUST_USE int worker_open_transaction(struct fold *fold);
bool worker_is_full(const struct fold *fold);
MUST_USE int worker_commit(struct fold *fold);
/* Appends a quarantine record for that position, unless there is one. */
MUST_USE int worker_quarantine(struct fold *fold, uint64_t seq);

/* core/fold/apply.c: folds one record into the open transaction. ERR_FORMAT: of a kind that only a newer cdpd writes,
 * nothing was changed. Other errors: the transaction must be abandoned. */
MUST_USE int apply_record(struct fold *fold, const struct record *record);
