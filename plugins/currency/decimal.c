#include "decimal.h"

#include <stdio.h>
#include <string.h>

#define WHOLE_MAX 15 /* digits before the point */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The exponent that follows 'e'; false: none, or an absurd one. */
static bool read_exponent(const char *text, size_t len, int *out)
{
	size_t at = 0;
	bool is_negative = len && text[0] == '-';
	if (len && (text[0] == '-' || text[0] == '+')) at++;
	if (at == len || len - at > 3) return false;
	for (*out = 0; at < len; at++) {
		if (!is_digit(text[at])) return false;
		*out = *out * 10 + (text[at] - '0');
	}
	if (is_negative) *out = -*out;
	return true;
}

/* Moves the point: 10^shift. False: digits would be lost, or there are too many. */
static bool shift(__int128 *units, int by)
{
	const __int128 max = (__int128)1000000000000000 * 1000000000000; /* 10^(15 + 12) */
	for (; by > 0; by--) {
		if (*units > max) return false;
		*units *= 10;
	}
	for (; by < 0 && *units; by++) {
		if (*units % 10) return false;
		*units /= 10;
	}
	return *units < max;
}

bool decimal_read(const char *text, size_t len, struct decimal *out)
{
	size_t at = 0, digits = 0;
	int places = 0, exponent = 0;
	__int128 units = 0;
	bool has_point = false, has_digit = false;
	bool is_negative = len && text[0] == '-';
	if (len && (text[0] == '-' || text[0] == '+')) at++;
	for (; at < len && (is_digit(text[at]) || (text[at] == '.' && !has_point)); at++) {
		if (text[at] == '.') {
			has_point = true;
			continue;
		}
		has_digit = true;
		digits += units != 0 || text[at] != '0';
		if (digits > WHOLE_MAX + DECIMAL_PLACES) return false;
		units = units * 10 + (text[at] - '0');
		places += has_point;
	}
	if (!has_digit) return false;
	if (at < len &&
	    ((text[at] != 'e' && text[at] != 'E') || !read_exponent(text + at + 1, len - at - 1, &exponent)))
		return false;
	if (!shift(&units, DECIMAL_PLACES - places + exponent)) return false;
	out->units = is_negative ? -units : units;
	return true;
}

/* high × 2^128 + low, for products of two numbers of up to 90 bits. */
struct product {
	unsigned __int128 high, low;
};

static struct product multiply(unsigned __int128 a, unsigned __int128 b)
{
	const unsigned __int128 mask = ((unsigned __int128)1 << 64) - 1;
	unsigned __int128 a0 = a & mask, a1 = a >> 64, b0 = b & mask, b1 = b >> 64;
	unsigned __int128 low = a0 * b0, cross = a1 * b0, other = a0 * b1;
	unsigned __int128 middle = (low >> 64) + (cross & mask) + (other & mask);
	return (struct product){a1 * b1 + (cross >> 64) + (other >> 64) + (middle >> 64),
				(middle << 64) | (low & mask)};
}

/* Bit by bit; false: the quotient needs more than 126 bits. */
static bool divide(struct product n, unsigned __int128 by, unsigned __int128 *quotient, unsigned __int128 *rest)
{
	unsigned __int128 q = 0, r = 0;
	for (int bit = 255; bit >= 0; bit--) {
		unsigned __int128 one = (bit >= 128 ? n.high >> (bit - 128) : n.low >> bit) & 1;
		r = (r << 1) | one;
		if (q >> 125) return false;
		q <<= 1;
		if (r >= by) {
			r -= by;
			q |= 1;
		}
	}
	*quotient = q;
	*rest = r;
	return true;
}

bool decimal_scale(const struct decimal *amount, const struct decimal *by, const struct decimal *per, unsigned places,
		   struct decimal *out)
{
	bool is_negative = amount->units < 0;
	unsigned __int128 size = (unsigned __int128)(is_negative ? -amount->units : amount->units), step = 1, whole,
			  rest;
	for (unsigned i = places; i < DECIMAL_PLACES; i++) step *= 10;
	if (by->units <= 0 || per->units <= 0 || (unsigned __int128)per->units > ((unsigned __int128)1 << 126) / step)
		return false;
	unsigned __int128 divisor = (unsigned __int128)per->units * step; /* the quotient counts steps: 10^-places */
	if (!divide(multiply(size, (unsigned __int128)by->units), divisor, &whole, &rest)) return false;
	if (rest * 2 > divisor || (rest * 2 == divisor && (whole & 1))) whole++;
	if (whole > ((unsigned __int128)1 << 100) / step) return false;
	out->units = (__int128)(whole * step);
	if (is_negative) out->units = -out->units;
	return true;
}

size_t decimal_write(const struct decimal *value, char out[48])
{
	char digits[44];
	size_t count = 0, len = 0;
	unsigned __int128 units = (unsigned __int128)(value->units < 0 ? -value->units : value->units);
	while (units || count <= DECIMAL_PLACES) {
		digits[count++] = (char)('0' + (int)(units % 10));
		units /= 10;
	}
	size_t last = 0; /* zeros at the end say nothing */
	while (last < DECIMAL_PLACES && digits[last] == '0') last++;
	if (value->units < 0) out[len++] = '-';
	for (size_t i = count; i-- > last;) {
		out[len++] = digits[i];
		if (i == DECIMAL_PLACES && last < DECIMAL_PLACES) out[len++] = '.';
	}
	out[len] = '\0';
	return len;
}
