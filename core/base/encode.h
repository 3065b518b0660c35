/* encode: base64, base64url, hex, percent-decoding, big-endian integers, UTF-8 checks. */
#pragma once

#include "base/arena.h"

/* Standard or URL-safe alphabet, padded or not, no white space. ERR_INVALID else. */
MUST_USE int base64_decode(struct arena *arena, struct str text, struct str *out);
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)
/* URL-safe, unpadded, NUL-terminated; returns the length. `out` holds BASE64_SIZE(len). */
size_t base64url_encode(const void *data, size_t len, char *out);
/* The same with the standard alphabet, unpadded too: what gRPC's "-bin" metadata wants. */
size_t base64_encode(const void *data, size_t len, char *out);
/* Lower-case, NUL-terminated; `out` holds 2 * len + 1. */
void hex_encode(const void *data, size_t len, char *out);
MUST_USE int hex_decode(struct str text, void *out, size_t out_len); /* exactly 2 * out_len digits */
/* %XX only ('+' stays); ERR_INVALID on a broken escape. */
MUST_USE int percent_decode(struct arena *arena, struct str text, struct str *out);
bool utf8_is_valid(struct str text);
/* Bytes of the one well-formed UTF-8 sequence that `text` begins with; 0 when there is none. */
size_t utf8_sequence(const char *text, size_t len);

static inline void put_be64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8) p[i] = (uint8_t)v;
}
static inline uint64_t get_be64(const uint8_t *p)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++) v = v << 8 | p[i];
	return v;
}
static inline void put_be32(uint8_t *p, uint32_t v)
{
	for (int i = 3; i >= 0; i--, v >>= 8) p[i] = (uint8_t)v;
}
static inline uint32_t get_be32(const uint8_t *p)
{
	uint32_t v = 0;
	for (int i = 0; i < 4; i++) v = v << 8 | p[i];
	return v;
}
