/* rehearsal: a test event for one destination, handed to its plugin by the destination's thread while an operator waits for the answer. The event is
 * marked as a test and is nobody's; no cursor, letter or counter knows of it. */
#pragma once

#include "base/arena.h"
#include "plugin/handover.h"

struct destination;

struct rehearsal_result {
	const char *verdict; /* "ack", "drop", "retry", "dead_letter" (the mapping cannot be filled), "no_answer" */
	struct str reason;   /* maybe empty */
	struct str json;     /* what was handed over; maybe empty */
	int64_t retry_after_us, took_us;
};

/* Hands a test event over and waits for what comes of it. The result lives in the arena. ERR_BUSY: another one is under way. Any thread but the
 * destination's, which stays until it has returned or is told to end. */
struct rehearsal;
MUST_USE int rehearsal_new(struct rehearsal **out); /* with a reference for the caller */
void rehearsal_unref(struct rehearsal *rehearsal);
MUST_USE int rehearsal_post(struct rehearsal *rehearsal, struct destination *destination); /* ERR_BUSY */
/* Waits until it is over, at most `span_us`; then the verdict is "no_answer". */
MUST_USE int rehearsal_wait(struct rehearsal *rehearsal, int64_t span_us, struct arena *arena,
			    struct rehearsal_result *out);

/* The destination's thread: begins what was posted, looks for its answer. */
void rehearsal_run(struct destination *destination);
void rehearsal_end(struct destination *destination); /* the thread ends */
