/* fold: the thread that turns records into people: dedup → people_apply → outcome, in journal order, exactly once in
 * effect. It commits `applied`, dedup ids, rows, outcomes and changes in one transaction and does no network I/O.
 *
 * A record that crashes it is found again through the attempt marker (a MAP_SHARED page), retried once alone, then quarantined. */
#pragma once

#include "journal/journal.h"
#include "profile/people.h"

struct fold;

struct fold_options {
	const struct config *config;
	/* Called on the fold's thread after each commit: the change hub and exporters wake on it. May be NULL. */
	void (*on_commit)(void *ctx, uint64_t applied, uint64_t last_change);
	/* Called once when the fold must end the daemon (ERR_PANIC, ERR_CORRUPT …). */
	void (*on_fatal)(void *ctx, int status);
	void *ctx;
};

/* Refuses (ERR_FOREIGN / ERR_CORRUPT, logged) when the checkpoint is ahead of the journal or of another epoch. When the config's definitions
 * differ from the active ones, appends a definition record. Does no folding yet. */
MUST_USE int fold_new(struct journal *journal, struct people *people, const struct fold_options *options,
		      struct fold **out);
MUST_USE int fold_start(struct fold *fold); /* rebuilds the dedup filter, then folds; both on its thread */
void fold_stop(struct fold *fold);          /* commits what it has, joins */
void fold_free(struct fold *fold);
/* Reload: appends a definition record when they differ. Waits for it to be durable, not folded. */
MUST_USE int fold_reload(struct fold *fold, const struct config *config);

/* Between two records, on the fold's thread: `fn` in a transaction of its own, which is committed when it returns OK (only ERR_PANIC
 * ends the fold, other errors reach the caller alone), or outside any (`is_outside`: for work on the environment itself). Waits for it; not from a loop's thread, one
 * caller at a time. ERR_CLOSED: the fold has stopped. */
MUST_USE int fold_run(struct fold *fold, int (*fn)(void *ctx, struct people *people), void *ctx, bool is_outside);

struct fold_status {
	uint64_t applied, pending; /* next seq to fold; records after it */
	uint64_t dedup_ids;        /* remembered */
	int64_t dedup_window_us;   /* effective: younger than configured when the id bound bites */
	uint64_t maybe_duplicates;
	bool is_ready; /* dedup filter rebuilt */
};
void fold_status(const struct fold *fold, struct fold_status *out); /* any thread */
