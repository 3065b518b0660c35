#include "../base/base_test.h"
#include "grpc/text.h"

static void test_content_types(void **state)
{
	static const struct {
		const char *text;
		enum grpc_content want;
	} cases[] = {
	    {"application/grpc", GRPC_CONTENT_OK},
	    {"application/grpc+proto", GRPC_CONTENT_OK},
	    {"Application/GRPC+Proto; charset=utf-8", GRPC_CONTENT_OK},
	    {"application/grpc;x", GRPC_CONTENT_OK},
	    {"application/grpc+json", GRPC_CONTENT_OTHER},
	    {"application/grpcx", GRPC_CONTENT_OTHER},
	    {"application/json", GRPC_CONTENT_OTHER},
	    {"", GRPC_CONTENT_OTHER},
	    {"application/grpc-web", GRPC_CONTENT_WEB},
	    {"application/grpc-web+proto", GRPC_CONTENT_WEB},
	    {"application/grpc-web-text", GRPC_CONTENT_WEB},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_int_equal(grpc_content_type(str_from(cases[i].text)), cases[i].want);
}

static void test_te(void **state)
{
	(void)state;
	assert_true(grpc_te_has_trailers(STR("trailers")));
	assert_true(grpc_te_has_trailers(STR("gzip , Trailers")));
	assert_false(grpc_te_has_trailers(STR("")));
	assert_false(grpc_te_has_trailers(STR("trailersx")));
	assert_true(grpc_list_has(STR("identity,deflate, gzip"), STR("gzip")));
	assert_false(grpc_list_has(STR("identity,deflate"), STR("gzip")));
	assert_false(grpc_list_has(STR(",,"), STR("gzip")));
}

static void test_timeouts(void **state)
{
	static const struct {
		const char *text;
		int64_t us; /* -1: refused */
	} cases[] = {
	    {"1H", 3600000000},
	    {"2M", 120000000},
	    {"3S", 3000000},
	    {"4m", 4000},
	    {"5u", 5},
	    {"1n", 1},
	    {"1000n", 1},
	    {"1001n", 2},
	    {"0n", 0},
	    {"0S", 0},
	    {"99999999H", INT64_C(99999999) * 3600000000},
	    {"99999999n", 100000},
	    {"00000001S", 1000000},
	    {"100000000S", -1},
	    {"", -1},
	    {"S", -1},
	    {"5", -1},
	    {"5s", -1},
	    {"-1S", -1},
	    {"+1S", -1},
	    {" 1S", -1},
	    {"1S ", -1},
	    {"1.5S", -1},
	    {"1 S", -1},
	    {"0x1S", -1},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int64_t us = -1;
		int rc = grpc_timeout_parse(str_from(cases[i].text), &us);
		assert_int_equal(rc, cases[i].us < 0 ? ERR_INVALID : OK);
		assert_int_equal(us, cases[i].us);
	}
}

static void expect_message(struct str text, size_t max, const char *want)
{
	struct arena arena;
	struct str out;
	arena_init(&arena, 4096, 0);
	assert_ok(grpc_message_encode(&arena, text, max, &out));
	assert_true(str_eq(out, str_from(want)));
	arena_fini(&arena);
}

static void test_messages(void **state)
{
	(void)state;
	expect_message(STR(""), 100, "");
	expect_message(STR("plain ~ text"), 100, "plain ~ text");
	expect_message(STR("50%"), 100, "50%25");
	expect_message(STR("\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP \xf0\x9f\x98\x88\t\n"),
		       100, "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A");
	expect_message(STR("\x7f\0"), 100, "%7F%00");
	/* Cut before the character that does not fit. */
	expect_message(STR("ab\xe2\x98\xba"), 4, "ab");
	expect_message(STR("ab\xe2\x98\xba"), 5, "ab%E2%98%BA");
	expect_message(STR("abcdef"), 3, "abc");
	expect_message(STR("\x80\x80\x80\x80\x80\x80\x80\x80"), 6, "%80%80");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_content_types),
	    cmocka_unit_test(test_te),
	    cmocka_unit_test(test_timeouts),
	    cmocka_unit_test(test_messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
