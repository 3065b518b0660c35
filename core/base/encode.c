#include "base/encode.h"

#define BAD 0xff

static uint8_t base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z') return (uint8_t)(c - 'A');
	if (c >= 'a' && c <= 'z') return (uint8_t)(c - 'a' + 26);
	if (c >= '0' && c <= '9') return (uint8_t)(c - '0' + 52);
	if (c == '+' || c == '-') return 62;
	if (c == '/' || c == '_') return 63;
	return BAD;
}

static int strip_padding(struct str *text)
{
	size_t padding = 0;
	while (padding < 2 && padding < text->len && text->ptr[text->len - 1 - padding] == '=') padding++;
	if (padding && text->len % 4 != 0) return ERR_INVALID;
	text->len -= padding;
	return text->len % 4 == 1 ? ERR_INVALID : OK;
}

int base64_decode(struct arena *arena, struct str text, struct str *out)
{
	if (strip_padding(&text) != OK) return ERR_INVALID;
	char *bytes = arena_alloc(arena, text.len / 4 * 3 + 3);
	if (!bytes) return ERR_NOMEM;
	uint32_t bits = 0;
	unsigned bit_count = 0;
	size_t len = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t digit = base64_digit(text.ptr[i]);
		if (digit == BAD) return ERR_INVALID;
		bits = bits << 6 | digit;
		bit_count += 6;
		if (bit_count >= 8) {
			bit_count -= 8;
			bytes[len++] = (char)(bits >> bit_count & 0xff);
		}
	}
	/* Left-over bits that are not zero would give one secret several spellings. */
	if (bits & ((1u << bit_count) - 1)) return ERR_INVALID;
	bytes[len] = '\0';
	*out = (struct str){bytes, len};
	return OK;
}

static size_t encode64(const char digits[64], const void *data, size_t len, char *out)
{
	const uint8_t *bytes = data;
	uint32_t bits = 0;
	unsigned bit_count = 0;
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		bits = bits << 8 | bytes[i];
		bit_count += 8;
		while (bit_count >= 6) {
			bit_count -= 6;
			out[n++] = digits[bits >> bit_count & 63];
		}
	}
	if (bit_count) out[n++] = digits[bits << (6 - bit_count) & 63];
	out[n] = '\0';
	return n;
}

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

size_t base64url_encode(const void *data, size_t len, char *out)
{
	return encode64(LETTERS_AND_DIGITS "-_", data, len, out);
}

size_t base64_encode(const void *data, size_t len, char *out)
{
	return encode64(LETTERS_AND_DIGITS "+/", data, len, out);
}

void hex_encode(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = data;
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * len] = '\0';
}

static uint8_t hex_digit(char c)
{
	if (c >= '0' && c <= '9') return (uint8_t)(c - '0');
	if (c >= 'a' && c <= 'f') return (uint8_t)(c - 'a' + 10);
	if (c >= 'A' && c <= 'F') return (uint8_t)(c - 'A' + 10);
	return BAD;
}

static int hex_byte(const char *digits, uint8_t *out)
{
	uint8_t high = hex_digit(digits[0]), low = hex_digit(digits[1]);
	if (high == BAD || low == BAD) return ERR_INVALID;
	*out = (uint8_t)(high << 4 | low);
	return OK;
}

int hex_decode(struct str text, void *out, size_t out_len)
{
	uint8_t *bytes = out;
	if (text.len % 2 != 0 || text.len / 2 != out_len) return ERR_INVALID;
	for (size_t i = 0; i < out_len; i++)
		if (hex_byte(text.ptr + 2 * i, &bytes[i]) != OK) return ERR_INVALID;
	return OK;
}

int percent_decode(struct arena *arena, struct str text, struct str *out)
{
	char *bytes = arena_alloc(arena, text.len + 1);
	if (!bytes) return ERR_NOMEM;
	size_t len = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t byte = (uint8_t)text.ptr[i];
		if (byte == '%') {
			if (text.len - i < 3 || hex_byte(text.ptr + i + 1, &byte) != OK) return ERR_INVALID;
			i += 2;
		}
		bytes[len++] = (char)byte;
	}
	bytes[len] = '\0';
	*out = (struct str){bytes, len};
	return OK;
}

bool utf8_is_valid(struct str text)
{
	for (size_t i = 0; i < text.len;) {
		if ((uint8_t)text.ptr[i] < 0x80) {
			i++;
			continue;
		}
		size_t len = utf8_sequence(text.ptr + i, text.len - i);
		if (len == 0) return false;
		i += len;
	}
	return true;
}

/* The second byte's range is what keeps out overlong forms, surrogates and what lies past U+10FFFF. */
size_t utf8_sequence(const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text;
	uint8_t low = 0x80, high = 0xbf;
	size_t need;
	if (len == 0) return 0;
	if (p[0] < 0x80) return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
	need = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0) low = 0xa0;
	if (p[0] == 0xed) high = 0x9f;
	if (p[0] == 0xf0) low = 0x90;
	if (p[0] == 0xf4) high = 0x8f;
	if (len < need || p[1] < low || p[1] > high) return 0;
	for (size_t i = 2; i < need; i++)
		if ((p[i] & 0xc0) != 0x80) return 0;
	return need;
}
