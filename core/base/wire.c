#include "base/wire.h"

#define VARINT_MAX 10

bool wire_take_varint(struct str *in, uint64_t *out)
{
	uint64_t value = 0;
	for (size_t i = 0; i < VARINT_MAX && i < in->len; i++) {
		uint8_t byte = (uint8_t)in->ptr[i];
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte & 0x80) continue;
		*in = str_of(in->ptr + i + 1, in->len - i - 1);
		*out = value;
		return true;
	}
	return false;
}

static bool take_bytes(struct str *in, uint64_t len, struct str *out)
{
	if (len > in->len) return false;
	*out = str_of(in->ptr, (size_t)len);
	*in = str_of(in->ptr + len, in->len - (size_t)len);
	return true;
}

bool wire_take(struct str *in, struct wire_field *out)
{
	uint64_t tag, len;
	*out = (struct wire_field){.bytes = STR_NONE};
	if (!wire_take_varint(in, &tag) || tag >> 3 == 0 || tag > UINT32_MAX) return false;
	out->number = (uint32_t)(tag >> 3);
	out->type = (enum wire_type)(tag & 7);
	switch (out->type) {
	case WIRE_VARINT: return wire_take_varint(in, &out->varint);
	case WIRE_FIXED64: return take_bytes(in, 8, &out->bytes);
	case WIRE_FIXED32: return take_bytes(in, 4, &out->bytes);
	case WIRE_BYTES: return wire_take_varint(in, &len) && take_bytes(in, len, &out->bytes);
	default: return false;
	}
}

static bool find(struct str message, uint32_t number, enum wire_type type, struct wire_field *out)
{
	struct wire_field field;
	bool is_found = false;
	while (message.len && wire_take(&message, &field)) {
		if (field.number != number || field.type != type) continue;
		*out = field;
		is_found = true;
	}
	return is_found;
}

struct str wire_find_bytes(struct str message, uint32_t number)
{
	struct wire_field field;
	return find(message, number, WIRE_BYTES, &field) ? field.bytes : STR_NONE;
}

uint64_t wire_find_varint(struct str message, uint32_t number)
{
	struct wire_field field;
	return find(message, number, WIRE_VARINT, &field) ? field.varint : 0;
}

static size_t format_varint(uint64_t value, char out[VARINT_MAX])
{
	size_t len = 0;
	for (; value >= 0x80; value >>= 7) out[len++] = (char)(value | 0x80);
	out[len++] = (char)value;
	return len;
}

static int put_head(struct buf *out, uint32_t number, enum wire_type type, uint64_t value)
{
	char bytes[2 * VARINT_MAX];
	size_t len = format_varint((uint64_t)number << 3 | type, bytes);
	len += format_varint(value, bytes + len);
	return buf_append(out, bytes, len);
}

int wire_put_varint(struct buf *out, uint32_t number, uint64_t value)
{
	return put_head(out, number, WIRE_VARINT, value);
}

int wire_put_bytes(struct buf *out, uint32_t number, struct str bytes)
{
	int rc = put_head(out, number, WIRE_BYTES, bytes.len);
	return rc == OK ? buf_append_str(out, bytes) : rc;
}
