/* rate: a token bucket: how soon the next request may go. */
#pragma once

#include <stdint.h>

struct rate {
	double per_second, burst, tokens;
	int64_t filled_ms;
};

void rate_init(struct rate *rate, double per_second, double burst, int64_t now_ms);
/* Takes a token and returns 0, or returns how many ms (> 0) to wait. */
int64_t rate_take(struct rate *rate, int64_t now_ms);
