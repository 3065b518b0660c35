#include "base/base_test.h"
#include "base/encode.h"

static struct arena arena;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 4096, 1 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

static void base64_reads_both_alphabets(void **state)
{
	static const struct {
		const char *text, *bytes;
	} cases[] = {
	    {"", ""},
	    {"Zg==", "f"},
	    {"Zg", "f"},
	    {"Zm8=", "fo"},
	    {"Zm9v", "foo"},
	    {"Zm9vYg==", "foob"},
	    {"Zm9vYmFy", "foobar"},
	    {"+/+/", "\xfb\xff\xbf"},
	    {"-_-_", "\xfb\xff\xbf"},
	    {"ZGVtby13cml0ZS1rZXk6", "demo-write-key:"},
	};
	struct str out;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		assert_ok(base64_decode(&arena, str_from(cases[i].text), &out));
		assert_str(out, cases[i].bytes);
	}
}

static void base64_refuses_the_rest(void **state)
{
	static const char *const cases[] = {
	    "Z",     "Zg=",   "Zg===", "=",    "====", "Z===",  "Zm9v\n",   " Zm9v",
	    "Zm9v ", "Zm 9v", "Zm9*",  "Zh==", "Zm9=", "Zm9vY", "Zg==Zg==", "\xc3\xa9zz"};
	struct str out;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		if (base64_decode(&arena, str_from(cases[i]), &out) != ERR_INVALID) fail_msg("accepted: %s", cases[i]);
}

static void base64_round_trips(void **state)
{
	uint8_t bytes[64];
	char text[BASE64_SIZE(sizeof bytes)];
	struct str out;
	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 167 + 250);
	for (size_t len = 0; len <= sizeof bytes; len++) {
		size_t text_len = base64url_encode(bytes, len, text);
		assert_int_equal(text_len, strlen(text));
		assert_null(strpbrk(text, "+/="));
		assert_ok(base64_decode(&arena, str_of(text, text_len), &out));
		assert_int_equal(out.len, len);
		assert_memory_equal(out.ptr, bytes, len);
		text_len = base64_encode(bytes, len, text);
		assert_int_equal(text_len, strlen(text));
		assert_null(strpbrk(text, "-_="));
		assert_ok(base64_decode(&arena, str_of(text, text_len), &out));
		assert_int_equal(out.len, len);
		assert_memory_equal(out.ptr, bytes, len);
	}
}

static void capped_arena_is_an_ordinary_error(void **state)
{
	struct arena small;
	struct str out;
	static char text[4000];
	(void)state;
	memset(text, 'A', sizeof text);
	arena_init(&small, 256, 512);
	assert_int_equal(base64_decode(&small, str_of(text, sizeof text), &out), ERR_NOMEM);
	assert_int_equal(percent_decode(&small, str_of(text, sizeof text), &out), ERR_NOMEM);
	arena_fini(&small);
}

static void hex(void **state)
{
	uint8_t bytes[4];
	char text[9];
	(void)state;
	assert_ok(hex_decode(STR("00ffA5b6"), bytes, 4));
	assert_memory_equal(bytes, "\x00\xff\xa5\xb6", 4);
	hex_encode(bytes, 4, text);
	assert_string_equal(text, "00ffa5b6");
	assert_int_equal(hex_decode(STR("00ffA5b"), bytes, 4), ERR_INVALID);
	assert_int_equal(hex_decode(STR("00ffA5b600"), bytes, 4), ERR_INVALID);
	assert_int_equal(hex_decode(STR("00ffA5bg"), bytes, 4), ERR_INVALID);
	assert_int_equal(hex_decode(STR("0x"), bytes, 1), ERR_INVALID);
	assert_ok(hex_decode(STR_NONE, bytes, 0));
}

static void percent(void **state)
{
	struct str out;
	(void)state;
	assert_ok(percent_decode(&arena, STR("a%20b+c%2Fd%c3%A9"), &out));
	assert_str(out, "a b+c/d\xc3\xa9");
	assert_ok(percent_decode(&arena, STR("%00"), &out));
	assert_int_equal(out.len, 1);
	assert_ok(percent_decode(&arena, STR_NONE, &out));
	assert_int_equal(out.len, 0);
	static const char *const bad[] = {"%", "%2", "a%", "%zz", "%2g", "%%20", "% 2"};
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		assert_int_equal(percent_decode(&arena, str_from(bad[i]), &out), ERR_INVALID);
}

static void utf8(void **state)
{
	static const char *const good[] = {"",
					   "abc",
					   "\xc3\xa9",
					   "\xe2\x82\xac",
					   "\xf0\x9f\x98\x80",
					   "\xed\x9f\xbf",
					   "\xee\x80\x80",
					   "\xf4\x8f\xbf\xbf",
					   "\xef\xbf\xbd",
					   "a\xc2\x80z"};
	static const char *const bad[] = {"\x80",
					  "\xc3",
					  "\xc3(",
					  "\xc0\xaf",
					  "\xc1\xbf",
					  "\xe0\x80\xaf",
					  "\xe0\x9f\xbf",
					  "\xed\xa0\x80",
					  "\xed\xbf\xbf",
					  "\xf0\x80\x80\x80",
					  "\xf0\x8f\xbf\xbf",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xff",
					  "\xe2\x82",
					  "\xf0\x9f\x98",
					  "\xe2\x28\xa1",
					  "ok\xfe",
					  "\xf0\x9f\x98z"};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++)
		if (!utf8_is_valid(str_from(good[i]))) fail_msg("refused good %zu", i);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (utf8_is_valid(str_from(bad[i]))) fail_msg("accepted bad %zu", i);
	assert_true(utf8_is_valid(str_of("a\0b", 3)));
	assert_int_equal(utf8_sequence("", 0), 0);
	assert_int_equal(utf8_sequence("\xe2\x82\xac", 3), 3);
	assert_int_equal(utf8_sequence("\xe2\x82\xac", 2), 0);
}

/* Every code point's encoding is valid exactly when it is no surrogate. */
static void utf8_every_code_point(void **state)
{
	(void)state;
	for (uint32_t c = 0x800; c <= 0x110fff; c++) {
		char text[4];
		size_t len = c < 0x10000 ? 3 : 4;
		if (len == 3) {
			text[0] = (char)(0xe0 | c >> 12);
		} else {
			text[0] = (char)(0xf0 | c >> 18);
			text[1] = (char)(0x80 | (c >> 12 & 0x3f));
		}
		text[len - 2] = (char)(0x80 | (c >> 6 & 0x3f));
		text[len - 1] = (char)(0x80 | (c & 0x3f));
		bool is_scalar = (c < 0xd800 || c > 0xdfff) && c <= 0x10ffff;
		if (utf8_is_valid(str_of(text, len)) != is_scalar) fail_msg("U+%x", c);
	}
}

static void big_endian(void **state)
{
	uint8_t bytes[8];
	(void)state;
	put_be64(bytes, UINT64_C(0x0123456789abcdef));
	assert_memory_equal(bytes, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
	assert_true(get_be64(bytes) == UINT64_C(0x0123456789abcdef));
	put_be32(bytes, 0xfedcba98);
	assert_memory_equal(bytes, "\xfe\xdc\xba\x98", 4);
	assert_true(get_be32(bytes) == 0xfedcba98);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(base64_reads_both_alphabets),
	    cmocka_unit_test(base64_refuses_the_rest),
	    cmocka_unit_test(base64_round_trips),
	    cmocka_unit_test(capped_arena_is_an_ordinary_error),
	    cmocka_unit_test(hex),
	    cmocka_unit_test(percent),
	    cmocka_unit_test(utf8),
	    cmocka_unit_test(utf8_every_code_point),
	    cmocka_unit_test(big_endian),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
