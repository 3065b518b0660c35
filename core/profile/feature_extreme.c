#include <string.h>

#include "profile/feature_types.h"
#include "profile/feature_value.h"

/* State of min and max: nothing, or the value in units. */

static uint32_t extreme_init(void *state)
{
	(void)state;
	return 0;
}

static void offer(void *state, uint32_t *len, feature_int units, int sign)
{
	feature_int best;
	if (*len == sizeof best) {
		memcpy(&best, state, sizeof best);
		if (sign > 0 ? units <= best : units >= best) return;
	}
	memcpy(state, &units, sizeof units);
	*len = sizeof units;
}

static int extreme_add(void *state, uint32_t *len, const struct cdpd_feature_input *input, int sign)
{
	feature_int units;
	if (!feature_units(input, &units)) return -1;
	offer(state, len, units, sign);
	return 0;
}

static int extreme_merge(void *into, uint32_t *len, const void *other, uint32_t other_len, int sign)
{
	feature_int units;
	if ((*len && *len != sizeof units) || (other_len && other_len != sizeof units)) return -1;
	if (other_len == 0) return 0;
	memcpy(&units, other, sizeof units);
	offer(into, len, units, sign);
	return 0;
}

static int min_add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	return extreme_add(state, len, input, -1);
}

static int max_add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	return extreme_add(state, len, input, 1);
}

static int min_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	return extreme_merge(into, len, other, other_len, -1);
}

static int max_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	return extreme_merge(into, len, other, other_len, 1);
}

static int extreme_read(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	(void)now_us;
	struct feature_out out = feature_out(json, json_size);
	feature_int units;
	if (len == 0) {
		put_raw(&out, STR("null"));
	} else if (len == sizeof units) {
		memcpy(&units, state, sizeof units);
		put_units(&out, units);
	} else {
		return -1;
	}
	return feature_out_len(&out);
}

const struct cdpd_feature_type feature_min = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = sizeof(feature_int),
    .exact = true,
    .needs_field = true,
    .init = extreme_init,
    .add = min_add,
    .merge = min_merge,
    .read = extreme_read,
    .flags = CDPD_FEATURE_KEYED | CDPD_FEATURE_NO_TEXT | CDPD_FEATURE_TELLS,
};

const struct cdpd_feature_type feature_max = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = sizeof(feature_int),
    .exact = true,
    .needs_field = true,
    .init = extreme_init,
    .add = max_add,
    .merge = max_merge,
    .read = extreme_read,
    .flags = CDPD_FEATURE_KEYED | CDPD_FEATURE_NO_TEXT | CDPD_FEATURE_TELLS,
};
