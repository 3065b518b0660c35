/* Avro object container files, specification 1.11: a header with the schema, then one block for each batch. */
#include "files.h"

static void add_long(struct bytes *out, int64_t value)
{
	unsigned char text[10];
	size_t len = 0;
	uint64_t left = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
	do {
		text[len++] = (unsigned char)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
		left >>= 7;
	} while (left);
	bytes_add(out, text, len);
}

static void add_bytes(struct bytes *out, const void *ptr, size_t len)
{
	add_long(out, (int64_t)len);
	bytes_add(out, ptr, len);
}

static void add_schema(const struct files *self, struct bytes *out)
{
	bytes_text(out, "{\"type\":\"record\",\"name\":\"Record\",\"namespace\":\"cdpd\",\"fields\":[");
	for (size_t i = 0; i < self->column_count; i++) {
		bytes_text(out, "{\"name\":\"");
		bytes_text(out, self->columns[i].name); /* letters, digits and '_': checked */
		bytes_text(out, "\",\"type\":[\"null\",\"string\"]},");
	}
	bytes_text(out, "{\"name\":\"time\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},"
			"{\"name\":\"json\",\"type\":\"string\"}]}");
}

static void avro_header(const struct files *self, struct bytes *out)
{
	struct bytes schema = {0};
	add_schema(self, &schema);
	bytes_add(out, "Obj\1", 4);
	add_long(out, 2);
	add_bytes(out, "avro.codec", 10);
	add_bytes(out, "null", 4);
	add_bytes(out, "avro.schema", 11);
	add_bytes(out, schema.ptr, schema.len);
	add_long(out, 0);
	bytes_add(out, self->next.sync, SYNC_SIZE);
	out->has_failed |= schema.has_failed;
	bytes_free(&schema);
}

static bool avro_record(const struct files *self, const struct cdpd_record *record, struct bytes *out)
{
	struct bytes value = {0};
	for (size_t i = 0; i < self->column_count; i++) {
		value.len = 0;
		bool is_there = column_value(&self->columns[i], record, &value);
		add_long(out, is_there); /* which branch of the union */
		if (is_there) add_bytes(out, value.ptr, value.len);
	}
	add_long(out, record->time_us);
	add_bytes(out, record->json.ptr, record->json.len);
	out->has_failed |= value.has_failed;
	bytes_free(&value);
	return true;
}

static void avro_block(const struct files *self, const struct bytes *records, uint64_t count, struct bytes *out)
{
	add_long(out, (int64_t)count);
	add_bytes(out, records->ptr, records->len);
	bytes_add(out, self->next.sync, SYNC_SIZE);
}

const struct format format_avro = {.name = "avro", .header = avro_header, .record = avro_record, .block = avro_block};
