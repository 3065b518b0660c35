/* vigil: waiting awake. To sleep and to be woken takes longer than most answers of an isolated enricher, so that both ends try for a few microseconds before they
 * sleep, where there is a second processor, and for as long as it pays. */
#pragma once

#include "base/status.h"

#define VIGIL_US 20

struct vigil {
	int tries; /* < 0: it has not paid, so many times more it is not tried */
};
/* True: look again and again until vigil_is_over. */
bool vigil_begin(struct vigil *vigil, int64_t *until_us);
bool vigil_is_over(int64_t until_us);
void vigil_end(struct vigil *vigil, bool has_paid);
