/* sealed: every value of this environment starts with the same eight bytes,
 *   format u8 · kind u8 · extra u16 · crc32c u32
 * and the crc covers the key and the value without itself: a torn, flipped or misplaced value is seen. */
#pragma once

#include "base/crc32c.h"
#include "base/str.h"

#define SEALED_FORMAT 1
#define SEALED_HEADER 8

struct sealed {
	uint8_t kind;
	uint16_t extra;
};

static inline uint32_t sealed_crc(struct str key, const char *value, size_t len)
{
	uint32_t crc = crc32c(0, key.ptr, key.len);
	crc = crc32c(crc, value, 4);
	return crc32c(crc, value + SEALED_HEADER, len - SEALED_HEADER);
}

/* Fills the first SEALED_HEADER bytes of `value`, whose rest is complete. */
static inline void sealed_close(struct str key, char *value, size_t len, struct sealed sealed)
{
	value[0] = SEALED_FORMAT;
	value[1] = (char)sealed.kind;
	memcpy(value + 2, &sealed.extra, sizeof sealed.extra);
	uint32_t crc = sealed_crc(key, value, len);
	memcpy(value + 4, &crc, sizeof crc);
}

/* ERR_FORMAT: from a newer cdpd; ERR_CORRUPT. */
MUST_USE static inline int sealed_open(struct str key, struct str value, struct sealed *out)
{
	uint32_t crc;
	if (value.len < SEALED_HEADER) return ERR_CORRUPT;
	if ((uint8_t)value.ptr[0] > SEALED_FORMAT) return ERR_FORMAT;
	memcpy(&crc, value.ptr + 4, sizeof crc);
	if (value.ptr[0] != SEALED_FORMAT || crc != sealed_crc(key, value.ptr, value.len)) return ERR_CORRUPT;
	out->kind = (uint8_t)value.ptr[1];
	memcpy(&out->extra, value.ptr + 2, sizeof out->extra);
	return OK;
}
