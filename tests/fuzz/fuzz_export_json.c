// rooms: base
/* plugins/files looks into records: from any bytes nothing outside of them is read, and what is found lies inside; columns of every type take it or not. */
#include "../../plugins/files/columns.c"
#include "../../plugins/files/json.c"
#include "base/status.h"

const struct format format_avro = {.name = "avro"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

bool bytes_room(struct bytes *bytes, size_t len)
{
	CHECK(bytes->len + len <= bytes->size);
	return true;
}

static void check_inside(struct cdpd_str found, const char *from, size_t size)
{
	CHECK(found.ptr >= from && found.ptr + found.len <= from + size);
}

static void take(struct cdpd_str found, struct bytes *out)
{
	static char name[] = "x";
	for (enum column_type type = 0; type < TYPE_COUNT; type++) {
		const struct column column = {.name = name, .path = name, .type = type};
		const struct value value = {found, true};
		int64_t integer;
		double number = 0;
		out->len = 0;
		bool is_taken = column_text(&column, value, out);
		CHECK(is_taken || out->len == 0);
		if (type == TYPE_STRING || type == TYPE_JSON) continue;
		CHECK(is_taken == column_number(&column, value, &integer, &number));
		CHECK(!is_taken || isfinite(number));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = {"a", "type", "properties.total", "a.b.c", "a.b", ""};
	struct cdpd_str values[16], key, value;
	struct picker picker = {0};
	struct bytes out = {.size = size * 3 + 8};
	char *copy = malloc(size ? size : 1); /* exactly as long as it is, so that a step too far is seen */
	out.ptr = malloc(out.size);
	if (!copy || !out.ptr) return 0;
	memcpy(copy, data, size);
	const struct cdpd_str json = {copy, size};
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) CHECK(picker_add(&picker, paths[i]) > 0);
	CHECK(picker.count <= 16);
	picker_run(&picker, json, values);
	for (size_t i = 0; i < picker.count; i++) {
		if (!values[i].ptr) continue;
		check_inside(values[i], copy, size);
		take(values[i], &out);
	}
	for (size_t at = 0; json_next(json, &at, &key, &value);) {
		check_inside(key, copy, size);
		check_inside(value, copy, size);
		take(value, &out);
	}
	picker_free(&picker);
	free(copy);
	free(out.ptr);
	return 0;
}
