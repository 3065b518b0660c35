#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "deliver/selection.h"
#include "deliver/transform.h"
#include "plugin/instance.h"

static struct arena arena;
static struct complaints complaints;
static struct json_reader *reader;
static struct buf input;
static struct transform_result result;
static unsigned needs;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 4096, 0);
	complaints_init(&complaints, "t.yaml");
	buf_init(&input, (size_t)4 << 20);
	return json_reader_new(&reader);
}

static int teardown(void **state)
{
	(void)state;
	json_reader_free(reader);
	buf_fini(&input);
	complaints_fini(&complaints);
	arena_fini(&arena);
	return 0;
}

static const struct mapping *compile(const char *yaml)
{
	struct node *root;
	struct str error;
	buf_clear(&complaints.text);
	complaints.count = 0;
	if (tree_parse(&arena, str_from(yaml), "t.yaml", &root, &error)) fail_msg("%.*s", STR_ARG(error));
	return mapping_compile(&arena, &complaints, root, "mapping", &needs);
}

static int run(const char *yaml, const char *record)
{
	struct json root;
	const char *why;
	const struct mapping *mapping = compile(yaml);
	if (!mapping) fail_msg("%.*s", (int)complaints.text.len, buf_str(&complaints.text).ptr);
	buf_clear(&input);
	assert_int_equal(buf_append_str(&input, str_from(record)), OK);
	if (json_parse(reader, buf_str(&input), &root, &why)) fail_msg("%s", why);
	return transform_run(mapping, root, &arena, &result);
}

static void expect(const char *yaml, const char *record, const char *json)
{
	int rc = run(yaml, record);
	if (!json) {
		if (rc != ERR_NOT_FOUND) fail_msg("%s: %s %.*s", yaml, status_str(rc), STR_ARG(result.json));
		return;
	}
	if (rc) fail_msg("%s: %s (%.*s)", yaml, status_str(rc), STR_ARG(result.why));
	if (!str_eq(result.json, str_from(json)))
		fail_msg("%s\n gives %.*s\n not   %s", yaml, STR_ARG(result.json), json);
}

static const char ORDER[] =
    "{\"event\":\"Order "
    "Completed\",\"messageId\":\"m1\",\"timestamp\":\"2026-11-21T10:00:00.250+01:00\",\"userId\":\"u1\","
    "\"properties\":{\"total\":12.50,\"currency\":\"eur\",\"n\":3,\"paid\":true,\"note\":null,\"big\":"
    "12345678901234567890,"
    "\"a.b\":{\"c[0]\":7},\"products\":[{\"sku\":\"A-1\",\"qty\":\"2\",\"price\":1.10},{\"sku\":\"B-2\",\"price\":3},{"
    "\"price\":9}],"
    "\"tags\":[\"x\",\"y\"],\"matrix\":[[1,2],[3]]},"
    "\"profile\":{\"id\":\"p1\",\"traits\":{\"email\":\" Ann@Example.COM \",\"phone\":\"+49 (30) "
    "123-45\",\"city\":\"Köln\"}}}";

static void test_constants(void **state)
{
	(void)state;
	expect("{a: 1, b: 1.50, c: true, d: text, e: '1', f: null, g: [], h: {}, i: '', j: \"x\\ny\"}", "{}",
	       "{\"a\":1,\"b\":1.50,\"c\":true,\"d\":\"text\",\"e\":\"1\",\"f\":null,\"g\":[],\"h\":{},\"i\":\"\","
	       "\"j\":\"x\\ny\"}");
}

static void test_paths_keep_types_and_digits(void **state)
{
	(void)state;
	expect(
	    "{a: $properties.total, b: $properties.n, c: $properties.paid, d: $properties.big, e: $properties.tags, f: "
	    "$event}",
	    ORDER,
	    "{\"a\":12.5,\"b\":3,\"c\":true,\"d\":12345678901234567890,\"e\":[\"x\",\"y\"],\"f\":\"Order Completed\"}");
	expect("{a: '$properties.products[0].sku', b: '$properties.products[-1].price', c: '$properties.matrix[0][1]',"
	       " d: '$properties.\"a.b\".\"c[0]\"'}",
	       ORDER, "{\"a\":\"A-1\",\"b\":9,\"c\":2,\"d\":7}");
}

static void test_what_is_absent_is_left_out(void **state)
{
	(void)state;
	expect("{a: $properties.none, b: $properties.note, c: '$properties.products[7].sku', d: $event.x, e: "
	       "'$userId[0]', f: [$none, 1]}",
	       ORDER, "{\"f\":[1]}");
	expect("$properties.none", ORDER, NULL);
	expect("{if: {field: event, is: X}, then: {a: 1}}", ORDER, NULL);
}

static void test_texts(void **state)
{
	(void)state;
	expect("{a: '${event} for ${properties.total}', b: 'costs $$5', c: '${properties.none}!', d: '$$', e: "
	       "'${properties.tags}',"
	       " f: 'x${userId}'}",
	       ORDER,
	       "{\"a\":\"Order Completed for 12.5\",\"b\":\"costs "
	       "$5\",\"d\":\"$\",\"e\":\"[\\\"x\\\",\\\"y\\\"]\",\"f\":\"xu1\"}");
}

static void test_from(void **state)
{
	(void)state;
	expect("{a: {from: properties.none, default: 0}, b: {from: $properties.none, default: $userId},"
	       " c: {from: properties.currency, apply: upper}, d: {from: profile.traits.email, apply: [trim, lower, "
	       "sha256]},"
	       " e: {from: profile.traits.phone, apply: digits}, f: {from: profile.traits.city, apply: upper}}",
	       ORDER,
	       "{\"a\":0,\"b\":\"u1\",\"c\":\"EUR\",\"d\":"
	       "\"71d4f55f72fa128dfb468a1a3901507c804b74316488744d769d7f4b16696476\","
	       "\"e\":\"493012345\",\"f\":\"KöLN\"}");
}

static void test_casts(void **state)
{
	(void)state;
	expect(
	    "{a: {from: properties.total, cast: integer}, b: {from: properties.total, cast: string},"
	    " c: {from: x.s, cast: number}, d: {from: x.w, cast: integer}, e: {from: x.e, cast: integer}, f: {from: "
	    "x.yes, cast: boolean},"
	    " g: {from: properties.n, cast: boolean, default: unknown}, h: {from: properties.tags, cast: json},"
	    " i: {from: event, cast: json}, j: {from: x.w, cast: number, default: -1}, k: {from: x.neg, cast: integer},"
	    " l: {from: properties.big, cast: string}, m: {from: x.huge, cast: integer, default: none}}",
	    "{\"properties\":{\"total\":12.50,\"n\":3,\"tags\":[\"x\"],\"big\":12345678901234567890},\"event\":\"E\","
	    "\"x\":{\"s\":\" 1234567890.123456789 \",\"w\":\"12 "
	    "pieces\",\"e\":1.5e3,\"yes\":\"Yes\",\"neg\":-0.5,\"huge\":\"1e300\"}}",
	    "{\"a\":12,\"b\":\"12.5\",\"c\":1234567890.123456789,\"e\":1500,\"f\":true,\"g\":\"unknown\",\"h\":\"["
	    "\\\"x\\\"]\","
	    "\"i\":\"\\\"E\\\"\",\"j\":-1,\"k\":0,\"l\":\"12345678901234567890\",\"m\":\"none\"}");
}

static void test_times(void **state)
{
	(void)state;
	expect("{a: {from: timestamp, format: unix_s}, b: {from: timestamp, format: unix_ms}, c: {from: timestamp, "
	       "format: iso8601},"
	       " d: {from: timestamp, format: date}, e: {from: event, format: date, default: none}}",
	       ORDER,
	       "{\"a\":1795251600,\"b\":1795251600250,\"c\":\"2026-11-21T09:00:00.250Z\",\"d\":\"2026-11-21\",\"e\":"
	       "\"none\"}");
	expect("{a: {from: t, format: unix_s}}", "{\"t\":\"1969-12-31T23:59:59.5Z\"}", "{\"a\":-1}");
}

static void test_lookup(void **state)
{
	(void)state;
	static const char yaml[] =
	    "{a: {from: properties.currency, apply: upper, map: {EUR: 978, USD: 840}, default: 0},"
	    " b: {from: properties.n, map: {'3': three}}, c: {from: userId, map: {nobody: 1}}}";
	expect(yaml, ORDER, "{\"a\":978,\"b\":\"three\"}");
}

static void test_conditions(void **state)
{
	(void)state;
	expect("{a: {if: {field: properties.total, min: 10}, then: big, else: small}, b: {if: {field: "
	       "properties.total, max: 10}, then: small},"
	       " c: {if: [{field: event, in: [Order Completed, Order Paid]}, {field: properties.paid, is: true}], "
	       "then: 1, else: 0},"
	       " d: {if: {field: properties.note, exists: false}, then: none}, e: {if: {field: userId, not: [u1, u2]}, "
	       "then: 1, else: 2},"
	       " f: {if: {field: nothing, not: x}, then: 1}, g: {if: {field: event, min: 0}, then: 1, else: 2}}",
	       ORDER, "{\"a\":\"big\",\"c\":1,\"d\":\"none\",\"e\":2,\"f\":1,\"g\":2}");
}

static void test_each(void **state)
{
	(void)state;
	expect("{each: properties.products, do: {id: $item.sku, quantity: {from: item.qty, cast: integer, default: 1}, "
	       "order: $messageId}}",
	       ORDER,
	       "[{\"id\":\"A-1\",\"quantity\":2,\"order\":\"m1\"},{\"id\":\"B-2\",\"quantity\":1,\"order\":\"m1\"},{"
	       "\"quantity\":1,\"order\":\"m1\"}]");
	expect("{each: $properties.products, where: {field: item.sku, exists: true}, do: $item.sku}", ORDER,
	       "[\"A-1\",\"B-2\"]");
	expect("{each: properties.matrix, as: row, do: {each: row, as: cell, do: '${cell}/${userId}'}}", ORDER,
	       "[[\"1/u1\",\"2/u1\"],[\"3/u1\"]]");
	expect("{each: userId, do: {v: $item}}", ORDER, "[{\"v\":\"u1\"}]");
	expect("{each: nothing, do: $item}", ORDER, NULL);
	expect("{each: properties.products, do: $item.none}", ORDER, "[]");
}

static void test_first_and_literal(void **state)
{
	(void)state;
	expect("{a: {first: [$properties.none, $userId, x]}, b: {first: [$none]}, c: {literal: {from: $userId, if: "
	       "1}}, d: {first: 1, x: 2}}",
	       ORDER, "{\"a\":\"u1\",\"c\":{\"from\":\"u1\",\"if\":1},\"d\":{\"first\":1,\"x\":2}}");
}

static void test_required(void **state)
{
	(void)state;
	assert_int_equal(run("{a: {b: {from: properties.none, required: true}}}", ORDER), ERR_INVALID);
	assert_true(str_eq(result.why, STR("properties.none is required")));
	expect("{a: {from: userId, required: true}}", ORDER, "{\"a\":\"u1\"}");
}

static void test_what_it_needs(void **state)
{
	(void)state;
	assert_non_null(compile("{a: $event, b: {from: traits.profile}}"));
	assert_int_equal(needs, 0);
	assert_non_null(compile("{a: {b: ['x', '${profile.id}']}}"));
	assert_int_equal(needs, MAPPING_NEEDS_PROFILE);
}

/* A small template must not make a large answer out of a large record. */
static void test_a_result_has_a_bound(void **state)
{
	(void)state;
	struct buf record;
	buf_init(&record, (size_t)4 << 20);
	assert_int_equal(buf_append_str(&record, STR("{\"t\":\"")), OK);
	for (int i = 0; i < 50000; i++) assert_int_equal(buf_append_str(&record, STR("0123456789")), OK);
	assert_int_equal(buf_append_str(&record, STR("\",\"l\":[1,1,1,1,1,1,1,1,1]}\0")), OK);
	assert_int_equal(buf_putc(&record, '\0'), OK);
	assert_int_equal(run("{each: l, do: {each: l, as: b, do: $t}}", buf_str(&record).ptr), ERR_TOO_LARGE);
	buf_fini(&record);
}

static void test_what_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *yaml, *says;
	} rows[] = {
	    {"{a: $}", "neither ${path} nor $$"},
	    {"{a: 'x $y'}", "neither ${path} nor $$"},
	    {"{a: '${x'}", "neither ${path} nor $$"},
	    {"{a: $a..b}", "mapping.a: the path 'a..b' has an empty name"},
	    {"{a: $a.}", "a dot with no name"},
	    {"{a: '$[0]'}", "bad index"},
	    {"{a: '$a[x]'}", "bad index"},
	    {"{a: '$a[-0]'}", "bad index"},
	    {"{a: '$a[0]b'}", "a dot between"},
	    {"{a: $a.a.a.a.a.a.a.a.a.a.a.a.a}", "more than 12 steps"},
	    {"{a: {from: x, defalt: 1}}", "unknown key 'defalt' beside 'from', did you mean 'default'?"},
	    {"{a: {from: x, cast: int}}", "unknown cast 'int'"},
	    {"{a: {from: x, format: unix}}", "unknown format 'unix', did you mean 'unix_"},
	    {"{a: {from: x, apply: [lower, md5]}}", "'md5'"},
	    {"{a: {from: x, required: true, default: 1}}", "nothing is required"},
	    {"{a: {from: [x]}}", "no path"},
	    {"{a: {if: {field: x, is: 1}}}", "without a `then`"},
	    {"{a: {if: {field: x}, then: 1}}", "a condition is"},
	    {"{a: {if: {feld: x, is: 1}, then: 1}}", "unknown key 'feld', did you mean 'field'?"},
	    {"{a: {if: {field: x, min: ten}, then: 1}}", "'min' must be a number"},
	    {"{a: {if: yes, then: 1}}", "a condition is"},
	    {"{a: {each: x}}", "`do:`"},
	    {"{a: {first: $x}}", "no list"},
	    {"{a: {literal: 1}}", "no map"},
	    {"[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", "deeper than 16"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (compile(rows[i].yaml)) fail_msg("%s was taken", rows[i].yaml);
		assert_int_equal(complaints.count, 1);
		char text[512];
		snprintf(text, sizeof text, "%.*s", (int)complaints.text.len, buf_str(&complaints.text).ptr);
		if (!strstr(text, rows[i].says)) fail_msg("%s: %s", rows[i].yaml, text);
		assert_non_null(strstr(text, "t.yaml:1: "));
	}
	assert_null(compile("{a: $, b: $}"));
	assert_int_equal(complaints.count, 2);
}

/* A client could have others deleted where the mapping hands on whatever it sent. */
static void test_what_reads_like_a_notice_is_none(void **state)
{
	(void)state;
	static const struct {
		const char *yaml, *properties;
		enum selection_verdict verdict;
	} rows[] = {
	    {"$properties", "{\"type\":\"erased\",\"profileIds\":[\"00\"]}", SELECTION_UNMAPPED},
	    {"$properties", "{\"profileIds\":[],\"x\":1,\"t\\u0079pe\":\"\\u0065rased\"}", SELECTION_UNMAPPED},
	    {"{type: $properties.a, profileIds: $properties.b}", "{\"a\":\"withdrawn\",\"b\":[\"00\"]}",
	     SELECTION_UNMAPPED},
	    {"$properties", "{\"type\":\"withdrawn\",\"amount\":3}", SELECTION_TAKEN},
	    {"$properties", "{\"type\":\"x\",\"profileIds\":[\"00\"]}", SELECTION_TAKEN},
	    {"$properties.type", "{\"type\":\"erased\",\"profileIds\":[\"00\"]}", SELECTION_TAKEN},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct selection selection = {.mapping = compile(rows[i].yaml)};
		struct selection_result out;
		struct str record;
		assert_non_null(selection.mapping);
		assert_int_equal(arena_printf(&arena, &record, "{\"properties\":%s}", rows[i].properties), OK);
		assert_int_equal(selection_run(&selection, reader, CDPD_RECORD_EVENT, record, STR_NONE, &arena, &out),
				 OK);
		if (out.verdict != rows[i].verdict) fail_msg("%s: %.*s", rows[i].properties, STR_ARG(out.json));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_constants),
	    cmocka_unit_test(test_paths_keep_types_and_digits),
	    cmocka_unit_test(test_what_is_absent_is_left_out),
	    cmocka_unit_test(test_texts),
	    cmocka_unit_test(test_from),
	    cmocka_unit_test(test_casts),
	    cmocka_unit_test(test_times),
	    cmocka_unit_test(test_lookup),
	    cmocka_unit_test(test_conditions),
	    cmocka_unit_test(test_each),
	    cmocka_unit_test(test_first_and_literal),
	    cmocka_unit_test(test_required),
	    cmocka_unit_test(test_what_it_needs),
	    cmocka_unit_test(test_a_result_has_a_bound),
	    cmocka_unit_test(test_what_is_refused),
	    cmocka_unit_test(test_what_reads_like_a_notice_is_none),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
