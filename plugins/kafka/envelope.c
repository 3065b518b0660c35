#include "envelope.h"

#include <string.h>

#include "../shared/records.h"

/* Protobuf's wire format: a key is the field's number and how its value is written. Without `out` it is only counted. */
struct wire {
	char *out;
	size_t len;
};

enum { AS_VARINT = 0, AS_BYTES = 2 };

static void put_varint(struct wire *wire, uint64_t value)
{
	do {
		unsigned char byte = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
		if (wire->out) wire->out[wire->len] = (char)byte;
		wire->len++;
		value >>= 7;
	} while (value);
}

/* What is empty or zero is not written. */
static void put_number(struct wire *wire, unsigned field, uint64_t value)
{
	if (value == 0) return;
	put_varint(wire, field << 3 | AS_VARINT);
	put_varint(wire, value);
}

static void put_bytes(struct wire *wire, unsigned field, struct cdpd_str bytes)
{
	if (bytes.len == 0) return;
	put_varint(wire, field << 3 | AS_BYTES);
	put_varint(wire, bytes.len);
	if (wire->out) memcpy(wire->out + wire->len, bytes.ptr, bytes.len);
	wire->len += bytes.len;
}

static size_t write(const struct cdpd_record *record, char *out)
{
	struct wire wire = {.out = out};
	put_number(&wire, 1, record->kind);
	put_bytes(&wire, 2, record_member(record->json, "type"));
	put_bytes(&wire, 3, record->delivery_id);
	put_bytes(&wire, 4, record->position);
	put_bytes(&wire, 5, record->message_id);
	put_bytes(&wire, 6, record->profile_id);
	put_number(&wire, 7, record_is_gone(record));
	put_bytes(&wire, 8, record->other_id);
	put_number(&wire, 9, (uint64_t)record->time_us);
	put_bytes(&wire, 10, record->json);
	return wire.len;
}

size_t envelope_size(const struct cdpd_record *record)
{
	return write(record, NULL);
}

void envelope_write(const struct cdpd_record *record, char *out)
{
	(void)write(record, out);
}
