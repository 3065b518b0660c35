/* clock_source: where the journal gets its time from, so that tests can give it another. */
#pragma once

#include "base/clock.h"

struct journal;

struct clock_source {
	int64_t (*wall_us)(void *ctx); /* may be set by anyone, forwards and backwards */
	int64_t (*boot_us)(void *ctx); /* never set by anyone; goes on through suspend */
	void *ctx;
};

/* CLOCK_REALTIME and CLOCK_BOOTTIME. */
struct clock_source clock_source_real(void);

/* Before journal_start; `ctx` must outlive the journal. Called from the journal's thread. */
void journal_set_clock(struct journal *journal, struct clock_source source);

/* clock_watch: has the wall clock been moved forward during this run? Slow correction of the clock's rate
 * moves both clocks, so only steps add up. */
struct clock_watch {
	struct clock_source source;
	int64_t offset_us; /* wall − boot, when the run began or the last jump was taken note of */
};

void clock_watch_init(struct clock_watch *watch, struct clock_source source);
/* The wall clock now, and by how much it has outrun the other (negative: set back). */
int64_t clock_watch_read(const struct clock_watch *watch, int64_t *ahead_us);
/* The jump is on record: the next one is measured from here. */
void clock_watch_rebase(struct clock_watch *watch);
