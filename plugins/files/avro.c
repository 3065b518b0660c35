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

/* Besides its columns a record says its time and is there whole; a feature's row is its columns. */
static bool has_record(const struct output *output)
{
	return output->kind != OUT_FEATURES;
}

static void add_schema(const struct output *output, struct bytes *out)
{
	static const char *const types[TYPE_COUNT] = {
	    [TYPE_STRING] = "\"string\"",
	    [TYPE_LONG] = "\"long\"",
	    [TYPE_DOUBLE] = "\"double\"",
	    [TYPE_BOOLEAN] = "\"boolean\"",
	    [TYPE_TIMESTAMP] = "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}",
	    [TYPE_JSON] = "\"string\"",
	};
	bytes_text(out, "{\"type\":\"record\",\"name\":\"Record\",\"namespace\":\"cdpd\",\"fields\":[");
	for (size_t i = 0; i < output->column_count; i++) {
		bytes_text(out, i ? ",{\"name\":\"" : "{\"name\":\"");
		bytes_text(out, output->columns[i].name); /* letters, digits and '_': checked */
		bytes_text(out, "\",\"type\":[\"null\",");
		bytes_text(out, types[output->columns[i].type]);
		bytes_text(out, "]}");
	}
	if (has_record(output))
		bytes_text(out,
			   ",{\"name\":\"time\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},"
			   "{\"name\":\"json\",\"type\":\"string\"}");
	bytes_text(out, "]}");
}

static void avro_header(const struct output *output, struct bytes *out)
{
	struct bytes schema = {0};
	add_schema(output, &schema);
	bytes_add(out, "Obj\1", 4);
	add_long(out, 2);
	add_bytes(out, "avro.codec", 10);
	add_bytes(out, "null", 4);
	add_bytes(out, "avro.schema", 11);
	add_bytes(out, schema.ptr, schema.len);
	add_long(out, 0);
	bytes_add(out, output->next.sync, SYNC_SIZE);
	out->has_failed |= schema.has_failed;
	bytes_free(&schema);
}

/* Little-endian, as the machine keeps it. */
static void add_double(struct bytes *out, double number)
{
	_Static_assert(sizeof number == 8 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "as Avro wants it");
	bytes_add(out, &number, sizeof number);
}

/* The union's second branch, or its first, which is null. */
static bool add_value(struct output *output, const struct column *column, struct value value, struct bytes *out)
{
	int64_t integer = 0;
	double number = 0;
	if (column->type == TYPE_STRING || column->type == TYPE_JSON) {
		output->cell.len = 0;
		if (!column_text(column, value, &output->cell)) return false;
		add_long(out, 1);
		add_bytes(out, output->cell.ptr, output->cell.len);
		out->has_failed |= output->cell.has_failed;
		return true;
	}
	if (!column_number(column, value, &integer, &number)) return false;
	add_long(out, 1);
	if (column->type == TYPE_DOUBLE)
		add_double(out, number);
	else if (column->type == TYPE_BOOLEAN)
		bytes_add(out, integer ? "\1" : "\0", 1);
	else
		add_long(out, integer);
	return true;
}

static bool avro_row(struct output *output, const struct cdpd_record *record, const struct value *values,
		     struct bytes *out)
{
	for (size_t i = 0; i < output->column_count; i++) {
		if (add_value(output, &output->columns[i], values[i], out)) continue;
		add_long(out, 0);
		output->mismatches += !value_is_absent(values[i]);
	}
	if (has_record(output)) {
		add_long(out, record->time_us);
		add_bytes(out, record->json.ptr, record->json.len);
	}
	return true;
}

static void avro_block(const struct output *output, const struct bytes *rows, uint64_t count, struct bytes *out)
{
	add_long(out, (int64_t)count);
	add_bytes(out, rows->ptr, rows->len);
	bytes_add(out, output->next.sync, SYNC_SIZE);
}

const struct format format_avro = {.name = "avro", .header = avro_header, .row = avro_row, .block = avro_block};
