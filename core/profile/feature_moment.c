#include <string.h>

#include "profile/feature_types.h"
#include "profile/feature_value.h"

/* Moments of numbers in units, all of them exact. One input is below 2⁸⁰ units, so the sum holds 2⁴⁷ inputs of the largest size
 * (the next is refused), and their squares, below 2¹⁶⁰ each, never fill 256 bits. */
struct mean {
	uint64_t count, unused;
	feature_int sum;
};

struct wide { /* 256 bits, lowest word first */
	uint64_t words[4];
};

struct variance {
	struct mean mean;
	struct wide squares;
};

/* ── 256 bits ────────────────────────────────────────────────────────────── */

static void wide_add(struct wide *into, const struct wide *by)
{
	unsigned char carry = 0;
	for (size_t i = 0; i < 4; i++) {
		feature_uint word = (feature_uint)into->words[i] + by->words[i] + carry;
		into->words[i] = (uint64_t)word;
		carry = (unsigned char)(word >> 64);
	}
}

static void wide_subtract(struct wide *from, const struct wide *by)
{
	unsigned char borrow = 0;
	for (size_t i = 0; i < 4; i++) {
		feature_uint word = (feature_uint)from->words[i] - by->words[i] - borrow;
		from->words[i] = (uint64_t)word;
		borrow = (word >> 64) != 0;
	}
}

static struct wide wide_square(feature_int value)
{
	feature_uint magnitude = value < 0 ? -(feature_uint)value : (feature_uint)value;
	uint64_t low = (uint64_t)magnitude, high = (uint64_t)(magnitude >> 64);
	feature_uint lowest = (feature_uint)low * low, middle = (feature_uint)low * high,
		     highest = (feature_uint)high * high;
	struct wide out = {{(uint64_t)lowest, (uint64_t)(lowest >> 64), (uint64_t)highest, (uint64_t)(highest >> 64)}};
	const struct wide cross = {{0, (uint64_t)middle, (uint64_t)(middle >> 64), 0}};
	wide_add(&out, &cross);
	wide_add(&out, &cross);
	return out;
}

static struct wide wide_times(const struct wide *a, uint64_t b)
{
	struct wide out;
	uint64_t carry = 0;
	for (size_t i = 0; i < 4; i++) {
		feature_uint word = (feature_uint)a->words[i] * b + carry;
		out.words[i] = (uint64_t)word;
		carry = (uint64_t)(word >> 64);
	}
	return out;
}

static double wide_to_double(const struct wide *value)
{
	double out = 0;
	for (size_t i = 4; i-- > 0;) out = out * 0x1p64 + (double)value->words[i];
	return out;
}

/* ── mean ────────────────────────────────────────────────────────────────── */

static uint32_t mean_init(void *state)
{
	memset(state, 0, sizeof(struct mean));
	return sizeof(struct mean);
}

static int mean_change(struct mean *mean, uint64_t count, feature_int sum)
{
	feature_int total;
	if (__builtin_add_overflow(mean->sum, sum, &total)) return -1;
	mean->sum = total;
	mean->count += count;
	return 0;
}

static int mean_add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	(void)len;
	struct mean mean;
	feature_int units;
	memcpy(&mean, state, sizeof mean);
	if (!feature_units(input, &units) || mean_change(&mean, 1, units)) return -1;
	memcpy(state, &mean, sizeof mean);
	return 0;
}

static int mean_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	struct mean mean, by;
	if (*len != sizeof mean || other_len != sizeof by) return -1;
	memcpy(&mean, into, sizeof mean);
	memcpy(&by, other, sizeof by);
	if (mean_change(&mean, by.count, by.sum)) return -1;
	memcpy(into, &mean, sizeof mean);
	return 0;
}

static int mean_read(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	(void)now_us;
	struct feature_out out = feature_out(json, json_size);
	struct mean mean;
	if (len != sizeof mean) return -1;
	memcpy(&mean, state, sizeof mean);
	if (mean.count == 0)
		put_raw(&out, STR("null"));
	else
		put_units(&out, feature_divide(mean.sum, mean.count));
	return feature_out_len(&out);
}

const struct cdpd_feature_type feature_mean = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = sizeof(struct mean),
    .exact = true,
    .needs_field = true,
    .init = mean_init,
    .add = mean_add,
    .merge = mean_merge,
    .read = mean_read,
    .flags = CDPD_FEATURE_KEYED | CDPD_FEATURE_NO_TEXT | CDPD_FEATURE_TELLS,
};

/* ── variance ────────────────────────────────────────────────────────────── */

static uint32_t variance_init(void *state)
{
	memset(state, 0, sizeof(struct variance));
	return sizeof(struct variance);
}

static int variance_add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	(void)len;
	struct variance variance;
	feature_int units;
	memcpy(&variance, state, sizeof variance);
	if (!feature_units(input, &units) || mean_change(&variance.mean, 1, units)) return -1;
	struct wide square = wide_square(units);
	wide_add(&variance.squares, &square);
	memcpy(state, &variance, sizeof variance);
	return 0;
}

static int variance_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	struct variance variance, by;
	if (*len != sizeof variance || other_len != sizeof by) return -1;
	memcpy(&variance, into, sizeof variance);
	memcpy(&by, other, sizeof by);
	if (mean_change(&variance.mean, by.mean.count, by.mean.sum)) return -1;
	wide_add(&variance.squares, &by.squares);
	memcpy(into, &variance, sizeof variance);
	return 0;
}

/* Of the population: (n·Σx² − (Σx)²) / n². The numerator is exact, so values far from zero cost no precision. */
static int variance_read(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	(void)now_us;
	struct feature_out out = feature_out(json, json_size);
	struct variance variance;
	if (len != sizeof variance) return -1;
	memcpy(&variance, state, sizeof variance);
	if (variance.mean.count == 0) {
		put_raw(&out, STR("null"));
	} else {
		struct wide numerator = wide_times(&variance.squares, variance.mean.count);
		struct wide square = wide_square(variance.mean.sum);
		wide_subtract(&numerator, &square);
		double count = (double)variance.mean.count;
		put_double(&out, wide_to_double(&numerator) / count / count / 1e12, 12);
	}
	return feature_out_len(&out);
}

const struct cdpd_feature_type feature_variance = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = sizeof(struct variance),
    .exact = true,
    .needs_field = true,
    .init = variance_init,
    .add = variance_add,
    .merge = variance_merge,
    .read = variance_read,
    .flags = CDPD_FEATURE_KEYED | CDPD_FEATURE_NO_TEXT | CDPD_FEATURE_TELLS,
};
