#include "base/str.h"

#define NEAREST_MAX 64 /* longer words are no typing mistakes */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

int str_cmp(struct str a, struct str b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int order = memcmp(a.ptr, b.ptr, common);
	if (order) return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

bool str_eq_nocase(struct str a, struct str b)
{
	if (a.len != b.len) return false;
	for (size_t i = 0; i < a.len; i++)
		if (lower(a.ptr[i]) != lower(b.ptr[i])) return false;
	return true;
}

bool str_starts(struct str text, struct str prefix)
{
	return text.len >= prefix.len && memcmp(text.ptr, prefix.ptr, prefix.len) == 0;
}

struct str str_trim(struct str text)
{
	while (text.len && is_space(text.ptr[0])) text.ptr++, text.len--;
	while (text.len && is_space(text.ptr[text.len - 1])) text.len--;
	return text;
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;
	return ab < c ? ab : c;
}

/* Optimal string alignment: one insertion, removal, replacement or swap of neighbours costs 1. */
static size_t edit_distance(struct str a, struct str b)
{
	size_t rows[3][NEAREST_MAX + 1];
	size_t *before = rows[0], *last = rows[1], *row = rows[2];
	for (size_t j = 0; j <= b.len; j++) last[j] = before[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			char x = lower(a.ptr[i - 1]), y = lower(b.ptr[j - 1]);
			row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == lower(b.ptr[j - 2]) && y == lower(a.ptr[i - 2]))
				row[j] = min3(row[j], row[j], before[j - 2] + 1);
		}
		size_t *spare = before;
		before = last, last = row, row = spare;
	}
	return last[b.len];
}

const char *str_nearest(struct str word, const char *const *candidates, size_t count)
{
	const char *best = NULL;
	if (word.len == 0 || word.len > NEAREST_MAX) return NULL;
	size_t best_distance = word.len / 3 + 1; /* a third of it mistyped is still a likely mistake */
	if (word.len <= 2) best_distance = 1;
	for (size_t i = 0; i < count; i++) {
		struct str candidate = str_from(candidates[i]);
		if (candidate.len > NEAREST_MAX) continue;
		size_t distance = edit_distance(word, candidate);
		if (distance < best_distance || (distance == best_distance && !best && distance < candidate.len)) {
			best = candidates[i];
			best_distance = distance;
		}
	}
	return best;
}

int str_to_u64(struct str text, uint64_t *out)
{
	uint64_t value = 0;
	if (text.len == 0) return ERR_INVALID;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9') return ERR_INVALID;
		uint64_t digit = (uint64_t)(text.ptr[i] - '0');
		if (value > (UINT64_MAX - digit) / 10) return ERR_INVALID;
		value = value * 10 + digit;
	}
	*out = value;
	return OK;
}

int str_to_i64(struct str text, int64_t *out)
{
	uint64_t magnitude;
	bool is_negative = text.len && text.ptr[0] == '-';
	if (is_negative) text.ptr++, text.len--;
	if (str_to_u64(text, &magnitude) != OK) return ERR_INVALID;
	if (magnitude > (uint64_t)INT64_MAX + is_negative) return ERR_INVALID;
	*out = is_negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	return OK;
}

static size_t skip_digits(struct str text, size_t at)
{
	while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9') at++;
	return at;
}

bool str_is_number(struct str text)
{
	size_t at = text.len > 0 && text.ptr[0] == '-';
	size_t whole = skip_digits(text, at);
	if (whole == at || (text.ptr[at] == '0' && whole > at + 1)) return false;
	at = whole;
	if (at < text.len && text.ptr[at] == '.') {
		size_t fraction = skip_digits(text, at + 1);
		if (fraction == at + 1) return false;
		at = fraction;
	}
	if (at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
		at++;
		if (at < text.len && (text.ptr[at] == '+' || text.ptr[at] == '-')) at++;
		size_t exponent = skip_digits(text, at);
		if (exponent == at) return false;
		at = exponent;
	}
	return at == text.len;
}
