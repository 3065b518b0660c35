/* feature_value: what feature types share: numbers as 128-bit multiples of 10⁻⁶, the text of a value that serves as a key, fixed
 * hashes, and writing a reading into a buffer of given size. Nothing here depends on locale, machine or run. */
#pragma once

#include "base/str.h"
#include "cdpd_plugin.h"

#define feature_int  __int128
#define feature_uint unsigned __int128

#define FEATURE_UNITS     1000000 /* per one */
#define FEATURE_INPUT_MAX 1e18

/* A number within ±10¹⁸ as units, rounded half-even. False: not a number, or beyond. */
bool feature_units(const struct cdpd_feature_input *input, feature_int *out);
/* numerator / denominator (> 0), rounded half away from zero. */
feature_int feature_divide(feature_int numerator, feature_uint denominator);

/* The value as a label: text as it is, numbers and booleans as JSON spells them ("42" and 42 are the same). False: there is none, or it is
 * an object or array. */
bool feature_label(const struct cdpd_feature_input *input, struct str *out);
/* The same everywhere and for ever: ranks of keys and distinct values hang on it. */
uint64_t feature_hash(struct str label);

static inline int64_t floor_div(int64_t a, int64_t b)
{
	int64_t quotient = a / b;
	return a % b < 0 ? quotient - 1 : quotient;
}

/* ── writing ─────────────────────────────────────────────────────────────── */

/* JSON text on its way; once something does not fit, nothing more is written. */
struct feature_out {
	char *text;
	uint32_t size, len;
	bool is_full;
};

static inline struct feature_out feature_out(char *text, uint32_t size)
{
	return (struct feature_out){text, size, 0, false};
}
int feature_out_len(const struct feature_out *out); /* what a type's read returns */
void put_raw(struct feature_out *out, struct str text);
static inline void put_char(struct feature_out *out, char c)
{
	if (out->is_full || out->len == out->size)
		out->is_full = true;
	else
		out->text[out->len++] = c;
}
void put_uint(struct feature_out *out, uint64_t value);
/* value · 10^-digits, without trailing zeroes. */
void put_fixed(struct feature_out *out, feature_int value, unsigned digits);
void put_units(struct feature_out *out, feature_int units);
/* To `digits` places after the point, or whole when it is large. Not finite: null. */
void put_double(struct feature_out *out, double value, unsigned digits);
void put_quoted(struct feature_out *out, struct str text); /* decoded UTF-8 */
void put_time(struct feature_out *out, int64_t us);
