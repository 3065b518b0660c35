/* wire: writing and reading the bytes of a row. Integers are little endian, lengths and counts are varints
 * (LEB128). The writer's caller has made room; the reader checks every step and remembers the first failure. */
#pragma once

#include "base/str.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored integers are copied as they lie in memory");

#define WIRE_VARINT_MAX ((size_t)10)

static inline uint8_t *wire_put(uint8_t *at, const void *data, size_t len)
{
	memcpy(at, data, len);
	return at + len;
}

static inline uint8_t *wire_put_u64(uint8_t *at, uint64_t value)
{
	return wire_put(at, &value, sizeof value);
}

static inline uint8_t *wire_put_varint(uint8_t *at, uint64_t value)
{
	while (value >= 0x80) {
		*at++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*at++ = (uint8_t)value;
	return at;
}

static inline uint8_t *wire_put_str(uint8_t *at, struct str text)
{
	at = wire_put_varint(at, text.len);
	return wire_put(at, text.ptr, text.len);
}

struct wire_in {
	const uint8_t *at, *end;
	bool is_bad;
};

static inline struct wire_in wire_in(struct str bytes)
{
	const uint8_t *at = (const uint8_t *)bytes.ptr;
	return (struct wire_in){at, at + bytes.len, false};
}

/* `len` bytes, borrowed; NULL (and bad) when they are not there. */
static inline const uint8_t *wire_take(struct wire_in *in, uint64_t len)
{
	if (in->is_bad || len > (uint64_t)(in->end - in->at)) {
		in->is_bad = true;
		return NULL;
	}
	const uint8_t *bytes = in->at;
	in->at += len;
	return bytes;
}

static inline void wire_copy(struct wire_in *in, void *out, size_t len)
{
	const uint8_t *bytes = wire_take(in, len);
	if (bytes)
		memcpy(out, bytes, len);
	else
		memset(out, 0, len);
}

static inline uint64_t wire_u64(struct wire_in *in)
{
	uint64_t value;
	wire_copy(in, &value, sizeof value);
	return value;
}

static inline uint8_t wire_u8(struct wire_in *in)
{
	const uint8_t *byte = wire_take(in, 1);
	return byte ? *byte : 0;
}

static inline uint64_t wire_varint(struct wire_in *in)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		const uint8_t *byte = wire_take(in, 1);
		if (!byte) return 0;
		value |= (uint64_t)(*byte & 0x7f) << shift;
		if (!(*byte & 0x80)) return value;
	}
	in->is_bad = true;
	return 0;
}

/* A count of items that take at least `item_min` bytes each: more than the bytes left can hold is bad. */
static inline size_t wire_count(struct wire_in *in, size_t item_min)
{
	uint64_t count = wire_varint(in);
	if (!in->is_bad && count <= (uint64_t)(in->end - in->at) / item_min) return (size_t)count;
	in->is_bad = true;
	return 0;
}

static inline struct str wire_str(struct wire_in *in)
{
	uint64_t len = wire_varint(in);
	const uint8_t *bytes = wire_take(in, len);
	return bytes ? (struct str){(const char *)bytes, (size_t)len} : STR_NONE;
}
