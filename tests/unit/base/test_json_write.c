#include <float.h>
#include <math.h>

#include "base/hash.h"
#include "base/json_text.h"

static struct buf out;

static struct str written(struct json value)
{
	buf_clear(&out);
	assert_ok(json_write(&out, value));
	return buf_str(&out);
}

static struct str canonical(struct json value)
{
	buf_clear(&out);
	assert_ok(json_write_canonical(&out, value));
	return buf_str(&out);
}

static void minified_keeps_order_and_types(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
	    {" { \"b\" : 1 , \"a\" : [ 1 , 2.50 , 1e5 , true , null , { } , [ ] ] } ",
	     "{\"b\":1,\"a\":[1,2.5,100000.0,true,null,{},[]]}"},
	    {"{\"k\":1,\"k\":2}", "{\"k\":1,\"k\":2}"},
	    {"\"\\u0041\\u00e9\\u2028\\/\\\"\\\\\\n\\u0001\\u007f\"",
	     "\"A\xc3\xa9\xe2\x80\xa8/\\\"\\\\\\n\\u0001\x7f\""},
	    {"-9223372036854775808", "-9223372036854775808"},
	    {"18446744073709551615", "18446744073709551615"},
	    {"1.0", "1.0"},
	    {"-0.0", "-0.0"},
	    {"-0", "0"},
	    {"1e300", "1e+300"},
	    {"123456789012345680.0", "123456789012345680.0"},
	    {"0.1", "0.1"},
	    {"5e-324", "5e-324"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) assert_str(written(parsed(cases[i].text)), cases[i].want);
}

static void canonical_sorts_and_last_key_wins(void **state)
{
	(void)state;
	assert_str(canonical(parsed("{\"b\":{\"z\":1,\"a\":2},\"a\":[{\"d\":1,\"c\":2}]}")),
		   "{\"a\":[{\"c\":2,\"d\":1}],\"b\":{\"a\":2,\"z\":1}}");
	assert_str(canonical(parsed("{\"k\":1,\"j\":0,\"k\":2,\"k\":3}")), "{\"j\":0,\"k\":3}");
	assert_str(canonical(parsed("{\"\\u0061\":1,\"a\":2}")), "{\"a\":2}");
	assert_str(canonical(parsed("{\"\":1,\"\\u0000\":2}")), "{\"\":1,\"\\u0000\":2}");
	assert_str(canonical(parsed("[3,1,2]")), "[3,1,2]");
	assert_str(canonical(parsed("{\"\xc3\xa9\":1,\"z\":2,\"Z\":3,\"aa\":4,\"a\":5}")),
		   "{\"Z\":3,\"a\":5,\"aa\":4,\"z\":2,\"\xc3\xa9\":1}");
}

static void equal_values_give_equal_bytes(void **state)
{
	static const char *const groups[][5] = {
	    {"1", "1.0", "1e0", "10e-1", "0.1e1"},
	    {"0", "-0", "0.0", "-0.0", "0e5"},
	    {"100000", "1e5", "1E+5", "100000.000", "1000000e-1"},
	    {"1000000000000000000", "1e18", "1.0e18", "10e17", "100000000000000000e1"},
	    {"9223372036854775808", "9223372036854775808.0", "9.223372036854775808e18", "9223372036854775808",
	     "9223372036854775808e0"},
	    {"0.5", "5e-1", "0.50", "50e-2", "5.0E-1"},
	    {"1e20", "100000000000000000000", "1.0e20", "10e19", "100000000000000000000.0"},
	    {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", "{\"b\":2.0,\"a\":1e0}", " {\n\"a\":1,\"b\":2}",
	     "{\"\\u0061\":1,\"b\":2}"},
	    {"\"\xc3\xa9\"", "\"\\u00e9\"", "\"\\u00E9\"", " \"\\u00e9\" ", "\"\xc3\xa9\""},
	};
	(void)state;
	for (size_t g = 0; g < COUNT_OF(groups); g++) {
		struct buf first;
		buf_init(&first, 1000);
		assert_ok(json_write_canonical(&first, parsed(groups[g][0])));
		for (size_t i = 1; i < 5; i++)
			if (!str_eq(canonical(parsed(groups[g][i])), buf_str(&first)))
				fail_msg("%s -> %.*s, not %.*s", groups[g][i], STR_ARG(buf_str(&out)),
					 STR_ARG(buf_str(&first)));
		buf_fini(&first);
	}
}

static void different_values_give_different_bytes(void **state)
{
	static const char *const texts[] = {
	    "1",
	    "-1",
	    "1.5",
	    "\"1\"",
	    "true",
	    "null",
	    "[1]",
	    "[]",
	    "{}",
	    "[[]]",
	    "\"\"",
	    "9007199254740992",
	    "9007199254740993",
	    "18446744073709551615",
	    "18446744073709551616",
	    "0.1",
	    "0.10000000000000002",
	    "9223372036854775807",
	    "9223372036854775808",
	    "{\"a\":1}",
	    "{\"a\":2}",
	    "{\"b\":1}",
	    "[1,2]",
	    "[2,1]",
	    "[12]",
	};
	struct buf all[COUNT_OF(texts)];
	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		buf_init(&all[i], 1000);
		assert_ok(json_write_canonical(&all[i], parsed(texts[i])));
		for (size_t j = 0; j < i; j++)
			if (str_eq(buf_str(&all[i]), buf_str(&all[j]))) fail_msg("%s = %s", texts[i], texts[j]);
	}
	for (size_t i = 0; i < COUNT_OF(texts); i++) buf_fini(&all[i]);
}

/* More members than the writer's array on the stack, in scrambled order. */
static void canonical_of_a_large_object(void **state)
{
	struct buf in;
	(void)state;
	buf_init(&in, 1 << 20);
	for (int i = 0; i < 1000; i++)
		assert_ok(buf_printf(&in, "%s\"%04d\":%d", i ? "," : "{", i * 617 % 1000, i * 617 % 1000));
	assert_ok(buf_putc(&in, '}'));
	assert_ok(buf_putc(&in, '\0'));
	struct str text = canonical(parsed(buf_ptr(&in)));
	for (int i = 0; i < 1000; i++) {
		char member[32];
		int len = snprintf(member, sizeof member, "\"%04d\":%d", i, i);
		assert_memory_equal(text.ptr + 1, member, (size_t)len);
		text.ptr += len + 1;
	}
	buf_fini(&in);
}

static void strings_with_invalid_utf8_are_repaired(void **state)
{
	(void)state;
	buf_clear(&out);
	assert_ok(json_write_str(&out, STR("a\xff\xc3z\xed\xa0\x80\0\xf0\x9f\x98\x80\xe2\x82")));
	assert_str(buf_str(&out), "\"a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\u0000\xf0\x9f\x98"
				  "\x80\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void doubles_read_back_equal(void **state)
{
	const double fixed[] = {
	    0, 1, -1, 0.1, 1.0 / 3, 1e21, 1e-7, DBL_MAX, DBL_MIN, DBL_TRUE_MIN, 9007199254740993.0, 1e15, 123456.789};
	(void)state;
	for (size_t i = 0; i < 20000; i++) {
		double value;
		if (i < COUNT_OF(fixed))
			value = fixed[i];
		else
			random_bytes(&value, sizeof value);
		buf_clear(&out);
		assert_ok(json_write_double(&out, value));
		if (!isfinite(value)) {
			assert_str(buf_str(&out), "null");
			continue;
		}
		struct json root;
		const char *why;
		double again;
		assert_ok(json_parse(reader, buf_str(&out), &root, &why));
		assert_true(json_double(root, &again));
		if (again != value) fail_msg("%.17g became %.*s", value, STR_ARG(buf_str(&out)));
		assert_true(out.len <= 24);
	}
	buf_clear(&out);
	assert_ok(json_write_double(&out, 100000));
	assert_str(buf_str(&out), "100000");
	buf_clear(&out);
	assert_ok(json_write_double(&out, 0.1));
	assert_str(buf_str(&out), "0.1");
}

static void json_out_places_commas(void **state)
{
	struct json_out jo;
	(void)state;
	buf_clear(&out);
	json_out_init(&jo, &out);
	jo_object(&jo);
	jo_key(&jo, STR("a"));
	jo_array(&jo);
	jo_int(&jo, INT64_MIN);
	jo_uint(&jo, UINT64_MAX);
	jo_double(&jo, 0.5);
	jo_bool(&jo, true);
	jo_null(&jo);
	jo_str(&jo, STR("x\"y"));
	jo_array(&jo);
	jo_end_array(&jo);
	jo_object(&jo);
	jo_end_object(&jo);
	jo_end_array(&jo);
	jo_key(&jo, STR("t"));
	jo_time(&jo, 1795294199801000);
	jo_key(&jo, STR("r"));
	jo_raw(&jo, STR("{\"k\":[1]}"));
	jo_end_object(&jo);
	assert_int_equal(jo.status, OK);
	assert_str(buf_str(&out), "{\"a\":[-9223372036854775808,18446744073709551615,0.5,true,null,\"x\\\"y\",[],{}],"
				  "\"t\":\"2026-11-21T20:49:59.801Z\",\"r\":{\"k\":[1]}}");
	assert_ok(buf_putc(&out, 0));
	(void)parsed(buf_ptr(&out));
}

static void the_first_error_sticks(void **state)
{
	struct buf small;
	struct json_out jo;
	(void)state;
	buf_init(&small, 10);
	json_out_init(&jo, &small);
	jo_array(&jo);
	jo_str(&jo, STR("too long for ten"));
	assert_int_equal(jo.status, ERR_TOO_LARGE);
	size_t len = small.len;
	jo_int(&jo, 1);
	jo_end_array(&jo);
	assert_int_equal(jo.status, ERR_TOO_LARGE);
	assert_int_equal(small.len, len);
	buf_clear(&small);
	assert_int_equal(json_write(&small, parsed("[1,2,3,4,5,6,7]")), ERR_TOO_LARGE);
	buf_clear(&small);
	assert_int_equal(json_write_canonical(&small, parsed("{\"a\":{\"b\":[1,2,3]}}")), ERR_TOO_LARGE);
	buf_fini(&small);
}

static int setup(void **state)
{
	buf_init(&out, 1 << 20);
	return make_reader(state);
}

static int teardown(void **state)
{
	buf_fini(&out);
	return free_reader(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(minified_keeps_order_and_types), cmocka_unit_test(canonical_sorts_and_last_key_wins),
	    cmocka_unit_test(equal_values_give_equal_bytes),  cmocka_unit_test(different_values_give_different_bytes),
	    cmocka_unit_test(canonical_of_a_large_object),    cmocka_unit_test(strings_with_invalid_utf8_are_repaired),
	    cmocka_unit_test(doubles_read_back_equal),        cmocka_unit_test(json_out_places_commas),
	    cmocka_unit_test(the_first_error_sticks),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
