/* rates: exchange rates by date, from a CSV file of either form: one rate a line (date,currency,rate), or one day a line as the European
 * Central Bank publishes them (Date,USD,JPY,…). A rate is what one unit of the file's own currency buys. */
#pragma once

#include <stdint.h>

#include "../shared/watched.h"
#include "decimal.h"

#define CURRENCY_LEN 3

extern const struct watched_kind rates_kind; /* the object is a struct rates */

struct rates;

/* 0 to 17575 for three letters in any case, else -1. */
int currency_of(const char *text, size_t len);

struct rate {
	int32_t day; /* since 1970-01-01 */
	struct decimal units;
};
enum rate_answer { RATE_FOUND, RATE_UNKNOWN, RATE_NONE_YET };
/* The last rate of the day or before it. UNKNOWN: the file has no such currency; NONE_YET: only later ones. */
enum rate_answer rates_find(const struct rates *rates, int currency, int32_t day, const struct rate **out);
