#include "base/base_test.h"

static void status_has_a_phrase_for_every_code(void **state)
{
	(void)state;
	assert_string_equal(status_str(OK), "success");
	for (int code = ERR_REFUSED; code <= OK; code++) {
		assert_non_null(status_str(code));
		assert_string_not_equal(status_str(code), "unknown status");
	}
	assert_string_equal(status_str(1), "unknown status");
	assert_string_equal(status_str(ERR_REFUSED - 1), "unknown status");
	assert_string_equal(status_str(INT32_MIN + 1), "unknown status");
}

static void cmp_orders_by_bytes_then_length(void **state)
{
	(void)state;
	assert_true(str_cmp(STR("a"), STR("b")) < 0);
	assert_true(str_cmp(STR("ab"), STR("a")) > 0);
	assert_true(str_cmp(STR_NONE, STR("a")) < 0);
	assert_int_equal(str_cmp(STR("abc"), STR("abc")), 0);
	assert_true(str_cmp(STR("\xff"), STR("a")) > 0); /* bytes are unsigned */
	assert_true(str_cmp(str_of("a\0b", 3), str_of("a\0c", 3)) < 0);
}

static void nocase_knows_ascii_only(void **state)
{
	(void)state;
	assert_true(str_eq_nocase(STR("Content-TYPE"), STR("content-type")));
	assert_false(str_eq_nocase(STR("a["), STR("a{")));
	assert_false(str_eq_nocase(STR("@"), STR("`")));
	assert_false(str_eq_nocase(STR("a"), STR("ab")));
}

static void starts_and_trim(void **state)
{
	(void)state;
	assert_true(str_starts(STR("traits.email"), STR("traits.")));
	assert_true(str_starts(STR("a"), STR_NONE));
	assert_false(str_starts(STR("a"), STR("ab")));
	assert_str(str_trim(STR(" \t\r\na b\v\f ")), "a b");
	assert_str(str_trim(STR("   ")), "");
	assert_int_equal(str_from(NULL).len, 0);
	assert_non_null(str_from(NULL).ptr);
	assert_non_null(str_of(NULL, 0).ptr);
}

static void nearest_finds_likely_mistakes_only(void **state)
{
	static const char *const words[] = {"retries", "timeout", "url", "headers", "io_threads"};
	(void)state;
	assert_string_equal(str_nearest(STR("retires"), words, COUNT_OF(words)), "retries");
	assert_string_equal(str_nearest(STR("TIMEOUT"), words, COUNT_OF(words)), "timeout");
	assert_string_equal(str_nearest(STR("timeouts"), words, COUNT_OF(words)), "timeout");
	assert_string_equal(str_nearest(STR("uri"), words, COUNT_OF(words)), "url");
	assert_string_equal(str_nearest(STR("iothreads"), words, COUNT_OF(words)), "io_threads");
	assert_null(str_nearest(STR("banana"), words, COUNT_OF(words)));
	assert_null(str_nearest(STR("x"), words, COUNT_OF(words)));
	assert_null(str_nearest(STR_NONE, words, COUNT_OF(words)));
	assert_null(str_nearest(STR("url"), words, 0));
	char endless[1000];
	memset(endless, 'a', sizeof endless);
	assert_null(str_nearest(str_of(endless, sizeof endless), words, COUNT_OF(words)));
}

static void numbers_are_strict(void **state)
{
	static const char *const bad[] = {
	    "", "-", "+1", " 1", "1 ", "0x1", "1.0", "18446744073709551616", "99999999999999999999"};
	uint64_t u = 7;
	int64_t i = 7;
	(void)state;
	for (size_t n = 0; n < COUNT_OF(bad); n++) {
		assert_int_equal(str_to_u64(str_from(bad[n]), &u), ERR_INVALID);
		assert_int_equal(str_to_i64(str_from(bad[n]), &i), ERR_INVALID);
	}
	assert_int_equal(str_to_u64(STR("-1"), &u), ERR_INVALID);
	assert_int_equal(str_to_i64(STR("--1"), &i), ERR_INVALID);
	assert_int_equal(str_to_i64(STR("9223372036854775808"), &i), ERR_INVALID);
	assert_int_equal(str_to_i64(STR("-9223372036854775809"), &i), ERR_INVALID);
	assert_int_equal(u, 7);
	assert_int_equal(i, 7);
	assert_ok(str_to_u64(STR("18446744073709551615"), &u));
	assert_true(u == UINT64_MAX);
	assert_ok(str_to_i64(STR("-9223372036854775808"), &i));
	assert_true(i == INT64_MIN);
	assert_ok(str_to_i64(STR("9223372036854775807"), &i));
	assert_true(i == INT64_MAX);
}

static void test_is_number(void **state)
{
	static const char *const numbers[] = {"0", "-0", "7", "-12", "0.5", "1e9", "1E+9", "2.50e-3", "10"};
	static const char *const others[] = {"",   "-",  "007", "1.",  ".5",  "1e",    "1e+",
					     "+1", "1 ", " 1",  "0x1", "NaN", "1.5.2", "--1"};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(numbers); i++) assert_true(str_is_number(str_from(numbers[i])));
	for (size_t i = 0; i < COUNT_OF(others); i++) assert_false(str_is_number(str_from(others[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_is_number),
	    cmocka_unit_test(status_has_a_phrase_for_every_code),
	    cmocka_unit_test(cmp_orders_by_bytes_then_length),
	    cmocka_unit_test(nocase_knows_ascii_only),
	    cmocka_unit_test(starts_and_trim),
	    cmocka_unit_test(nearest_finds_likely_mistakes_only),
	    cmocka_unit_test(numbers_are_strict),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
