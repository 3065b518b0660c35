#include <stdlib.h>
#include <string.h>

#include "profile/feature_types.h"
#include "profile/feature_value.h"

/* The most frequent values: space-saving (Metwally et al. 2005) with three counters for each value shown. A new value takes over the smallest
 * counter and inherits its count as its possible error, so count − error ≤ truth ≤ count, and error ≤ events / counters.
 * Merging adds counts, and for a value that only one side knows the other side's smallest (Agarwal et al. 2012): the same
 * bound holds, but another order of events may show other values. The order of the journal is one, so a replay shows the same.
 *
 * State: u64 values added · {u64 count, u64 error, u8 length, text}… in no order. */
#define HEADER       sizeof(uint64_t)
#define SHOWN_MAX    20
#define PER_SHOWN    3
#define COUNTERS_MAX (SHOWN_MAX * PER_SHOWN)
#define FIXED        17

static const struct cdpd_option top_options[] = {
    {.name = "n",
     .type = CDPD_OPTION_INT,
     .default_text = "10",
     .min = 1,
     .max = SHOWN_MAX,
     .help = "how many values are shown"},
};

struct counter {
	uint64_t count, error;
	struct str label;
};

struct counters {
	struct counter items[2 * COUNTERS_MAX];
	size_t count;
	uint64_t total;
};

static size_t capacity_of(const struct cdpd_params *params)
{
	return (size_t)params->values[0].integer * PER_SHOWN;
}

/* Labels borrow the state. */
static bool decode(const struct cdpd_params *params, const uint8_t *state, uint32_t len, struct counters *out)
{
	out->count = 0;
	if (len < HEADER) return false;
	memcpy(&out->total, state, HEADER);
	for (uint32_t at = HEADER; at < len;) {
		if (out->count == capacity_of(params) || len - at < FIXED || state[at + 16] > len - at - FIXED)
			return false;
		struct counter *item = &out->items[out->count++];
		memcpy(&item->count, state + at, sizeof item->count);
		memcpy(&item->error, state + at + 8, sizeof item->error);
		item->label = (struct str){(const char *)state + at + FIXED, state[at + 16]};
		at += FIXED + state[at + 16];
	}
	return true;
}

static uint32_t encode_one(uint8_t *at, const struct counter *item)
{
	memcpy(at, &item->count, sizeof item->count);
	memcpy(at + 8, &item->error, sizeof item->error);
	at[16] = (uint8_t)item->label.len;
	memcpy(at + FIXED, item->label.ptr, item->label.len);
	return (uint32_t)(FIXED + item->label.len);
}

static int order_counters(const void *a, const void *b)
{
	const struct counter *x = a, *y = b;
	if (x->count != y->count) return x->count > y->count ? -1 : 1;
	return str_cmp(x->label, y->label);
}

/* ── the type ────────────────────────────────────────────────────────────── */

static uint32_t top_init(const struct cdpd_params *params, void *state)
{
	(void)params;
	memset(state, 0, HEADER);
	return HEADER;
}

/* Takes the counter at `at` out of the state. */
static void cut(uint8_t *state, uint32_t *len, uint32_t at)
{
	uint32_t size = FIXED + (uint32_t)state[at + 16];
	memmove(state + at, state + at + size, *len - at - size);
	*len -= size;
}

static int top_add(const struct cdpd_params *params, void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	struct counter added = {.count = 1}, smallest = {.label = STR_NONE};
	uint8_t *bytes = state;
	uint32_t smallest_at = 0;
	size_t count = 0;
	if (!feature_label(input, &added.label) || added.label.len > FEATURE_LABEL_MAX) return -1;
	for (uint32_t at = HEADER; at < *len; count++) {
		struct counter item;
		if (*len - at < FIXED || bytes[at + 16] > *len - at - FIXED) return -1;
		item.label = (struct str){(const char *)bytes + at + FIXED, bytes[at + 16]};
		memcpy(&item.count, bytes + at, sizeof item.count);
		if (str_eq(item.label, added.label)) {
			item.count++;
			memcpy(bytes + at, &item.count, sizeof item.count);
			++*(uint64_t *)state;
			return 0;
		}
		if (!smallest_at || order_counters(&item, &smallest) > 0) {
			smallest = item;
			smallest_at = at;
		}
		at += FIXED + bytes[at + 16];
	}
	++*(uint64_t *)state;
	if (count >= capacity_of(params)) {
		added.error = smallest.count;
		added.count += smallest.count;
		cut(bytes, len, smallest_at);
	}
	*len += encode_one(bytes + *len, &added);
	return 0;
}

static uint64_t smallest_count(const struct counters *counters, size_t capacity)
{
	uint64_t smallest = UINT64_MAX;
	if (counters->count < capacity) return 0;
	for (size_t i = 0; i < counters->count; i++)
		if (counters->items[i].count < smallest) smallest = counters->items[i].count;
	return smallest;
}

static struct counter *find(struct counters *counters, size_t count, struct str label)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(counters->items[i].label, label)) return &counters->items[i];
	return NULL;
}

static void combine(struct counters *into, struct counters *from, size_t capacity)
{
	uint64_t into_least = smallest_count(into, capacity), from_least = smallest_count(from, capacity);
	size_t own = into->count;
	for (size_t i = 0; i < own; i++) {
		const struct counter *same = find(from, from->count, into->items[i].label);
		into->items[i].count += same ? same->count : from_least;
		into->items[i].error += same ? same->error : from_least;
	}
	for (size_t i = 0; i < from->count; i++) {
		struct counter item = from->items[i];
		if (find(into, own, item.label)) continue;
		item.count += into_least;
		item.error += into_least;
		into->items[into->count++] = item;
	}
	into->total += from->total;
}

static int top_merge(const struct cdpd_params *params, void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	struct counters ours, theirs;
	uint8_t copy[FEATURE_STATE_MAX], *state = into;
	memcpy(copy, into, *len);
	if (!decode(params, copy, *len, &ours) || !decode(params, other, other_len, &theirs)) return -1;
	combine(&ours, &theirs, capacity_of(params));
	qsort(ours.items, ours.count, sizeof ours.items[0], order_counters);
	if (ours.count > capacity_of(params)) ours.count = capacity_of(params);
	memcpy(state, &ours.total, HEADER);
	*len = HEADER;
	for (size_t i = 0; i < ours.count; i++) *len += encode_one(state + *len, &ours.items[i]);
	return 0;
}

static int top_read(const struct cdpd_params *params, const void *state, uint32_t len, int64_t now_us, char *json,
		    uint32_t json_size)
{
	(void)now_us;
	struct feature_out out = feature_out(json, json_size);
	struct counters counters;
	if (!decode(params, state, len, &counters)) return -1;
	if (counters.count) qsort(counters.items, counters.count, sizeof counters.items[0], order_counters);
	put_raw(&out, STR("{\"events\":"));
	put_uint(&out, counters.total);
	put_raw(&out, STR(",\"values\":["));
	for (size_t i = 0; i < counters.count && i < (size_t)params->values[0].integer; i++) {
		put_raw(&out, i ? STR(",{\"value\":") : STR("{\"value\":"));
		put_quoted(&out, counters.items[i].label);
		put_raw(&out, STR(",\"count\":"));
		put_uint(&out, counters.items[i].count);
		put_raw(&out, STR(",\"error\":"));
		put_uint(&out, counters.items[i].error);
		put_raw(&out, STR("}"));
	}
	put_raw(&out, STR("]}"));
	return feature_out_len(&out);
}

static uint32_t top_max(const struct cdpd_params *params)
{
	return (uint32_t)(HEADER + capacity_of(params) * (FIXED + FEATURE_LABEL_MAX));
}

const struct cdpd_feature_type feature_top = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = HEADER + (size_t)COUNTERS_MAX * (FIXED + FEATURE_LABEL_MAX),
    .exact = false,
    .needs_field = true,
    .flags = CDPD_FEATURE_TELLS,
    .options = {sizeof top_options[0], sizeof top_options / sizeof top_options[0], top_options},
    .init_with = top_init,
    .add_with = top_add,
    .merge_with = top_merge,
    .read_with = top_read,
    .state_max = top_max,
};
