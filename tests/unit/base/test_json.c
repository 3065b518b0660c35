#include <math.h>

#include "base/json_text.h"

static const char *const valid[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "1.5",
    "1e5",
    "1E+5",
    "1e-5",
    "0.1",
    "\"\"",
    "[]",
    "{}",
    " [ ] ",
    "\t\r\n{ }\n",
    "[1,2]",
    "[[],[]]",
    "{\"a\":{}}",
    "\"\\u0000\"",
    "\"\\ud83d\\ude00\"",
    "\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
    "{\"\":1}",
    "{\"a\":1,\"a\":2}",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "1.7976931348623157e308",
    "5e-324",
    "1e-400",
    "\"\xf0\x9f\x98\x80\"",
    "\"\xed\x9f\xbf\"",
    "\"\x7f\"",
    "\"\\ud800\"",
    "\"\\udc00x\"",
    "\"\\ud800\\u0041\"",
    "\"\xe2\x80\xa8\"",
};

static const char *const invalid[] = {
    "",
    " ",
    "\n",
    "nul",
    "nulll",
    "True",
    "tru",
    "NaN",
    "Infinity",
    "-Infinity",
    "-",
    "+1",
    "01",
    "-01",
    "1.",
    ".5",
    "1.e5",
    "1e",
    "1e+",
    "0x10",
    "1 2",
    "1,",
    ",",
    "[",
    "]",
    "{",
    "}",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1,,2]",
    "[1 2]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,}",
    "{a:1}",
    "{'a':1}",
    "{1:2}",
    "{\"a\":1 \"b\":2}",
    "{\"a\",1}",
    "[1}",
    "{\"a\":1]",
    "\"",
    "\"a",
    "'a'",
    "\"\\\"",
    "\"\\x41\"",
    "\"\\u12\"",
    "\"\\u12g4\"",
    "\"\\u\"",
    "\"\\",
    "\"\n\"",
    "\"\t\"",
    "\"a\x01\"",
    "// c\n1",
    "/* c */1",
    "[1]//",
    "[1]x",
    "[1][2]",
    "\xef\xbb\xbf[1]",
    "1e400",
    "-1e400",
    "[1e999]",
    "\"\x80\"",
    "\"\xc3\"",
    "\"\xc0\xaf\"",
    "\"\xed\xa0\x80\"",
    "\"\xf4\x90\x80\x80\"",
    "\"\xff\"",
    "[\xc3\xa9]",
    "\xa0[1]",
    "123456789012345678901234567890x",
    "[123456789012345678901,]",
    "\"\\ud800",
    "\"\\ud800\\u12\"",
    "undefined",
    "[1]\x0b",
    "tr\\u0075e",
    "{\"a\":\"b}",
    "[\"a\\\"]",
    "--1",
    "1-1",
    "1.5.5",
    "0e",
    "1e5.5",
};

static void valid_texts_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(valid); i++) (void)parsed(valid[i]);
	struct json root;
	const char *why = NULL;
	assert_int_equal(parse_text(str_of("[1]\0", 4), &root, &why), ERR_INVALID);
}

static void invalid_texts_say_why(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(invalid); i++) {
		struct json root;
		const char *why = NULL;
		if (parse_text(str_from(invalid[i]), &root, &why) != ERR_INVALID) fail_msg("accepted: %s", invalid[i]);
		assert_non_null(why);
		assert_true(strlen(why) > 0);
		(void)parsed("[1]"); /* the reader survives */
	}
}

static void why_is_telling(void **state)
{
	struct json root;
	const char *why;
	(void)state;
	assert_int_equal(parse_text(STR("[\"\xff\"]"), &root, &why), ERR_INVALID);
	assert_string_equal(why, "invalid UTF-8");
	assert_int_equal(parse_text(STR("[1e999]"), &root, &why), ERR_INVALID);
	assert_non_null(strstr(why, "number out of range"));
	assert_int_equal(parse_text(STR(""), &root, &why), ERR_INVALID);
	assert_string_equal(why, "empty document");
}

static int parse_nested(size_t depth, const char *open, const char *close, const char **why)
{
	struct buf buf;
	struct json root;
	buf_init(&buf, 10 << 20);
	for (size_t i = 0; i < depth; i++) assert_ok(buf_append_str(&buf, str_from(open)));
	assert_ok(buf_putc(&buf, '1'));
	for (size_t i = 0; i < depth; i++) assert_ok(buf_append_str(&buf, str_from(close)));
	int rc = json_parse(reader, buf_str(&buf), &root, why);
	buf_fini(&buf);
	return rc;
}

static void depth_is_limited(void **state)
{
	const char *why = "";
	(void)state;
	assert_ok(parse_nested(JSON_MAX_DEPTH, "[", "]", &why));
	assert_ok(parse_nested(JSON_MAX_DEPTH, "{\"a\":", "}", &why));
	assert_int_equal(parse_nested(JSON_MAX_DEPTH + 1, "[", "]", &why), ERR_INVALID);
	assert_string_equal(why, "nested too deeply");
	assert_int_equal(parse_nested(JSON_MAX_DEPTH + 1, "{\"a\":", "}", &why), ERR_INVALID);
	assert_string_equal(why, "nested too deeply");
	assert_int_equal(parse_nested(1000000, "[", "]", &why), ERR_INVALID);
	assert_string_equal(why, "nested too deeply");
	assert_int_equal(parse_nested(1000000, "[", "", &why), ERR_INVALID);
}

static void types_and_values(void **state)
{
	struct json root =
	    parsed("[null,true,-5,18446744073709551615,2.5,\"a\\u0000b\",[],{},1.0,123456789012345678901]");
	const enum json_type types[] = {JSON_NULL,   JSON_BOOL,  JSON_INT,    JSON_UINT,   JSON_DOUBLE,
					JSON_STRING, JSON_ARRAY, JSON_OBJECT, JSON_DOUBLE, JSON_DOUBLE};
	struct json v[COUNT_OF(types)];
	struct json_iter it;
	size_t n = 0;
	bool b;
	int64_t i;
	double d;
	struct str s;
	(void)state;
	for (json_iter_start(root, &it); json_next_element(&it, &v[n]);)
		assert_int_equal(json_type(v[n]), types[n]), n++;
	assert_int_equal(n, COUNT_OF(types));
	assert_true(json_bool(v[1], &b) && b);
	assert_true(json_int(v[2], &i) && i == -5);
	assert_false(json_int(v[3], &i));
	assert_false(json_int(v[4], &i));
	assert_false(json_int(v[5], &i));
	assert_true(json_double(v[2], &d) && d == -5);
	assert_true(json_double(v[3], &d) && d == 18446744073709551615.0);
	assert_true(json_double(v[4], &d) && d == 2.5);
	assert_true(json_double(v[9], &d) && d == 123456789012345678901.0);
	assert_false(json_double(v[5], &d));
	assert_true(json_str(v[5], &s));
	assert_int_equal(s.len, 3);
	assert_memory_equal(s.ptr, "a\0b", 3);
	assert_false(json_str(v[0], &s));
	assert_false(json_bool(v[0], &b));
	assert_int_equal(json_count(v[2]), 0);
}

static void lookups(void **state)
{
	struct json root = parsed(
			"{\"a\":{\"b\":{\"c\":7},\"b.c\":8},\"k\":1,\"k\":2,\"\":3,\"n\":null,\"arr\":[{\"x\":1}]}"),
		    v;
	int64_t i;
	(void)state;
	assert_true(json_get_path(root, STR("a.b.c"), &v) && json_int(v, &i) && i == 7);
	assert_true(json_get(root, STR("k"), &v) && json_int(v, &i) && i == 1); /* the first */
	assert_true(json_get(root, STR(""), &v) && json_int(v, &i) && i == 3);
	assert_true(json_get(root, STR("n"), &v));
	assert_int_equal(json_type(v), JSON_NULL);
	assert_false(json_get(root, STR("K"), &v));
	assert_false(json_get(root, STR("aa"), &v));
	assert_false(json_get_path(root, STR("a.b.d"), &v));
	assert_false(json_get_path(root, STR("a.x.c"), &v));
	assert_false(json_get_path(root, STR("a.b.c.d"), &v));
	assert_false(json_get_path(root, STR("a."), &v));
	assert_false(json_get_path(root, STR("arr.x"), &v));
	assert_false(json_get(parsed("[1]"), STR("a"), &v));
	assert_false(json_get(parsed("3"), STR("a"), &v));
}

static void iteration_skips_nested_values(void **state)
{
	struct json
	    root = parsed(
		"{\"a\":[1,[2,{\"x\":3}]],\"b\":{\"c\":[]},\"d\":1.5,\"e\":\"f\",\"g\":18446744073709551615,\"h\":-1}"),
	    v;
	const char *keys[] = {"a", "b", "d", "e", "g", "h"};
	struct json_iter it;
	struct str key;
	size_t n = 0;
	(void)state;
	for (json_iter_start(root, &it); json_next_member(&it, &key, &v); n++) assert_str(key, keys[n]);
	assert_int_equal(n, 6);
	assert_int_equal(json_count(root), 6);
	assert_false(json_next_member(&it, &key, &v));
	json_iter_start(parsed("{}"), &it);
	assert_false(json_next_member(&it, &key, &v));
	json_iter_start(parsed("[]"), &it);
	assert_false(json_next_element(&it, &v));
	json_iter_start(parsed("42"), &it);
	assert_false(json_next_element(&it, &v));
}

/* simdjson's own count saturates at 2^24 - 1. */
static void count_beyond_saturation(void **state)
{
	const size_t n = ((size_t)1 << 24) + 5;
	char *text = malloc(2 * n + 1 + BUF_SLACK);
	struct json root;
	const char *why;
	(void)state;
	assert_non_null(text);
	text[0] = '[';
	for (size_t i = 0; i < n; i++) {
		text[1 + 2 * i] = '1';
		text[2 + 2 * i] = ',';
	}
	text[2 * n] = ']';
	assert_ok(json_parse(reader, str_of(text, 2 * n + 1), &root, &why));
	assert_int_equal(json_count(root), n);
	json_reader_trim(reader, 1 << 20);
	free(text);
	(void)parsed("[1]");
}

static void reader_is_reused_for_growing_texts(void **state)
{
	struct buf buf;
	(void)state;
	buf_init(&buf, 1 << 20);
	for (int i = 0; i < 1000; i++) {
		struct json root, v;
		const char *why;
		int64_t n = 0;
		assert_ok(buf_printf(&buf, "%s{\"i\":%d}", i ? "," : "[", i));
		assert_ok(buf_putc(&buf, ']'));
		assert_ok(json_parse(reader, buf_str(&buf), &root, &why));
		assert_int_equal(json_count(root), i + 1);
		struct json_iter it;
		for (json_iter_start(root, &it); json_next_element(&it, &v); n++) {
			struct json field;
			int64_t value;
			assert_true(json_get(v, STR("i"), &field) && json_int(field, &value) && value == n);
		}
		buf.len--;
		if (i % 100 == 0) json_reader_trim(reader, 0);
	}
	buf_fini(&buf);
}

static void broken_surrogates_become_replacements(void **state)
{
	static const struct {
		const char *text, *value;
	} cases[] = {
	    {"\"cut \\ud83d\"", "cut \xef\xbf\xbd"},
	    {"\"\\ude00 tail\"", "\xef\xbf\xbd tail"},
	    {"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
	    {"\"\\\\ud800\"", "\\ud800"},
	    {"\"\\ud83d\\n\"", "\xef\xbf\xbd\n"},
	    {"\"\\uDBFF\\uDFFF\\ud800\"", "\xf4\x8f\xbf\xbf\xef\xbf\xbd"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct str s;
		assert_true(json_str(parsed(cases[i].text), &s));
		assert_str(s, cases[i].value);
	}
	struct json v,
	    root = parsed(
		"{\"123456789012345678901\":\"\\ud800 99999999999999999999999\",\"n\":-99999999999999999999999}");
	struct str s;
	double d;
	assert_true(json_get(root, STR("123456789012345678901"), &v) && json_str(v, &s));
	assert_str(s, "\xef\xbf\xbd 99999999999999999999999"); /* digits in strings are no numbers */
	assert_true(json_get(root, STR("n"), &v) && json_double(v, &d) && d == -99999999999999999999999.0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(valid_texts_parse),
	    cmocka_unit_test(invalid_texts_say_why),
	    cmocka_unit_test(why_is_telling),
	    cmocka_unit_test(depth_is_limited),
	    cmocka_unit_test(types_and_values),
	    cmocka_unit_test(lookups),
	    cmocka_unit_test(iteration_skips_nested_values),
	    cmocka_unit_test(count_beyond_saturation),
	    cmocka_unit_test(reader_is_reused_for_growing_texts),
	    cmocka_unit_test(broken_surrogates_become_replacements),
	};
	return cmocka_run_group_tests(tests, make_reader, free_reader);
}
