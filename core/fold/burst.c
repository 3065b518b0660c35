#include "fold/burst.h"

static void look(struct burst *burst, uint64_t next, int64_t now)
{
	burst->looked_at = now;
	burst->looked_next = next;
}

/* Records a second since the last look. */
static uint64_t rate_since(const struct burst *burst, uint64_t next, int64_t passed)
{
	return (next - burst->looked_next) * (uint64_t)US_PER_SECOND / (uint64_t)passed;
}

static void judge(struct burst *burst, uint64_t rate, uint64_t lag, int64_t now)
{
	if (burst->is_on) {
		if (rate >= BURST_RATE_OFF && now - burst->began_at < BURST_LONGEST_US) return;
		burst->is_on = false;
		burst->is_spent = true;
	} else if (burst->is_spent) {
		burst->is_spent = rate >= BURST_RATE_OFF || lag > BURST_LAG;
	} else if (rate >= BURST_RATE_ON) {
		burst->is_on = true;
		burst->began_at = now;
	}
}

bool burst_is_on(struct burst *burst, uint64_t lag, uint64_t next, int64_t now)
{
	int64_t passed = now - burst->looked_at;
	if (burst->looked_at == 0 || passed > 10 * BURST_LOOK_US) {
		look(burst, next, now); /* after a silence the rate is not known yet */
	} else if (passed >= BURST_LOOK_US) {
		judge(burst, rate_since(burst, next, passed), lag, now);
		look(burst, next, now);
	}
	return burst->is_on;
}
