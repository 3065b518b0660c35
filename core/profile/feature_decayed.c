#include <math.h>

#include "profile/feature_cells.h"
#include "profile/feature_types.h"

/* A count (without a field) or a sum that halves every half_life. Forward decay (Cormode et al. 2009): an event at time t weighs 2^(t / half_life),
 * the landmark is 1970, and only reading divides by the weight of now. The exponent's whole part is the index of a
 * cell; its fraction, cut to 20 bits, becomes a weight of 31 bits by integer arithmetic alone. So a state is a sum of
 * integers and the same in any order. Cells more than 40 half-lives before the newest, below 10⁻¹² of their size, are dropped. */
#define CELLS         40
#define FRACTION_BITS 20
#define WEIGHT_BITS   30 /* after the point */
#define DECAYED_MAX   ((feature_int)1000000000000000 * FEATURE_UNITS)

static const struct cdpd_option decayed_options[] = {
    {.name = "half_life",
     .type = CDPD_OPTION_DURATION,
     .default_text = "7d",
     .min = 3600e6,
     .max = 3660 * 86400e6,
     .help = "the time in which an event's weight halves"},
};

/* 2^(1/2), 2^(1/4), … 2^(1/2^20), times 2^62, rounded. */
static const uint64_t roots[FRACTION_BITS] = {
    UINT64_C(6521908912666391106), UINT64_C(5484249825272419512), UINT64_C(5029079263719320435),
    UINT64_C(4815862801830788490), UINT64_C(4712668792719003884), UINT64_C(4661903986662671290),
    UINT64_C(4636727017470743990), UINT64_C(4624189567668517720), UINT64_C(4617933561212708776),
    UINT64_C(4614808732577250068), UINT64_C(4613247111281068008), UINT64_C(4612466498810092975),
    UINT64_C(4612076242109103707), UINT64_C(4611881126141011236), UINT64_C(4611783571252412754),
    UINT64_C(4611734794581956353), UINT64_C(4611710406440186476), UINT64_C(4611698212417665819),
    UINT64_C(4611692115418496524), UINT64_C(4611689066921934630),
};

static int64_t weigh(int64_t time_us, int64_t half_life, uint32_t *weight)
{
	int64_t index = floor_div(time_us, half_life);
	uint64_t rest = (uint64_t)(time_us - index * half_life), power = UINT64_C(1) << 62;
	uint32_t fraction = (uint32_t)(((feature_uint)rest << FRACTION_BITS) / (uint64_t)half_life);
	for (unsigned bit = 0; bit < FRACTION_BITS; bit++)
		if (fraction >> (FRACTION_BITS - 1 - bit) & 1)
			power = (uint64_t)((feature_uint)power * roots[bit] >> 62);
	*weight = (uint32_t)(power >> (62 - WEIGHT_BITS));
	return index;
}

static uint32_t decayed_init(const struct cdpd_params *params, void *state)
{
	(void)params, (void)state;
	return 0;
}

static int decayed_add(const struct cdpd_params *params, void *state, uint32_t *len,
		       const struct cdpd_feature_input *input)
{
	feature_int units = FEATURE_UNITS;
	uint32_t weight;
	if (!cells_are_valid(state, *len, CELLS)) return -1;
	if (input->kind != CDPD_VALUE_NONE && !feature_units(input, &units)) return -1;
	if (units > DECAYED_MAX || units < -DECAYED_MAX) return -1;
	int64_t index = weigh(input->time_us, params->values[0].integer, &weight);
	return cells_add(state, len, CELLS, index, units * weight);
}

static int decayed_merge(const struct cdpd_params *params, void *into, uint32_t *len, const void *other,
			 uint32_t other_len)
{
	(void)params;
	return cells_merge(into, len, CELLS, other, other_len);
}

static int decayed_read(const struct cdpd_params *params, const void *state, uint32_t len, int64_t now_us, char *json,
			uint32_t json_size)
{
	struct feature_out out = feature_out(json, json_size);
	const struct cell *cells = state;
	uint32_t weight;
	double value = 0;
	if (!cells_are_valid(state, len, CELLS)) return -1;
	int64_t now = weigh(now_us, params->values[0].integer, &weight);
	for (size_t i = 0; i < len / sizeof *cells; i++) {
		int64_t age = now - cells[i].index;
		if (age < 1000) value += ldexp((double)cell_sum(&cells[i]), age < -1000 ? 1000 : (int)-age);
	}
	put_double(&out, value / weight / FEATURE_UNITS, 6);
	return feature_out_len(&out);
}

const struct cdpd_feature_type feature_decayed = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = CELLS * sizeof(struct cell),
    .exact = true,
    .needs_field = false,
    .flags = CDPD_FEATURE_KEYED | CDPD_FEATURE_NO_TEXT | CDPD_FEATURE_TELLS,
    .options = {sizeof decayed_options[0], sizeof decayed_options / sizeof decayed_options[0], decayed_options},
    .init_with = decayed_init,
    .add_with = decayed_add,
    .merge_with = decayed_merge,
    .read_with = decayed_read,
};
