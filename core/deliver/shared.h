/* shared: what all destinations share. */
#pragma once

#include "deliver/cursor.h"
#include "journal/journal.h"
#include "profile/people.h"

struct deliver_tuning {    /* tests shorten these */
	int64_t answer_us; /* how long a PENDING batch may stay unanswered */
	int64_t backoff_min_us, backoff_max_us;
	int64_t parked_max_us; /* between attempts at one record */
	int64_t stop_us;       /* how long a stop waits for the plugin */
};
extern const struct deliver_tuning deliver_tuning_default;

struct deliver_shared { /* outlives them all */
	struct journal *journal;
	struct people *people;
	struct cursors *cursors;
	uint64_t epoch;
	struct deliver_tuning tuning;
	struct windows *windows;
	struct spaces *spaces; /* what plugins keep; NULL: nothing */
};
