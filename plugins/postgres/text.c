#include "text.h"

#include <stdbool.h>
#include <string.h>

#define ESCAPE_LEN 6 /* \uXXXX */

/* The code of the \uXXXX at `at`, -1: there is none. */
static int escape_at(const char *at, const char *end)
{
	int code = 0;
	if (end - at < ESCAPE_LEN || at[0] != '\\' || at[1] != 'u') return -1;
	for (int i = 2; i < ESCAPE_LEN; i++) {
		static const char digits[] = "0123456789abcdefABCDEF";
		const char *digit = at[i] ? strchr(digits, at[i]) : NULL;
		if (!digit) return -1;
		int value = (int)(digit - digits);
		code = code * 16 + (value < 16 ? value : value - 6);
	}
	return code;
}

static bool is_high(int code)
{
	return code >= 0xd800 && code <= 0xdbff;
}

static bool is_low(int code)
{
	return code >= 0xdc00 && code <= 0xdfff;
}

size_t text_mend_json(char *json, size_t len)
{
	size_t mended = 0;
	char *end = json + len, *at = json;
	while (at < end && (at = memchr(at, '\\', (size_t)(end - at)))) {
		int code = escape_at(at, end);
		if (code < 0) {
			at += end - at < 2 ? 1 : 2; /* the escaped character may itself be a backslash */
			continue;
		}
		if (is_high(code) && is_low(escape_at(at + ESCAPE_LEN, end))) {
			at += (size_t)2 * ESCAPE_LEN;
			continue;
		}
		if (code == 0 || is_high(code) || is_low(code)) {
			memcpy(at + 2, "fffd", 4);
			mended++;
		}
		at += ESCAPE_LEN;
	}
	return mended;
}

size_t text_mend_nul(const char *text, size_t len, char *out)
{
	size_t made = 0;
	for (size_t i = 0; i < len; i++) {
		size_t bytes = text[i] ? 1 : 3;
		if (out) memcpy(out + made, text[i] ? &text[i] : "\xef\xbf\xbd", bytes);
		made += bytes;
	}
	return made;
}
