#include <string.h>

#include "profile/feature_types.h"
#include "profile/feature_value.h"

/* Events by local hour and weekday. State: {u8 bucket, u32 count}… ordered by bucket, only those that have any. The local time is the event's
 * time moved by the UTC offset that was stored with it, so it never changes later. Counts end at 2³² − 1. */
#define BUCKET_BYTES 5
#define BUCKETS_MAX  168
#define US_PER_HOUR  INT64_C(3600000000)

enum by { BY_HOUR, BY_WEEKDAY, BY_HOUR_OF_WEEK };

static const struct cdpd_option histogram_options[] = {
    {.name = "by",
     .type = CDPD_OPTION_ENUM,
     .default_text = "hour",
     .values = "hour|weekday|hour_of_week",
     .help = "24 hours of the day, 7 days from Monday, or 168 hours from Monday 00:00"},
};

static uint32_t bucket_count(const struct cdpd_params *params)
{
	static const uint32_t counts[] = {[BY_HOUR] = 24, [BY_WEEKDAY] = 7, [BY_HOUR_OF_WEEK] = 168};
	return counts[params->values[0].integer];
}

static uint8_t bucket_of(const struct cdpd_params *params, const struct cdpd_feature_input *input)
{
	int64_t offset = input->utc_offset_min == INT16_MAX ? 0 : input->utc_offset_min;
	int64_t hour = floor_div(input->time_us + offset * (US_PER_HOUR / 60), US_PER_HOUR);
	int64_t day = floor_div(hour, 24), hour_of_day = hour - day * 24;
	int64_t weekday = day + 3 - floor_div(day + 3, 7) * 7; /* 1970-01-01 was a Thursday */
	switch ((enum by)params->values[0].integer) {
	case BY_HOUR: return (uint8_t)hour_of_day;
	case BY_WEEKDAY: return (uint8_t)weekday;
	case BY_HOUR_OF_WEEK: return (uint8_t)(weekday * 24 + hour_of_day);
	}
	return 0;
}

static void count_bucket(uint8_t *state, uint32_t *len, uint8_t bucket, uint32_t by)
{
	uint32_t at = 0, count = 0;
	while (at < *len && state[at] < bucket) at += BUCKET_BYTES;
	if (at == *len || state[at] != bucket) {
		memmove(state + at + BUCKET_BYTES, state + at, *len - at);
		*len += BUCKET_BYTES;
		state[at] = bucket;
	} else {
		memcpy(&count, state + at + 1, sizeof count);
	}
	count = by > UINT32_MAX - count ? UINT32_MAX : count + by;
	memcpy(state + at + 1, &count, sizeof count);
}

static bool is_valid(const struct cdpd_params *params, const uint8_t *state, uint32_t len)
{
	if (len % BUCKET_BYTES != 0 || len > bucket_count(params) * BUCKET_BYTES) return false;
	return len == 0 || state[len - BUCKET_BYTES] < bucket_count(params);
}

static uint32_t histogram_init(const struct cdpd_params *params, void *state)
{
	(void)params, (void)state;
	return 0;
}

static int histogram_add(const struct cdpd_params *params, void *state, uint32_t *len,
			 const struct cdpd_feature_input *input)
{
	if (!is_valid(params, state, *len)) return -1;
	count_bucket(state, len, bucket_of(params, input), 1);
	return 0;
}

static int histogram_merge(const struct cdpd_params *params, void *into, uint32_t *len, const void *other,
			   uint32_t other_len)
{
	const uint8_t *from = other;
	if (!is_valid(params, into, *len) || !is_valid(params, from, other_len)) return -1;
	for (uint32_t at = 0; at < other_len; at += BUCKET_BYTES) {
		uint32_t by;
		memcpy(&by, from + at + 1, sizeof by);
		count_bucket(into, len, from[at], by);
	}
	return 0;
}

static int histogram_read(const struct cdpd_params *params, const void *state, uint32_t len, int64_t now_us, char *json,
			  uint32_t json_size)
{
	(void)now_us;
	struct feature_out out = feature_out(json, json_size);
	const uint8_t *buckets = state;
	if (!is_valid(params, buckets, len)) return -1;
	for (uint32_t bucket = 0, at = 0; bucket < bucket_count(params); bucket++) {
		uint32_t count = 0;
		if (at < len && buckets[at] == bucket) {
			memcpy(&count, buckets + at + 1, sizeof count);
			at += BUCKET_BYTES;
		}
		put_char(&out, bucket ? ',' : '[');
		put_uint(&out, count);
	}
	put_char(&out, ']');
	return feature_out_len(&out);
}

static uint32_t histogram_max(const struct cdpd_params *params)
{
	return bucket_count(params) * BUCKET_BYTES;
}

const struct cdpd_feature_type feature_histogram = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = BUCKETS_MAX * BUCKET_BYTES,
    .exact = true,
    .needs_field = false,
    .flags = CDPD_FEATURE_NO_TEXT | CDPD_FEATURE_TELLS,
    .options = {sizeof histogram_options[0], sizeof histogram_options / sizeof histogram_options[0], histogram_options},
    .init_with = histogram_init,
    .add_with = histogram_add,
    .merge_with = histogram_merge,
    .read_with = histogram_read,
    .state_max = histogram_max,
};
