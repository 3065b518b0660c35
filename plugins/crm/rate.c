#include "rate.h"

void rate_init(struct rate *rate, double per_second, double burst, int64_t now_ms)
{
	*rate = (struct rate){.per_second = per_second, .burst = burst, .tokens = burst, .filled_ms = now_ms};
}

int64_t rate_take(struct rate *rate, int64_t now_ms)
{
	if (now_ms > rate->filled_ms) {
		rate->tokens += (double)(now_ms - rate->filled_ms) / 1000 * rate->per_second;
		if (rate->tokens > rate->burst) rate->tokens = rate->burst;
		rate->filled_ms = now_ms;
	}
	if (rate->tokens >= 1) {
		rate->tokens -= 1;
		return 0;
	}
	return (int64_t)((1 - rate->tokens) / rate->per_second * 1000) + 1;
}
