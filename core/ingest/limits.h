/* limits: how many events a second a key and an address may send: token buckets of one second's worth in a table of fixed
 * size, shared by all loops. A batch may overdraw its bucket; the next request then waits until the debt is paid, so the rate
 * holds whatever the batch size. */
#pragma once

#include "base/clock.h"
#include "base/str.h"

struct limits;
MUST_USE int limits_new(struct limits **out);
void limits_free(struct limits *limits);

/* One request's buckets. `rate` 0: that one has no limit. */
struct limit_pass {
	struct str key, ip;
	uint32_t key_rate, ip_rate;
	/* answers */
	int64_t limit;     /* of the tighter bucket; -1: no limit at all */
	int64_t remaining; /* whole events left in it, at least 0 */
	int retry_after_s; /* when refused */
};
/* Any thread. False: a bucket is in debt. Looks without taking. */
MUST_USE bool limits_check(struct limits *limits, int64_t now_us, struct limit_pass *pass);
/* Takes `events` from both buckets and fills `limit` and `remaining`. */
void limits_charge(struct limits *limits, int64_t now_us, struct limit_pass *pass, uint32_t events);
