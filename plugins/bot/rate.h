/* rate: who sends more than so many events in a span of time. Bounded: of more keys than it has room for, the longest quiet are forgotten. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rate;

/* At most `limit` events in any `span_us`, by the estimate of two fixed windows. NULL: out of memory. */
struct rate *rate_new(size_t keys, uint32_t limit, int64_t span_us);
void rate_free(struct rate *rate); /* NULL is fine */
/* Counts one event of the key; is it above the limit? Time may stand still or go back a little. */
bool rate_is_high(struct rate *rate, uint64_t key, int64_t now_us);
