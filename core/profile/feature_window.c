#include "profile/feature_cells.h"
#include "profile/feature_types.h"

/* A count (without a field) or a sum over a sliding window of whole UTC buckets. One bucket more than the window has is kept, because an event's
 * time may lie a few minutes after the time of reading. */
#define BUCKETS_MAX 64
#define MINUTE      60e6
#define DAY         86400e6

enum { WINDOW, BUCKET };

static const struct cdpd_option window_options[] = {
    {.name = "window",
     .type = CDPD_OPTION_DURATION,
     .default_text = "30d",
     .min = MINUTE,
     .max = 3660 * DAY,
     .help = "how far back the window reaches: a whole number of buckets, at most 64"},
    {.name = "bucket",
     .type = CDPD_OPTION_DURATION,
     .default_text = "1d",
     .min = MINUTE,
     .max = 3660 * DAY,
     .help = "the step by which it slides, aligned to UTC"},
};

static int64_t bucket_count(const struct cdpd_params *params)
{
	return params->values[WINDOW].integer / params->values[BUCKET].integer;
}

static const char *window_check(const struct cdpd_params *params)
{
	bool is_whole = params->values[WINDOW].integer % params->values[BUCKET].integer == 0;
	if (is_whole && bucket_count(params) >= 1 && bucket_count(params) <= BUCKETS_MAX) return NULL;
	return "window must be 1 to 64 whole buckets, such as window: 30d, bucket: 1d";
}

static uint32_t window_init(const struct cdpd_params *params, void *state)
{
	(void)params, (void)state;
	return 0;
}

static int window_add(const struct cdpd_params *params, void *state, uint32_t *len,
		      const struct cdpd_feature_input *input)
{
	feature_int by = FEATURE_UNITS;
	int64_t keep = bucket_count(params) + 1;
	if (!cells_are_valid(state, *len, keep)) return -1;
	if (input->kind != CDPD_VALUE_NONE && !feature_units(input, &by)) return -1;
	return cells_add(state, len, keep, floor_div(input->time_us, params->values[BUCKET].integer), by);
}

static int window_merge(const struct cdpd_params *params, void *into, uint32_t *len, const void *other,
			uint32_t other_len)
{
	return cells_merge(into, len, bucket_count(params) + 1, other, other_len);
}

static int window_read(const struct cdpd_params *params, const void *state, uint32_t len, int64_t now_us, char *json,
		       uint32_t json_size)
{
	struct feature_out out = feature_out(json, json_size);
	const struct cell *cells = state;
	int64_t newest = floor_div(now_us, params->values[BUCKET].integer), oldest = newest - bucket_count(params) + 1;
	feature_int sum = 0;
	if (!cells_are_valid(state, len, bucket_count(params) + 1)) return -1;
	for (size_t i = 0; i < len / sizeof *cells; i++) {
		if (cells[i].index < oldest || cells[i].index > newest) continue;
		if (__builtin_add_overflow(sum, cell_sum(&cells[i]), &sum)) return -1;
	}
	put_units(&out, sum);
	return feature_out_len(&out);
}

static uint32_t window_max(const struct cdpd_params *params)
{
	return (uint32_t)((size_t)(bucket_count(params) + 1) * sizeof(struct cell));
}

const struct cdpd_feature_type feature_window = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = (BUCKETS_MAX + 1) * sizeof(struct cell),
    .exact = true,
    .needs_field = false,
    .flags = CDPD_FEATURE_NO_TEXT | CDPD_FEATURE_TELLS,
    .options = {sizeof window_options[0], sizeof window_options / sizeof window_options[0], window_options},
    .init_with = window_init,
    .add_with = window_add,
    .merge_with = window_merge,
    .read_with = window_read,
    .state_max = window_max,
    .check = window_check,
};
