#include <string.h>

#include "base/str.h"
#include "event/event.h"
#include "profile/feature_types.h"
#include "profile/feature_value.h"

/* State of first and last: one picked value.
 *   i64 time · u8 kind (0: nothing yet) · u8 messageId length · u8 value length · 5 unused · messageId · value */
struct picked {
	int64_t time;
	uint8_t kind, id_len, value_len, unused[5];
};
#define PICKED_MAX (sizeof(struct picked) + EVENT_ID_MAX + FEATURE_VALUE_MAX)
_Static_assert(PICKED_MAX <= FEATURE_STATE_MAX, "a picked value fits into a state");

static struct str picked_id(const struct picked *picked)
{
	return (struct str){(const char *)(picked + 1), picked->id_len};
}

static struct str picked_value(const struct picked *picked)
{
	return (struct str){(const char *)(picked + 1) + picked->id_len, picked->value_len};
}

static uint32_t pick_init(void *state)
{
	memset(state, 0, sizeof(struct picked));
	return sizeof(struct picked);
}

/* Does the candidate replace the one picked? `sign` 1: the later time wins, -1: the earlier. */
static bool wins(const struct picked *picked, int sign, int64_t time, struct str id, enum cdpd_value_kind kind,
		 struct str value)
{
	if (picked->kind == CDPD_VALUE_NONE) return true;
	if (time != picked->time) return (time > picked->time) == (sign > 0);
	int order = str_cmp(id, picked_id(picked));
	if (!order) order = str_cmp(value, picked_value(picked));
	if (!order) order = (int)kind - picked->kind;
	return order > 0;
}

static int pick_add(void *state, uint32_t *len, const struct cdpd_feature_input *input, int sign)
{
	struct str id = {input->message_id.ptr, input->message_id.len}, value = {input->text.ptr, input->text.len};
	if (input->kind == CDPD_VALUE_NONE || id.len > EVENT_ID_MAX || value.len > FEATURE_VALUE_MAX) return -1;
	struct picked *picked = state;
	if (!wins(picked, sign, input->time_us, id, input->kind, value)) return 0;
	*picked = (struct picked){.time = input->time_us,
				  .kind = (uint8_t)input->kind,
				  .id_len = (uint8_t)id.len,
				  .value_len = (uint8_t)value.len};
	char *at = (char *)(picked + 1);
	memcpy(at, id.ptr, id.len);
	memcpy(at + id.len, value.ptr, value.len);
	*len = (uint32_t)(sizeof *picked + id.len + value.len);
	return 0;
}

static bool is_valid(const struct picked *picked, uint32_t len)
{
	return len >= sizeof *picked && len <= PICKED_MAX && len == sizeof *picked + picked->id_len + picked->value_len;
}

static int pick_merge(void *into, uint32_t *len, const void *other, uint32_t other_len, int sign)
{
	const struct picked *candidate = other;
	if (!is_valid(into, *len) || !is_valid(candidate, other_len)) return -1;
	if (candidate->kind == CDPD_VALUE_NONE) return 0;
	if (!wins(into, sign, candidate->time, picked_id(candidate), (enum cdpd_value_kind)candidate->kind,
		  picked_value(candidate)))
		return 0;
	memcpy(into, other, other_len);
	*len = other_len;
	return 0;
}

static int first_add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	return pick_add(state, len, input, -1);
}

static int last_add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	return pick_add(state, len, input, 1);
}

static int first_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	return pick_merge(into, len, other, other_len, -1);
}

static int last_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	return pick_merge(into, len, other, other_len, 1);
}

static int pick_read(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	(void)now_us;
	const struct picked *picked = state;
	if (!is_valid(picked, len)) return -1;
	struct feature_out out = feature_out(json, json_size);
	if (picked->kind == CDPD_VALUE_STRING)
		put_quoted(&out, picked_value(picked));
	else
		put_raw(&out, picked->kind == CDPD_VALUE_NONE ? STR("null") : picked_value(picked));
	return feature_out_len(&out);
}

const struct cdpd_feature_type feature_first = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = PICKED_MAX,
    .exact = true,
    .needs_field = true,
    .init = pick_init,
    .add = first_add,
    .merge = first_merge,
    .read = pick_read,
    .flags = CDPD_FEATURE_KEYED,
};

const struct cdpd_feature_type feature_last = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = PICKED_MAX,
    .exact = true,
    .needs_field = true,
    .init = pick_init,
    .add = last_add,
    .merge = last_merge,
    .read = pick_read,
    .flags = CDPD_FEATURE_KEYED,
};
