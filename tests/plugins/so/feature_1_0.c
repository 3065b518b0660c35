/* A feature plugin as it was built against the header of 1.0: its table ends where that of 1.0 ended. */
#include <stddef.h>
#include <string.h>

#include "cdpd_plugin.h"

/* Frozen: never follows the header. */
struct type_1_0 {
	uint32_t size, state_version, max_state;
	bool exact, needs_field;
	uint32_t (*init)(void *state);
	int (*add)(void *state, uint32_t *len, const struct cdpd_feature_input *input);
	int (*merge)(void *into, uint32_t *len, const void *other, uint32_t other_len);
	int (*read)(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size);
};
_Static_assert(sizeof(struct type_1_0) == offsetof(struct cdpd_feature_type, flags), "1.0 ends where 1.1 goes on");

static uint32_t init(void *state)
{
	memset(state, 0, 1);
	return 1;
}

static int add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	(void)len, (void)input;
	uint8_t *seen = state;
	*seen = 1;
	return 0;
}

static int merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	(void)len;
	uint8_t *seen = into;
	if (other_len != 1) return -1;
	*seen |= *(const uint8_t *)other;
	return 0;
}

static int read_state(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	(void)now_us;
	if (len != 1 || json_size < 5) return -1;
	bool seen = *(const uint8_t *)state;
	memcpy(json, seen ? "true" : "false", seen ? 4 : 5);
	return seen ? 4 : 5;
}

/* What lies behind it must never be looked at. */
static const struct {
	struct type_1_0 type;
	uint8_t poison[256];
} table = {
    .type = {.size = sizeof(struct type_1_0),
	     .state_version = 1,
	     .max_state = 1,
	     .exact = true,
	     .init = init,
	     .add = add,
	     .merge = merge,
	     .read = read_state},
    .poison = {[0 ... 255] = 0xee},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = 1,
    .abi_minor = 0,
    .name = "feature_1_0",
    .version = "1",
    .summary = "has anything happened",
    .caps = CDPD_CAP_FEATURE,
    .feature = (const struct cdpd_feature_type *)(const void *)&table.type,
};
