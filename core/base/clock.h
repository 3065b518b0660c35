/* clock: time in microseconds since 1970-01-01T00:00:00Z (int64_t, `_us`), and its text. */
#pragma once

#include "base/str.h"

#define US_PER_MS     INT64_C(1000)
#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY    (INT64_C(86400) * US_PER_SECOND)

int64_t clock_wall_us(void);     /* CLOCK_REALTIME */
int64_t clock_mono_us(void);     /* CLOCK_MONOTONIC: for deadlines */
int64_t clock_boottime_us(void); /* CLOCK_BOOTTIME: runs through suspend, never set by anyone */

#define CLOCK_TEXT_SIZE 32
/* "2026-11-21T20:49:59.801234Z" (microseconds only when not zero: ".801Z", "Z"); returns the length. */
size_t clock_format(int64_t us, char out[CLOCK_TEXT_SIZE]);
/* ISO 8601 / RFC 3339: date and time separated by 'T' or ' ', 0-9 fraction digits, 'Z' or +hh:mm,
 * +hhmm, -hh (none means UTC); or all digits: epoch milliseconds. *offset_min is the text's UTC
 * offset in minutes, INT16_MIN when the text gives none or only 'Z'. Years 0001-9999; ERR_INVALID else. */
MUST_USE int clock_parse(struct str text, int64_t *out_us, int16_t *offset_min);
