#include <string.h>

#include "profile/feature_types.h"
#include "profile/feature_value.h"

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
	struct feature_out out = feature_out(json, json_size);
	if (len != sizeof(uint64_t)) return -1;
	put_uint(&out, *(const uint64_t *)state);
	return feature_out_len(&out);
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
    .flags = CDPD_FEATURE_KEYED | CDPD_FEATURE_NO_TEXT | CDPD_FEATURE_TELLS,
};

/* ── sum ─────────────────────────────────────────────────────────────────── */

static uint32_t sum_init(void *state)
{
	memset(state, 0, sizeof(feature_int));
	return sizeof(feature_int);
}

static int sum_change(void *state, feature_int by)
{
	feature_int sum;
	memcpy(&sum, state, sizeof sum);
	if (__builtin_add_overflow(sum, by, &sum)) return -1;
	memcpy(state, &sum, sizeof sum);
	return 0;
}

static int sum_add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	(void)len;
	feature_int units;
	return feature_units(input, &units) ? sum_change(state, units) : -1;
}

static int sum_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	if (*len != sizeof(feature_int) || other_len != sizeof(feature_int)) return -1;
	feature_int by;
	memcpy(&by, other, sizeof by);
	return sum_change(into, by);
}

static int sum_read(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	(void)now_us;
	struct feature_out out = feature_out(json, json_size);
	if (len != sizeof(feature_int)) return -1;
	feature_int sum;
	memcpy(&sum, state, sizeof sum);
	put_units(&out, sum);
	return feature_out_len(&out);
}

const struct cdpd_feature_type feature_sum = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = sizeof(feature_int),
    .exact = true,
    .needs_field = true,
    .init = sum_init,
    .add = sum_add,
    .merge = sum_merge,
    .read = sum_read,
    .flags = CDPD_FEATURE_KEYED | CDPD_FEATURE_NO_TEXT | CDPD_FEATURE_TELLS,
};
