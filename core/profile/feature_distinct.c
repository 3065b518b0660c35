#include <math.h>
#include <string.h>

#include "profile/feature_types.h"
#include "profile/feature_value.h"

/* How many different values. State: u8 is_dense · 7 unused · then either the hashes themselves, sorted, as long as they take no more
 * room than the registers would (and so the count is exact), or 2^precision registers of 6 bits: HyperLogLog (Flajolet et al. 2007)
 * with 64-bit hashes. Which of the two is told by the set of hashes alone, so no order of arrival shows in the bytes.
 *
 * The estimate is Ertl's (2017, "New cardinality estimation algorithms for HyperLogLog sketches", improved raw
 * estimator): unbiased from 0 on, without tables. Standard error 1.04 / sqrt(2^precision). */
#define HEADER        8
#define PRECISION_MIN 6
#define PRECISION_MAX 13
#define RANK_MAX      64

static const struct cdpd_option distinct_options[] = {
    {.name = "precision",
     .type = CDPD_OPTION_INT,
     .default_text = "11",
     .min = PRECISION_MIN,
     .max = PRECISION_MAX,
     .help = "2^precision registers: 11 has a standard error of 2.3 %, 13 of 1.15 %"},
};

struct sketch {
	unsigned precision;
	uint32_t registers, bytes, sparse_max; /* bytes of the registers; hashes kept before them */
};

static struct sketch sketch_of(const struct cdpd_params *params)
{
	struct sketch sketch = {.precision = (unsigned)params->values[0].integer};
	sketch.registers = UINT32_C(1) << sketch.precision;
	sketch.bytes = sketch.registers / 4 * 3;
	sketch.sparse_max = sketch.bytes / sizeof(uint64_t);
	return sketch;
}

static bool is_dense(const uint8_t *state)
{
	return state[0] != 0;
}

static bool is_valid(const struct sketch *sketch, const uint8_t *state, uint32_t len)
{
	if (len < HEADER) return false;
	if (is_dense(state)) return len == HEADER + sketch->bytes;
	return len % sizeof(uint64_t) == 0 && len <= HEADER + sketch->sparse_max * sizeof(uint64_t);
}

/* ── registers ───────────────────────────────────────────────────────────── */

/* Four registers lie in three bytes. */
static unsigned get_register(const uint8_t *registers, uint32_t index)
{
	const uint8_t *at = registers + (size_t)index / 4 * 3;
	uint32_t group = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
	return group >> index % 4 * 6 & 63;
}

static void raise_register(uint8_t *registers, uint32_t index, unsigned rank)
{
	uint8_t *at = registers + (size_t)index / 4 * 3;
	unsigned shift = index % 4 * 6;
	uint32_t group = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
	if (rank <= (group >> shift & 63)) return;
	group = (group & ~(UINT32_C(63) << shift)) | rank << shift;
	at[0] = (uint8_t)group;
	at[1] = (uint8_t)(group >> 8);
	at[2] = (uint8_t)(group >> 16);
}

static void count_hash(const struct sketch *sketch, uint8_t *registers, uint64_t hash)
{
	uint64_t rest = hash << sketch->precision | UINT64_C(1) << (sketch->precision - 1);
	raise_register(registers, (uint32_t)(hash >> (64 - sketch->precision)), (unsigned)__builtin_clzll(rest) + 1);
}

static double sigma(double x)
{
	double y = 1, z = x, before;
	if (x >= 1) return INFINITY;
	do {
		x *= x;
		before = z;
		z += x * y;
		y += y;
	} while (z != before); /* NOLINT(clang-analyzer-security.FloatLoopCounter): it has a fixed point */
	return z;
}

static double tau(double x)
{
	double y = 1, z = 1 - x, before;
	if (x <= 0 || x >= 1) return 0;
	do {
		x = sqrt(x);
		before = z;
		y *= 0.5;
		z -= (1 - x) * (1 - x) * y;
	} while (z != before);
	return z / 3;
}

static double estimate(const struct sketch *sketch, const uint8_t *registers)
{
	uint32_t counts[RANK_MAX] = {0};
	double m = sketch->registers;
	unsigned last = 64 - sketch->precision;
	for (uint32_t i = 0; i < sketch->registers; i++) counts[get_register(registers, i)]++;
	double z = m * tau(1 - counts[last + 1] / m);
	for (unsigned rank = last; rank > 0; rank--) z = 0.5 * (z + counts[rank]);
	z += m * sigma(counts[0] / m);
	return m / (2 * 0.69314718055994530942) * m / z;
}

/* ── the set while it is small ───────────────────────────────────────────── */

static void make_dense(const struct sketch *sketch, uint8_t *state, uint32_t *len)
{
	uint64_t hashes[FEATURE_STATE_MAX / sizeof(uint64_t)];
	uint32_t count = (*len - HEADER) / (uint32_t)sizeof(uint64_t);
	memcpy(hashes, state + HEADER, count * sizeof(uint64_t));
	state[0] = 1;
	memset(state + HEADER, 0, sketch->bytes);
	for (uint32_t i = 0; i < count; i++) count_hash(sketch, state + HEADER, hashes[i]);
	*len = HEADER + sketch->bytes;
}

static void add_hash(const struct sketch *sketch, uint8_t *state, uint32_t *len, uint64_t hash)
{
	if (!is_dense(state)) {
		uint64_t *hashes = (uint64_t *)(void *)(state + HEADER);
		uint32_t low = 0, count = (*len - HEADER) / (uint32_t)sizeof *hashes, high = count;
		while (low < high) {
			uint32_t middle = (low + high) / 2;
			if (hashes[middle] < hash)
				low = middle + 1;
			else
				high = middle;
		}
		if (low < count && hashes[low] == hash) return;
		if (count < sketch->sparse_max) {
			memmove(hashes + low + 1, hashes + low, (count - low) * sizeof *hashes);
			hashes[low] = hash;
			*len += (uint32_t)sizeof *hashes;
			return;
		}
		make_dense(sketch, state, len);
	}
	count_hash(sketch, state + HEADER, hash);
}

/* ── the type ────────────────────────────────────────────────────────────── */

static uint32_t distinct_init(const struct cdpd_params *params, void *state)
{
	(void)params;
	memset(state, 0, HEADER);
	return HEADER;
}

static int distinct_add(const struct cdpd_params *params, void *state, uint32_t *len,
			const struct cdpd_feature_input *input)
{
	struct sketch sketch = sketch_of(params);
	struct str label = {input->text.ptr, input->text.len};
	if (input->kind == CDPD_VALUE_NONE || !is_valid(&sketch, state, *len)) return -1;
	(void)feature_label(input, &label); /* objects and arrays count by their JSON */
	add_hash(&sketch, state, len, feature_hash(label));
	return 0;
}

static int distinct_merge(const struct cdpd_params *params, void *into, uint32_t *len, const void *other,
			  uint32_t other_len)
{
	struct sketch sketch = sketch_of(params);
	if (!is_valid(&sketch, into, *len) || !is_valid(&sketch, other, other_len)) return -1;
	const uint8_t *from = other;
	uint8_t *state = into;
	if (!is_dense(from)) {
		for (uint32_t at = HEADER; at < other_len; at += (uint32_t)sizeof(uint64_t)) {
			uint64_t hash;
			memcpy(&hash, from + at, sizeof hash);
			add_hash(&sketch, state, len, hash);
		}
		return 0;
	}
	if (!is_dense(state)) make_dense(&sketch, state, len);
	for (uint32_t i = 0; i < sketch.registers; i++)
		raise_register(state + HEADER, i, get_register(from + HEADER, i));
	return 0;
}

static int distinct_read(const struct cdpd_params *params, const void *state, uint32_t len, int64_t now_us, char *json,
			 uint32_t json_size)
{
	(void)now_us;
	struct sketch sketch = sketch_of(params);
	struct feature_out out = feature_out(json, json_size);
	if (!is_valid(&sketch, state, len)) return -1;
	if (is_dense(state))
		put_double(&out, estimate(&sketch, (const uint8_t *)state + HEADER), 0);
	else
		put_uint(&out, (len - HEADER) / sizeof(uint64_t));
	return feature_out_len(&out);
}

static uint32_t distinct_max(const struct cdpd_params *params)
{
	return HEADER + sketch_of(params).bytes;
}

const struct cdpd_feature_type feature_distinct = {
    .size = sizeof(struct cdpd_feature_type),
    .state_version = 1,
    .max_state = HEADER + (1 << PRECISION_MAX) / 4 * 3,
    .exact = true,
    .needs_field = true,
    .options = {sizeof distinct_options[0], sizeof distinct_options / sizeof distinct_options[0], distinct_options},
    .init_with = distinct_init,
    .add_with = distinct_add,
    .merge_with = distinct_merge,
    .read_with = distinct_read,
    .state_max = distinct_max,
};
