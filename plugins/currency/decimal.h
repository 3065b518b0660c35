/* decimal: exact decimal fractions of up to 38 digits. No binary floating point between a text and a text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define DECIMAL_PLACES 12 /* behind the point; amounts and rates have at most so many */

struct decimal {
	__int128 units; /* of 10^-DECIMAL_PLACES */
};

/* "-12.50", "1e3", "0.00001234": false when it is no number, has more places, or is beyond ±10^15. */
bool decimal_read(const char *text, size_t len, struct decimal *out);
/* amount × by ÷ per, rounded half to even at `places` (0 to 6). False: too large. `per` is not 0. */
bool decimal_scale(const struct decimal *amount, const struct decimal *by, const struct decimal *per, unsigned places,
		   struct decimal *out);
/* "1234.5", as short as can be. At most 48 bytes. */
size_t decimal_write(const struct decimal *value, char out[48]);
