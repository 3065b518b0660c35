#include <string.h>

#include "profile/feature_types.h"
#include "profile/feature_value.h"

/* Gaps between events. Gaps do not merge (two histories interleave), times do: the state is u64 how many events there were, and the latest n
 * times, ascending, equal ones as often as they came. A late event finds its place among them; gaps are made when somebody reads. */
#define HEADER   sizeof(uint64_t)
#define TIME_MAX (INT64_C(1) << 55) /* a thousand years: squares of gaps fit */

static const struct cdpd_option intervals_options[] = {
    {.name = "n",
     .type = CDPD_OPTION_INT,
     .default_text = "10",
     .min = 2,
     .max = FEATURE_TIMES_MAX,
     .help = "how many of the latest times are kept"},
};

static uint32_t intervals_max(const struct cdpd_params *params)
{
	return (uint32_t)(HEADER + (size_t)params->values[0].integer * sizeof(int64_t));
}

static bool is_valid(const struct cdpd_params *params, const void *state, uint32_t len)
{
	if (len < HEADER || len > intervals_max(params) || len % sizeof(int64_t) != 0) return false;
	const int64_t *times = (const int64_t *)state + 1;
	size_t count = (len - HEADER) / sizeof *times;
	for (size_t i = 1; i < count; i++)
		if (times[i] < times[i - 1]) return false;
	return count == 0 || (times[0] >= -TIME_MAX && times[count - 1] <= TIME_MAX);
}

static uint32_t intervals_init(const struct cdpd_params *params, void *state)
{
	(void)params;
	memset(state, 0, HEADER);
	return HEADER;
}

static void insert(const struct cdpd_params *params, int64_t *times, uint32_t *len, int64_t time)
{
	uint32_t count = (uint32_t)((*len - HEADER) / sizeof *times), at = count;
	while (at > 0 && times[at - 1] > time) at--;
	if (*len < intervals_max(params)) {
		memmove(times + at + 1, times + at, (count - at) * sizeof *times);
		times[at] = time;
		*len += (uint32_t)sizeof *times;
	} else if (at > 0) { /* the earliest gives way */
		memmove(times, times + 1, (at - 1) * sizeof *times);
		times[at - 1] = time;
	}
}

static int intervals_add(const struct cdpd_params *params, void *state, uint32_t *len,
			 const struct cdpd_feature_input *input)
{
	uint64_t *total = state;
	if (!is_valid(params, state, *len) || input->time_us < -TIME_MAX || input->time_us > TIME_MAX) return -1;
	*total += 1;
	insert(params, (int64_t *)(total + 1), len, input->time_us);
	return 0;
}

static int intervals_merge(const struct cdpd_params *params, void *into, uint32_t *len, const void *other,
			   uint32_t other_len)
{
	uint64_t *total = into;
	const uint64_t *from = other;
	if (!is_valid(params, into, *len) || !is_valid(params, other, other_len)) return -1;
	*total += from[0];
	for (size_t i = 1; i < other_len / sizeof *from; i++)
		insert(params, (int64_t *)(total + 1), len, (int64_t)from[i]);
	return 0;
}

static void put_gaps(struct feature_out *out, const int64_t *times, size_t count)
{
	int64_t min = INT64_MAX, max = 0;
	feature_int squares = 0;
	feature_uint gaps = count - 1;
	for (size_t i = 1; i < count; i++) {
		int64_t gap = times[i] - times[i - 1];
		squares += (feature_int)gap * gap;
		if (gap < min) min = gap;
		if (gap > max) max = gap;
	}
	feature_int sum = (feature_int)times[count - 1] - times[0];
	double variance = (double)((feature_int)gaps * squares - sum * sum) / (double)gaps / (double)gaps;
	put_raw(out, STR(",\"mean\":"));
	put_units(out, feature_divide(sum, gaps));
	put_raw(out, STR(",\"variance\":"));
	put_double(out, variance / 1e12, 6);
	put_raw(out, STR(",\"min\":"));
	put_units(out, min);
	put_raw(out, STR(",\"max\":"));
	put_units(out, max);
}

static int intervals_read(const struct cdpd_params *params, const void *state, uint32_t len, int64_t now_us, char *json,
			  uint32_t json_size)
{
	(void)now_us;
	struct feature_out out = feature_out(json, json_size);
	const uint64_t *total = state;
	const int64_t *times = (const int64_t *)(total + 1);
	if (!is_valid(params, state, len)) return -1;
	size_t count = (len - HEADER) / sizeof *times;
	put_raw(&out, STR("{\"events\":"));
	put_uint(&out, *total);
	put_raw(&out, STR(",\"count\":"));
	put_uint(&out, count ? count - 1 : 0);
	if (count > 1)
		put_gaps(&out, times, count);
	else
		put_raw(&out, STR(",\"mean\":null,\"variance\":null,\"min\":null,\"max\":null"));
	put_raw(&out, STR(",\"last\":["));
	for (size_t i = count; i-- > 0;) {
		put_time(&out, times[i]);
		if (i) put_raw(&out, STR(","));
	}
	put_raw(&out, STR("]}"));
	return feature_out_len(&out);
}

const struct cdpd_feature_type feature_intervals = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = HEADER + FEATURE_TIMES_MAX * sizeof(int64_t),
    .exact = true,
    .needs_field = false,
    .flags = CDPD_FEATURE_KEYED | CDPD_FEATURE_NO_TEXT | CDPD_FEATURE_TELLS,
    .options = {sizeof intervals_options[0], sizeof intervals_options / sizeof intervals_options[0], intervals_options},
    .init_with = intervals_init,
    .add_with = intervals_add,
    .merge_with = intervals_merge,
    .read_with = intervals_read,
    .state_max = intervals_max,
};
