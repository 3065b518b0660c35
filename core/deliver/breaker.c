#include "deliver/breaker.h"

#include "base/hash.h"

bool breaker_allows(struct breaker *b, int64_t now_us)
{
	if (b->state == BREAKER_OPEN && now_us >= b->until_us) b->state = BREAKER_HALF_OPEN;
	return b->state != BREAKER_OPEN;
}

size_t breaker_limit(const struct breaker *b, size_t most)
{
	size_t limit = b->limit && b->limit < most ? b->limit : most;
	/* The first time all of it is tried again: most failures are over with the next attempt. */
	return b->state == BREAKER_HALF_OPEN && b->failures > 1 ? BREAKER_PROBE : limit;
}

void breaker_succeeded(struct breaker *b)
{
	bool was_small = b->state == BREAKER_HALF_OPEN && b->failures > 1;
	if (was_small)
		b->limit = BREAKER_SUSPECT;
	else if (b->limit)
		b->limit = b->limit < 4096 ? 2 * b->limit : 0;
	if (b->state == BREAKER_OPEN) return; /* handed over before it opened: what was asked for is waited for */
	b->state = BREAKER_CLOSED;
	b->failures = b->streak = b->parked = 0;
}

void breaker_failed(struct breaker *b, int64_t now_us, int64_t wait_us)
{
	int64_t until = now_us + wait_us;
	b->failures++;
	b->until_us = b->state == BREAKER_OPEN && b->until_us > until ? b->until_us : until;
	b->state = BREAKER_OPEN;
}

bool breaker_all_refused(struct breaker *b, size_t count)
{
	b->streak++;
	if (b->streak == 1 || !b->limit) b->limit = BREAKER_SUSPECT;
	if (count > BREAKER_SUSPECT) return false;
	if (b->streak < BREAKER_STREAK) return true;
	if (b->parked + count > BREAKER_PARKED) return false;
	b->parked += (unsigned)count;
	return true;
}

int64_t backoff_us(int64_t min_us, int64_t max_us, unsigned attempts)
{
	uint64_t noise;
	int64_t step = min_us;
	for (unsigned i = 1; i < attempts && step < max_us; i++) step *= 2;
	if (step > max_us) step = max_us;
	random_bytes(&noise, sizeof noise);
	return (int64_t)(noise % (uint64_t)(step + 1));
}
