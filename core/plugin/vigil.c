#include "plugin/vigil.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"

#define PAUSE 32

static bool may_be_awake(void)
{
	static _Atomic(int) known; /* 0: not asked yet */
	int answer = atomic_load(&known);
	if (answer == 0) {
		answer = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 1 : -1;
		atomic_store(&known, answer);
	}
	return answer > 0;
}

bool vigil_begin(struct vigil *vigil, int64_t *until_us)
{
	if (vigil->tries < 0) {
		vigil->tries++;
		return false;
	}
	if (!may_be_awake()) return false;
	*until_us = clock_mono_us() + VIGIL_US;
	return true;
}

bool vigil_is_over(int64_t until_us)
{
	return clock_mono_us() >= until_us;
}

void vigil_end(struct vigil *vigil, bool has_paid)
{
	vigil->tries = has_paid ? 0 : -PAUSE;
}
