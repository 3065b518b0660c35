#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "event/record.h"

struct bytes {
	char data[256];
	size_t len;
};

static void make(struct bytes *out, enum record_kind kind, int64_t t, struct str payload)
{
	record_header_write(out->data, kind, 0, t, payload);
	memcpy(out->data + RECORD_HEADER_SIZE, payload.ptr, payload.len);
	out->len = RECORD_HEADER_SIZE + payload.len;
}

static int read(const struct bytes *bytes, struct record *out)
{
	return record_read(str_of(bytes->data, bytes->len), 42, out);
}

/* What another writer would have left: the checksum is right, whatever the header says. */
static void resign(struct bytes *bytes)
{
	uint32_t crc = crc32c(0, bytes->data, 4);
	crc = crc32c(crc, bytes->data + 8, bytes->len - 8);
	memcpy(bytes->data + 4, &crc, sizeof crc);
}

static void every_kind_comes_back(void **state)
{
	(void)state;
	for (int kind = 1; kind <= RECORD_KIND_MAX; kind++) {
		struct bytes bytes;
		struct record record;
		make(&bytes, (enum record_kind)kind, INT64_C(-1234567890123), STR("a payload\0with a NUL"));
		assert_int_equal(read(&bytes, &record), OK);
		assert_int_equal(record.kind, kind);
		assert_true(record.t == INT64_C(-1234567890123));
		assert_true(record.seq == 42);
		assert_int_equal(record.flags, 0);
		assert_true(str_eq(record.payload, STR("a payload\0with a NUL")));
		assert_string_not_equal(record_kind_name(record.kind), "unknown");
	}
	assert_string_equal(record_kind_name((enum record_kind)0), "unknown");
	assert_string_equal(record_kind_name((enum record_kind)(RECORD_KIND_MAX + 1)), "unknown");
}

static void an_empty_payload_is_a_record(void **state)
{
	(void)state;
	struct bytes bytes;
	struct record record;
	make(&bytes, RECORD_TICK, 7, STR_NONE);
	assert_int_equal(read(&bytes, &record), OK);
	assert_int_equal(record.payload.len, 0);
}

static void the_layout_is_the_documented_one(void **state)
{
	(void)state;
	struct bytes bytes;
	make(&bytes, RECORD_MERGE, 0x0102030405060708, STR("x"));
	static const char expected[] = {RECORD_FORMAT, RECORD_MERGE, 0, 0};
	static const char t[] = {8, 7, 6, 5, 4, 3, 2, 1};
	assert_memory_equal(bytes.data, expected, sizeof expected);
	assert_memory_equal(bytes.data + 8, t, sizeof t);
	uint32_t crc = crc32c(crc32c(0, bytes.data, 4), bytes.data + 8, bytes.len - 8), stored;
	memcpy(&stored, bytes.data + 4, sizeof stored);
	assert_true(stored == crc);
}

static void every_flipped_bit_is_found(void **state)
{
	(void)state;
	struct bytes good, bad;
	struct record record;
	make(&good, RECORD_EVENT, 1111, STR("payload"));
	for (size_t at = 0; at < good.len; at++) {
		for (int bit = 0; bit < 8; bit++) {
			bad = good;
			bad.data[at] = (char)(bad.data[at] ^ (1 << bit));
			assert_int_equal(read(&bad, &record), ERR_CORRUPT);
		}
	}
}

static void every_cut_is_found(void **state)
{
	(void)state;
	struct bytes bytes;
	struct record record;
	make(&bytes, RECORD_EVENT, 1111, STR("payload"));
	while (bytes.len-- > 0) assert_int_equal(read(&bytes, &record), ERR_CORRUPT);
}

static void the_future_is_refused(void **state)
{
	(void)state;
	struct bytes bytes;
	struct record record;
	make(&bytes, RECORD_EVENT, 1, STR("payload"));
	bytes.data[0] = RECORD_FORMAT + 1;
	resign(&bytes);
	assert_int_equal(read(&bytes, &record), ERR_FORMAT);
	bytes.data[0] = RECORD_FORMAT;
	bytes.data[1] = RECORD_KIND_MAX + 1;
	resign(&bytes);
	assert_int_equal(read(&bytes, &record), ERR_FORMAT);
	bytes.data[1] = RECORD_EVENT;
	bytes.data[3] = 1; /* a flag nobody has defined yet */
	resign(&bytes);
	assert_int_equal(read(&bytes, &record), ERR_FORMAT);
	bytes.data[3] = 0;
	bytes.data[0] = 0;
	resign(&bytes);
	assert_int_equal(read(&bytes, &record), ERR_CORRUPT);
	bytes.data[0] = RECORD_FORMAT;
	resign(&bytes);
	assert_int_equal(read(&bytes, &record), OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_kind_comes_back),
	    cmocka_unit_test(an_empty_payload_is_a_record),
	    cmocka_unit_test(the_layout_is_the_documented_one),
	    cmocka_unit_test(every_flipped_bit_is_found),
	    cmocka_unit_test(every_cut_is_found),
	    cmocka_unit_test(the_future_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
