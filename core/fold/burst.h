/* burst: when the fold stands back. Each of its commits takes disk time from the acks, so when events begin to pour in, the
 * acks come first: the fold waits until the burst is over, but never longer than BURST_LONGEST_US. Then it takes its share for as
 * long as the stream lasts; only after the stream has calmed and the lag is gone does it give way again. A load that can be folded
 * is none of this; a longer one costs freshness once, at its beginning; a short burst costs its senders nothing. */
#pragma once

#include "base/clock.h"

#define BURST_RATE_ON    40000 /* records a second that make it a burst: more than can be folded anyway */
#define BURST_RATE_OFF   5000  /* below which it is over */
#define BURST_LAG        10000 /* records behind at most, for the fold to give way again */
#define BURST_LONGEST_US (12 * US_PER_SECOND)
#define BURST_LOOK_US    (40 * US_PER_MS) /* over which the rate is taken */

struct burst { /* zeroed at first */
	bool is_on;
	bool is_spent; /* this one was waited out */
	int64_t began_at, looked_at;
	uint64_t looked_next;
};

/* Should the fold stand back now? To be asked every few ms while there is something to fold. `next` is the journal's next
 * position, `lag` what of it is not folded, `now` monotonic. */
bool burst_is_on(struct burst *burst, uint64_t lag, uint64_t next, int64_t now);
