/* A feature type that counts, and kills the process when its input is the text "crash-now". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdpd_plugin.h"

static uint32_t init(void *state)
{
	memset(state, 0, sizeof(uint64_t));
	return sizeof(uint64_t);
}

static int add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	(void)len;
	if (input->kind == CDPD_VALUE_STRING && input->text.len == 9 && memcmp(input->text.ptr, "crash-now", 9) == 0)
		abort();
	++*(uint64_t *)state;
	return 0;
}

static int merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	(void)len;
	if (other_len != sizeof(uint64_t)) return -1;
	*(uint64_t *)into += *(const uint64_t *)other;
	return 0;
}

static int read_state(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	(void)now_us;
	if (len != sizeof(uint64_t)) return -1;
	int written = snprintf(json, json_size, "%llu", (unsigned long long)*(const uint64_t *)state);
	return written < 0 || (uint32_t)written >= json_size ? -1 : written;
}

static const struct cdpd_feature_type type = {
    .size = sizeof type,
    .state_version = 1,
    .max_state = sizeof(uint64_t),
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
    .name = "crasher",
    .version = "1",
    .summary = "counts, and aborts on a magic value",
    .caps = CDPD_CAP_FEATURE,
    .feature = &type,
};
