#include "ingest/tcf.h"

#include "base/clock.h"

#define US_PER_DECISECOND (US_PER_SECOND / 10)

/* Six bits a character, most significant first; what lies beyond the end is bad. */
struct bits {
	struct str text;
	size_t at; /* in bits */
	bool is_bad;
};

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z') return c - 'A';
	if (c >= 'a' && c <= 'z') return c - 'a' + 26;
	if (c >= '0' && c <= '9') return c - '0' + 52;
	if (c == '-' || c == '+') return 62;
	return c == '_' || c == '/' ? 63 : -1;
}

static bool take_bit(struct bits *bits)
{
	size_t at = bits->at / 6;
	if (at >= bits->text.len) {
		bits->is_bad = true;
		return false;
	}
	int value = value_of(bits->text.ptr[at]);
	unsigned shift = 5 - (unsigned)(bits->at++ % 6);
	return (unsigned)value >> shift & 1;
}

static uint64_t take(struct bits *bits, unsigned count)
{
	uint64_t value = 0;
	while (count-- > 0) value = value << 1 | take_bit(bits);
	return value;
}

/* The first bit on the wire is item 1. */
static uint32_t take_set(struct bits *bits, unsigned count)
{
	uint32_t set = 0;
	for (unsigned i = 0; i < count; i++)
		if (take_bit(bits)) set |= UINT32_C(1) << i;
	return set;
}

static void take_letters(struct bits *bits, char out[3])
{
	for (size_t i = 0; i < 2; i++) {
		unsigned letter = (unsigned)take(bits, 6);
		if (letter > 25) bits->is_bad = true;
		out[i] = (char)('A' + letter % 26);
	}
	out[2] = '\0';
}

/* ── vendors ─────────────────────────────────────────────────────────────── */

static void mark(uint8_t *vendors, size_t from, size_t to)
{
	for (size_t id = from; id <= to; id++) vendors[id / 8] |= (uint8_t)(1u << id % 8);
}

static void take_ranges(struct bits *bits, size_t max, uint8_t *vendors)
{
	size_t count = (size_t)take(bits, 12);
	for (size_t i = 0; i < count && !bits->is_bad; i++) {
		bool is_range = take_bit(bits);
		size_t from = (size_t)take(bits, 16), to = is_range ? (size_t)take(bits, 16) : from;
		if (from == 0 || from > to || to > max) bits->is_bad = true;
		if (!bits->is_bad) mark(vendors, from, to);
	}
}

static void take_vendors(struct bits *bits, uint8_t *vendors)
{
	size_t max = (size_t)take(bits, 16);
	if (take_bit(bits)) {
		take_ranges(bits, max, vendors);
		return;
	}
	for (size_t id = 1; id <= max && !bits->is_bad; id++)
		if (take_bit(bits)) mark(vendors, id, id);
}

/* ── the whole ───────────────────────────────────────────────────────────── */

static struct str core_of(struct str text)
{
	const char *dot = memchr(text.ptr, '.', text.len);
	if (dot) text.len = (size_t)(dot - text.ptr);
	while (text.len && text.ptr[text.len - 1] == '=') text.len--;
	return text;
}

static void take_fields(struct bits *bits, struct tcf *out)
{
	out->created_us = (int64_t)take(bits, 36) * US_PER_DECISECOND;
	out->updated_us = (int64_t)take(bits, 36) * US_PER_DECISECOND;
	out->cmp_id = (uint16_t)take(bits, 12);
	out->cmp_version = (uint16_t)take(bits, 12);
	out->screen = (uint8_t)take(bits, 6);
	take_letters(bits, out->language);
	out->vendor_list_version = (uint16_t)take(bits, 12);
	out->policy_version = (uint8_t)take(bits, 6);
	out->is_service_specific = take_bit(bits);
	out->has_own_texts = take_bit(bits);
	out->special_features = (uint16_t)take_set(bits, 12);
	out->purposes = take_set(bits, TCF_PURPOSES);
	out->legitimate = take_set(bits, TCF_PURPOSES);
	out->is_purpose_one_special = take_bit(bits);
	take_letters(bits, out->publisher_country);
}

int tcf_read(struct str text, struct tcf *out)
{
	struct bits bits = {.text = core_of(text)};
	memset(out, 0, sizeof *out);
	if (text.len > TCF_TEXT_MAX) return ERR_TOO_LARGE;
	for (size_t i = 0; i < bits.text.len; i++)
		if (value_of(bits.text.ptr[i]) < 0) return ERR_INVALID;
	uint64_t version = take(&bits, 6);
	if (bits.is_bad) return ERR_INVALID;
	if (version != 2) return ERR_FORMAT;
	take_fields(&bits, out);
	take_vendors(&bits, out->vendors);
	take_vendors(&bits, out->vendors_legitimate);
	return bits.is_bad ? ERR_INVALID : OK;
}

static bool has_purpose(uint32_t set, unsigned purpose)
{
	return purpose >= 1 && purpose <= TCF_PURPOSES && (set >> (purpose - 1) & 1);
}

bool tcf_purpose(const struct tcf *tcf, unsigned purpose)
{
	return has_purpose(tcf->purposes, purpose);
}

bool tcf_purpose_legitimate(const struct tcf *tcf, unsigned purpose)
{
	return has_purpose(tcf->legitimate, purpose);
}

bool tcf_vendor(const struct tcf *tcf, uint16_t vendor)
{
	return tcf->vendors[vendor / 8] >> vendor % 8 & 1;
}

bool tcf_vendor_legitimate(const struct tcf *tcf, uint16_t vendor)
{
	return tcf->vendors_legitimate[vendor / 8] >> vendor % 8 & 1;
}
