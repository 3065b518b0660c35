#include "base/base_test.h"
#include "base/wire.h"

static void test_round_trip(void **state)
{
	static const uint64_t numbers[] = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX};
	struct buf buf;
	(void)state;
	buf_init(&buf, 10000);
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		struct wire_field field;
		buf_clear(&buf);
		assert_ok(wire_put_varint(&buf, 536870911, numbers[i]));
		assert_ok(wire_put_bytes(&buf, 1, STR("text")));
		struct str rest = buf_str(&buf);
		assert_true(wire_take(&rest, &field));
		assert_int_equal(field.number, 536870911);
		assert_int_equal(field.type, WIRE_VARINT);
		assert_true(field.varint == numbers[i]);
		assert_true(wire_take(&rest, &field));
		assert_int_equal(field.number, 1);
		assert_str(field.bytes, "text");
		assert_int_equal(rest.len, 0);
	}
	buf_fini(&buf);
}

static void test_find(void **state)
{
	const struct str bytes = STR("\x08\x01\x12\x01"
				     "a\x08\x02\x12\x01"
				     "b");
	(void)state;
	assert_int_equal(wire_find_varint(bytes, 1), 2); /* the last one counts */
	assert_str(wire_find_bytes(bytes, 2), "b");
	assert_int_equal(wire_find_varint(bytes, 2), 0); /* another type */
	assert_int_equal(wire_find_bytes(bytes, 3).len, 0);
	assert_int_equal(wire_find_bytes(STR("\x12\x05"), 2).len, 0);
}

static void test_malformed(void **state)
{
	static const struct str cases[] = {
	    STR("\x08"),
	    STR("\x0a\x02x"),
	    STR("\x09"
		"1234567"),
	    STR("\x0d\x01"),
	    STR("\x0b"),
	    STR("\x0f"),
	    STR("\x01\x01"),
	    STR("\x80\x80\x80\x80\x80\x01\x01"),
	    STR("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct wire_field field;
		struct str rest = cases[i];
		assert_false(wire_take(&rest, &field));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_find),
	    cmocka_unit_test(test_malformed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
