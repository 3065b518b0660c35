#include "profile/feature_value.h"

#include <math.h>

#include "base/clock.h"
#include "base/hash.h"

/* Not secret, and never changed. */
static const struct hash_key label_key = {"cdpd label hash1"};

/* The double's exact value in units, rounded half-even: mantissa · 10⁶ · 2^exponent. */
static feature_int to_units(double number)
{
	int exponent;
	double fraction = frexp(fabs(number), &exponent);
	feature_uint units = (feature_uint)(uint64_t)ldexp(fraction, 53) * FEATURE_UNITS;
	exponent -= 53;
	if (exponent >= 0) {
		units <<= exponent;
	} else if (exponent < -100) {
		units = 0;
	} else {
		int shift = -exponent;
		feature_uint half = (feature_uint)1 << (shift - 1);
		feature_uint rest = units & ((half << 1) - 1);
		units >>= shift;
		if (rest > half || (rest == half && (units & 1))) units++;
	}
	return number < 0 ? -(feature_int)units : (feature_int)units;
}

bool feature_units(const struct cdpd_feature_input *input, feature_int *out)
{
	if (input->kind != CDPD_VALUE_NUMBER || !(fabs(input->number) <= FEATURE_INPUT_MAX)) return false;
	*out = to_units(input->number);
	return true;
}

feature_int feature_divide(feature_int numerator, feature_uint denominator)
{
	feature_uint magnitude = numerator < 0 ? -(feature_uint)numerator : (feature_uint)numerator;
	feature_uint quotient = magnitude / denominator, rest = magnitude % denominator;
	if (rest >= denominator - rest) quotient++;
	return numerator < 0 ? -(feature_int)quotient : (feature_int)quotient;
}

bool feature_label(const struct cdpd_feature_input *input, struct str *out)
{
	*out = (struct str){input->text.ptr, input->text.len};
	switch (input->kind) {
	case CDPD_VALUE_NUMBER: /* a text of digits comes quoted */
		if (out->len >= 2 && out->ptr[0] == '"') *out = (struct str){out->ptr + 1, out->len - 2};
		return true;
	case CDPD_VALUE_STRING:
	case CDPD_VALUE_BOOL: return true;
	case CDPD_VALUE_NONE:
	case CDPD_VALUE_JSON: break;
	}
	return false;
}

uint64_t feature_hash(struct str label)
{
	return hash64(&label_key, label.ptr, label.len);
}

/* ── writing ─────────────────────────────────────────────────────────────── */

int feature_out_len(const struct feature_out *out)
{
	return out->is_full ? -1 : (int)out->len;
}

void put_raw(struct feature_out *out, struct str text)
{
	if (out->is_full || text.len > out->size - out->len) {
		out->is_full = true;
		return;
	}
	memcpy(out->text + out->len, text.ptr, text.len);
	out->len += (uint32_t)text.len;
}

/* Writes digits that end before `at`; where they begin. */
static size_t write_digits(char *text, size_t at, uint64_t number)
{
	do {
		text[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	return at;
}

void put_fixed(struct feature_out *out, feature_int value, unsigned digits)
{
	char text[64];
	size_t at = sizeof text;
	feature_uint left = value < 0 ? -(feature_uint)value : (feature_uint)value;
	bool has_digits = false;
	for (unsigned i = 0; i < digits; i++) {
		unsigned digit;
		if (left <= UINT64_MAX) { /* the usual case: 128-bit division is slow */
			digit = (unsigned)((uint64_t)left % 10);
			left = (uint64_t)left / 10;
		} else {
			digit = (unsigned)(left % 10);
			left /= 10;
		}
		has_digits |= digit > 0;
		if (has_digits) text[--at] = (char)('0' + digit);
	}
	if (has_digits) text[--at] = '.';
	for (; left > UINT64_MAX; left /= 10) text[--at] = (char)('0' + (int)(left % 10));
	at = write_digits(text, at, (uint64_t)left);
	if (value < 0) text[--at] = '-';
	put_raw(out, (struct str){text + at, sizeof text - at});
}

void put_uint(struct feature_out *out, uint64_t value)
{
	if (value < 10) {
		put_char(out, (char)('0' + value));
		return;
	}
	char text[20];
	size_t at = write_digits(text, sizeof text, value);
	put_raw(out, (struct str){text + at, sizeof text - at});
}

void put_units(struct feature_out *out, feature_int units)
{
	put_fixed(out, units, 6);
}

void put_double(struct feature_out *out, double value, unsigned digits)
{
	double scale = 1;
	for (unsigned i = 0; i < digits; i++) scale *= 10;
	if (!(fabs(value) < 1e38))
		put_raw(out, STR("null"));
	else if (fabs(value) * scale < 1e37)
		put_fixed(out, (feature_int)(value * scale + (value < 0 ? -0.5 : 0.5)), digits);
	else
		put_fixed(out, (feature_int)value, 0);
}

void put_quoted(struct feature_out *out, struct str text)
{
	static const char hex[] = "0123456789abcdef";
	put_raw(out, STR("\""));
	for (size_t i = 0, start = 0; i <= text.len; i++) {
		unsigned char c = i < text.len ? (unsigned char)text.ptr[i] : '"';
		if (c != '"' && c != '\\' && c >= 0x20) continue;
		put_raw(out, (struct str){text.ptr + start, i - start});
		start = i + 1;
		if (i == text.len) break;
		char escape[] = {'\\', (char)c, '0', '0', hex[c >> 4], hex[c & 15]};
		if (c < 0x20) escape[1] = 'u';
		put_raw(out, (struct str){escape, c < 0x20 ? 6 : 2});
	}
	put_raw(out, STR("\""));
}

void put_time(struct feature_out *out, int64_t us)
{
	char text[CLOCK_TEXT_SIZE];
	size_t len = clock_format(us, text);
	put_raw(out, STR("\""));
	put_raw(out, (struct str){text, len});
	put_raw(out, STR("\""));
}
