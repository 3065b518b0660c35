/* wire: protobuf's wire format without its library: for bytes that are only looked through, or are too small or too
 * hostile for generated code. Groups, which proto3 does not have, are refused. */
#pragma once

#include "base/buf.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire_field {
	uint32_t number;
	enum wire_type type;
	uint64_t varint;  /* of WIRE_VARINT */
	struct str bytes; /* of all others; borrowed */
};

bool wire_take_varint(struct str *in, uint64_t *out);
/* The field that `in` begins with is taken off it. False: malformed. */
MUST_USE bool wire_take(struct str *in, struct wire_field *out);
/* The last value of a field, as protobuf has it for fields that are not repeated; empty or 0 when absent or malformed. */
struct str wire_find_bytes(struct str message, uint32_t number);
uint64_t wire_find_varint(struct str message, uint32_t number);

MUST_USE int wire_put_varint(struct buf *out, uint32_t number, uint64_t value);
MUST_USE int wire_put_bytes(struct buf *out, uint32_t number, struct str bytes);
