#include "base/json_mend.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/encode.h"

#define ESCAPE_LEN ((size_t)6) /* \uXXXX */

/* The copy being made; with `out` NULL only its length is counted. */
struct mender {
	struct str text;
	size_t at;
	char *out;
	size_t out_len;
	bool has_changed;
};

static void emit(struct mender *m, const char *text, size_t len)
{
	if (m->out) memcpy(m->out + m->out_len, text, len);
	m->out_len += len;
}

static void keep(struct mender *m, size_t len)
{
	emit(m, m->text.ptr + m->at, len);
	m->at += len;
}

/* The code unit of a \uXXXX escape at `at`, or 0. */
static uint16_t code_unit(struct str text, size_t at)
{
	uint8_t bytes[2];
	if (text.len < at || text.len - at < ESCAPE_LEN || memcmp(text.ptr + at, "\\u", 2) != 0) return 0;
	if (hex_decode(str_of(text.ptr + at + 2, 4), bytes, sizeof bytes) != OK) return 0;
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static bool is_high(uint16_t unit)
{
	return (unit & 0xfc00) == 0xd800;
}

static bool is_low(uint16_t unit)
{
	return (unit & 0xfc00) == 0xdc00;
}

static void mend_escape(struct mender *m)
{
	uint16_t unit = code_unit(m->text, m->at);
	if (is_high(unit) && is_low(code_unit(m->text, m->at + ESCAPE_LEN))) {
		keep(m, 2 * ESCAPE_LEN);
	} else if (is_high(unit) || is_low(unit)) {
		emit(m, "\\ufffd", ESCAPE_LEN);
		m->at += ESCAPE_LEN;
		m->has_changed = true;
	} else {
		size_t left = m->text.len - m->at;
		keep(m, left < 2 ? left : 2);
	}
}

static void mend_string(struct mender *m)
{
	keep(m, 1);
	while (m->at < m->text.len) {
		char c = m->text.ptr[m->at];
		if (c == '\\') {
			mend_escape(m);
			continue;
		}
		keep(m, 1);
		if (c == '"') return;
	}
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_in_number(char c)
{
	return is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* An integer that only a double can hold? */
static bool is_wide(struct str number)
{
	int64_t i;
	uint64_t u;
	if (number.len < 19) return false;
	for (size_t at = 1; at < number.len; at++)
		if (!is_digit(number.ptr[at])) return false;
	return str_to_i64(number, &i) != OK && str_to_u64(number, &u) != OK;
}

static void mend_number(struct mender *m)
{
	size_t end = m->at + 1;
	while (end < m->text.len && is_in_number(m->text.ptr[end])) end++;
	struct str number = str_of(m->text.ptr + m->at, end - m->at);
	keep(m, number.len);
	if (!is_wide(number)) return;
	emit(m, ".0", 2);
	m->has_changed = true;
}

static void mend(struct mender *m)
{
	m->at = m->out_len = 0;
	while (m->at < m->text.len) {
		char c = m->text.ptr[m->at];
		if (c == '"')
			mend_string(m);
		else if (c == '-' || is_digit(c))
			mend_number(m);
		else
			keep(m, 1);
	}
}

int json_mend(struct str text, char **copy, size_t *len)
{
	struct mender m = {.text = text};
	mend(&m);
	if (!m.has_changed) return ERR_NOT_FOUND;
	m.out = malloc(m.out_len + BUF_SLACK);
	if (!m.out) return ERR_NOMEM;
	mend(&m);
	memset(m.out + m.out_len, 0, BUF_SLACK);
	*copy = m.out;
	*len = m.out_len;
	return OK;
}
