/* breaker: is the other side there? Closed: records go out. After an attempt that failed as a whole it is open, and nothing is handed over until
 * its time has come; then it is half open, and one attempt tells. Times are clock_mono_us; it has no thread and no clock of its own. */
#pragma once

#include "base/status.h"

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

#define BREAKER_PROBE   1  /* records of an attempt while it is half open, from the second failure in a row on */
#define BREAKER_SUSPECT 8  /* records of an attempt after one in which each single record was refused */
#define BREAKER_STREAK  3  /* so many such attempts in a row: the other side is down */
#define BREAKER_PARKED  10 /* records that may be parked while it is down: the probes' own */

struct breaker {
	enum breaker_state state;
	unsigned failures; /* in a row */
	unsigned streak;   /* attempts in a row in which each record was refused by name */
	unsigned parked;   /* while it was down */
	size_t limit;      /* records of the next attempt; 0: as many as there are */
	int64_t until_us;  /* open: no attempt before */
};

/* May an attempt be made? Opens half when the time has come; then the next is asked for only after the last has been told. */
bool breaker_allows(struct breaker *breaker, int64_t now_us);
/* How many records at most, of `most`. */
size_t breaker_limit(const struct breaker *breaker, size_t most);
void breaker_succeeded(struct breaker *breaker); /* something was taken, or refused for ever */
void breaker_failed(struct breaker *breaker, int64_t now_us, int64_t wait_us);
/* Every one of `count` records was refused by name, for now. True: they may be parked; false: the other side is held to be down, and they wait. */
bool breaker_all_refused(struct breaker *breaker, size_t count);

/* Full jitter: between nothing and the step, which doubles with each attempt up to the cap. */
int64_t backoff_us(int64_t min_us, int64_t max_us, unsigned attempts);
