/* Calls itself exact, but keeps whatever came last. */
#include <stdio.h>
#include <string.h>

#include "cdpd_plugin.h"

static uint32_t init(void *state)
{
	memset(state, 0, sizeof(double));
	return sizeof(double);
}

static int add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	(void)len;
	if (input->kind != CDPD_VALUE_NUMBER) return -1;
	memcpy(state, &input->number, sizeof(double));
	return 0;
}

static int merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	(void)len;
	memcpy(into, other, other_len);
	return 0;
}

static int read_state(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	double number;
	(void)now_us;
	memcpy(&number, state, len);
	return snprintf(json, json_size, "%.17g", number);
}

static const struct cdpd_feature_type type = {
    .size = sizeof type,
    .state_version = 1,
    .max_state = sizeof(double),
    .exact = true,
    .needs_field = true,
    .init = init,
    .add = add,
    .merge = merge,
    .read = read_state,
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 1,
    .name = "trial_order",
    .version = "1.0.0",
    .summary = "is not as exact as it says",
    .caps = CDPD_CAP_FEATURE,
    .feature = &type,
};
