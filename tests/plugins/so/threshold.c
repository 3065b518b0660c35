/* A feature type with options, as plugins of 1.1 have them: how many inputs were at least `least`. */
#include <stdio.h>
#include <string.h>

#include "cdpd_plugin.h"

static const struct cdpd_option options[] = {
    {.name = "least",
     .type = CDPD_OPTION_FLOAT,
     .default_text = "10",
     .min = 0,
     .max = 1000,
     .help = "inputs from here on count"},
    {.name = "as_text", .type = CDPD_OPTION_BOOL, .default_text = "false", .help = "read the count as text"},
};

static uint32_t init(const struct cdpd_params *params, void *state)
{
	(void)params;
	memset(state, 0, sizeof(uint64_t));
	return sizeof(uint64_t);
}

static int add(const struct cdpd_params *params, void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	(void)len;
	if (input->kind != CDPD_VALUE_NUMBER) return -1;
	if (input->number >= params->values[0].number) ++*(uint64_t *)state;
	return 0;
}

static int merge(const struct cdpd_params *params, void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	(void)params, (void)len;
	if (other_len != sizeof(uint64_t)) return -1;
	*(uint64_t *)into += *(const uint64_t *)other;
	return 0;
}

static int read_state(const struct cdpd_params *params, const void *state, uint32_t len, int64_t now_us, char *json,
		      uint32_t json_size)
{
	(void)now_us;
	if (len != sizeof(uint64_t)) return -1;
	const char *quote = params->values[1].integer ? "\"" : "";
	int written = snprintf(json, json_size, "%s%llu%s", quote, (unsigned long long)*(const uint64_t *)state, quote);
	return written < 0 || (uint32_t)written >= json_size ? -1 : written;
}

static const struct cdpd_feature_type type = {
    .size = sizeof type,
    .state_version = 1,
    .max_state = sizeof(uint64_t),
    .exact = true,
    .needs_field = true,
    .flags = CDPD_FEATURE_KEYED | CDPD_FEATURE_NO_TEXT,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .init_with = init,
    .add_with = add,
    .merge_with = merge,
    .read_with = read_state,
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 1,
    .name = "threshold",
    .version = "1",
    .summary = "counts inputs from a threshold on",
    .caps = CDPD_CAP_FEATURE,
    .feature = &type,
};
