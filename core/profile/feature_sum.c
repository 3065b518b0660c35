#include <math.h>
#include <string.h>

#include "profile/feature_types.h"

#define SUM_UNITS     1000000 /* per one */
#define SUM_INPUT_MAX 1e18

#define sum_int  __int128
#define sum_uint unsigned __int128

/* ── count ───────────────────────────────────────────────────────────────── */

static uint32_t count_init(void *state)
{
	memset(state, 0, sizeof(uint64_t));
	return sizeof(uint64_t);
}

static int count_add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	(void)len, (void)input;
	uint64_t *count = state;
	*count += 1;
	return 0;
}

static int count_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	if (*len != sizeof(uint64_t) || other_len != sizeof(uint64_t)) return -1;
	uint64_t *count = into;
	*count += *(const uint64_t *)other;
	return 0;
}

static int count_read(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	(void)now_us;
	if (len != sizeof(uint64_t)) return -1;
	char digits[20];
	uint32_t at = sizeof digits;
	uint64_t count = *(const uint64_t *)state;
	do {
		digits[--at] = (char)('0' + count % 10);
		count /= 10;
	} while (count);
	if (sizeof digits - at > json_size) return -1;
	memcpy(json, digits + at, sizeof digits - at);
	return (int)(sizeof digits - at);
}

const struct cdpd_feature_type feature_count = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = sizeof(uint64_t),
    .exact = true,
    .needs_field = false,
    .init = count_init,
    .add = count_add,
    .merge = count_merge,
    .read = count_read,
};

/* ── sum ─────────────────────────────────────────────────────────────────── */

static uint32_t sum_init(void *state)
{
	memset(state, 0, sizeof(sum_int));
	return sizeof(sum_int);
}

/* The double's exact value in units, rounded half-even: mantissa · 10⁶ · 2^exponent. */
static sum_int to_units(double number)
{
	int exponent;
	double fraction = frexp(fabs(number), &exponent);
	sum_uint units = (sum_uint)(uint64_t)ldexp(fraction, 53) * SUM_UNITS;
	exponent -= 53;
	if (exponent >= 0) {
		units <<= exponent;
	} else if (exponent < -100) {
		units = 0;
	} else {
		int shift = -exponent;
		sum_uint half = (sum_uint)1 << (shift - 1);
		sum_uint rest = units & ((half << 1) - 1);
		units >>= shift;
		if (rest > half || (rest == half && (units & 1))) units++;
	}
	return number < 0 ? -(sum_int)units : (sum_int)units;
}

static int sum_change(void *state, sum_int by)
{
	sum_int sum;
	memcpy(&sum, state, sizeof sum);
	if (__builtin_add_overflow(sum, by, &sum)) return -1;
	memcpy(state, &sum, sizeof sum);
	return 0;
}

static int sum_add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	(void)len;
	if (input->kind != CDPD_VALUE_NUMBER || !(fabs(input->number) <= SUM_INPUT_MAX)) return -1;
	return sum_change(state, to_units(input->number));
}

static int sum_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	if (*len != sizeof(sum_int) || other_len != sizeof(sum_int)) return -1;
	sum_int by;
	memcpy(&by, other, sizeof by);
	return sum_change(into, by);
}

static int sum_read(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	(void)now_us;
	if (len != sizeof(sum_int)) return -1;
	sum_int sum;
	memcpy(&sum, state, sizeof sum);
	sum_uint units = sum < 0 ? -(sum_uint)sum : (sum_uint)sum;
	char text[64];
	size_t at = sizeof text;
	unsigned fraction = (unsigned)(units % SUM_UNITS);
	if (fraction) {
		unsigned digits = 6;
		for (; fraction % 10 == 0; fraction /= 10) digits--;
		for (; digits; digits--, fraction /= 10) text[--at] = (char)('0' + fraction % 10);
		text[--at] = '.';
	}
	sum_uint whole = units / SUM_UNITS;
	do {
		text[--at] = (char)('0' + (int)(whole % 10));
		whole /= 10;
	} while (whole);
	if (sum < 0) text[--at] = '-';
	size_t text_len = sizeof text - at;
	if (text_len > json_size) return -1;
	memcpy(json, text + at, text_len);
	return (int)text_len;
}

const struct cdpd_feature_type feature_sum = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = sizeof(sum_int),
    .exact = true,
    .needs_field = true,
    .init = sum_init,
    .add = sum_add,
    .merge = sum_merge,
    .read = sum_read,
};
