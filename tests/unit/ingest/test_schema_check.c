#include "ingest/schema_test.h"

struct row {
	const char *schema, *json;
	const char *wanted; /* "pointer: text" of the first violation; NULL: the value is fine */
};

static void check_rows(const struct row *rows, size_t count)
{
	struct bench bench;
	bench_open(&bench);
	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];
		const struct json_schema *schema = bench_schema(&bench, row->schema);
		struct json value = bench_parse(&bench, str_from(row->json));
		struct schema_check check = {.arena = &bench.arena, .prefix = STR("/p")};
		bool is_fine = schema_check(&check, schema, &value);
		assert_int_equal(check.status, OK);
		assert_int_equal(is_fine, check.count == 0);
		char got[600] = "";
		if (!is_fine)
			(void)snprintf(got, sizeof got, "%.*s: %.*s", STR_ARG(check.violations[0].pointer),
				       STR_ARG(check.violations[0].text));
		if (strcmp(got, row->wanted ? row->wanted : "") != 0)
			fail_msg("%s on %s\n got  \"%s\"\n want \"%s\"", row->schema, row->json, got,
				 row->wanted ? row->wanted : "");
	}
	bench_close(&bench);
}

static void type(void **state)
{
	static const struct row rows[] = {
	    {"{type: string}", "\"a\"", NULL},
	    {"{type: string}", "5", "/p: must be string, is integer"},
	    {"{type: integer}", "5", NULL},
	    {"{type: integer}", "5.0", NULL},
	    {"{type: integer}", "18446744073709551615", NULL},
	    {"{type: integer}", "5.5", "/p: must be integer, is number"},
	    {"{type: number}", "5.5", NULL},
	    {"{type: number}", "5", NULL},
	    {"{type: number}", "\"5\"", "/p: must be number, is string"},
	    {"{type: boolean}", "false", NULL},
	    {"{type: boolean}", "0", "/p: must be boolean, is integer"},
	    {"{type: \"null\"}", "null", NULL},
	    {"{type: null}", "null", NULL},
	    {"{type: array}", "[]", NULL},
	    {"{type: array}", "{}", "/p: must be array, is object"},
	    {"{type: object}", "{}", NULL},
	    {"{type: object}", "[]", "/p: must be object, is array"},
	    {"{type: [string, \"null\"]}", "null", NULL},
	    {"{type: [string, \"null\"]}", "\"\"", NULL},
	    {"{type: [string, \"null\"]}", "true", "/p: must be null or string, is boolean"},
	    {"{}", "[1,{\"a\":null}]", NULL},
	    {"{title: a, description: b}", "5", NULL},
	};
	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

static void numbers(void **state)
{
	static const struct row rows[] = {
	    {"{minimum: 0}", "0", NULL},
	    {"{minimum: 0}", "-5", "/p: must be at least 0, is -5"},
	    {"{minimum: 0.5}", "0.25", "/p: must be at least 0.5, is 0.25"},
	    {"{maximum: 10}", "10", NULL},
	    {"{maximum: 10}", "10.5", "/p: must be at most 10, is 10.5"},
	    {"{exclusiveMinimum: 0}", "0.1", NULL},
	    {"{exclusiveMinimum: 0}", "0", "/p: must be above 0, is 0"},
	    {"{exclusiveMaximum: 1e3}", "999", NULL},
	    {"{exclusiveMaximum: 1e3}", "1000", "/p: must be below 1000, is 1000"},
	    {"{minimum: 5}", "\"1\"", NULL}, /* speaks of numbers only */
	    {"{maximum: -1}", "18446744073709551615", "/p: must be at most -1, is 1.84467440737096e+19"},
	};
	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

static void texts(void **state)
{
	static const struct row rows[] = {
	    {"{minLength: 2}", "\"ab\"", NULL},
	    {"{minLength: 2}", "\"a\"", "/p: must have at least 2 characters, has 1"},
	    {"{maxLength: 2}", "\"\xe2\x82\xac\xf0\x9f\x98\x80\"", NULL}, /* two characters, seven bytes */
	    {"{maxLength: 2}", "\"abc\"", "/p: must have at most 2 characters, has 3"},
	    {"{pattern: '^[A-Z]{2}$'}", "\"FR\"", NULL},
	    {"{pattern: '^[A-Z]{2}$'}", "\"fr\"", "/p: must match ^[A-Z]{2}$"},
	    {"{pattern: b}", "\"abc\"", NULL},
	    {"{pattern: b}", "5", NULL},
	    {"{format: date}", "\"2024-02-29\"", NULL},
	    {"{format: date}", "\"2023-02-29\"", "/p: must have the format date"},
	    {"{format: date}", "\"2023-2-9\"", "/p: must have the format date"},
	    {"{format: date-time}", "\"2026-11-21T20:49:59.801Z\"", NULL},
	    {"{format: date-time}", "\"2026-11-21t20:49:59z\"", NULL},
	    {"{format: date-time}", "\"2026-11-21T20:49:59+03:00\"", NULL},
	    {"{format: date-time}", "\"2026-11-21T20:49:59\"", "/p: must have the format date-time"},
	    {"{format: date-time}", "\"2026-11-21 20:49:59Z\"", "/p: must have the format date-time"},
	    {"{format: date-time}", "\"2026-13-21T20:49:59Z\"", "/p: must have the format date-time"},
	    {"{format: date-time}", "\"1795294200000\"", "/p: must have the format date-time"},
	    {"{format: email}", "\"a.b+c@shop.example\"", NULL},
	    {"{format: email}", "\"a@b\"", "/p: must have the format email"},
	    {"{format: email}", "\"a b@c.de\"", "/p: must have the format email"},
	    {"{format: email}", "\"a@b@c.de\"", "/p: must have the format email"},
	    {"{format: email}", "\"@c.de\"", "/p: must have the format email"},
	    {"{format: email}", "\"a@c..de\"", "/p: must have the format email"},
	    {"{format: uri}", "\"https://shop.example/a?b\"", NULL},
	    {"{format: uri}", "\"urn:x\"", NULL},
	    {"{format: uri}", "\"/relative\"", "/p: must have the format uri"},
	    {"{format: uri}", "\"1x:y\"", "/p: must have the format uri"},
	    {"{format: uri}", "\"https://a b\"", "/p: must have the format uri"},
	    {"{format: uri}", "\"\"", "/p: must have the format uri"},
	};
	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

static void choices(void **state)
{
	static const struct row rows[] = {
	    {"{enum: [EUR, USD]}", "\"USD\"", NULL},
	    {"{enum: [EUR, USD]}", "\"GBP\"", "/p: must be one of \"EUR\", \"USD\""},
	    {"{enum: [1, 2.5, true, null, \"1\"]}", "1", NULL},
	    {"{enum: [1, 2.5, true, null]}", "1.0", NULL},
	    {"{enum: [1, 2.5, true, null]}", "2.5", NULL},
	    {"{enum: [1, 2.5, true, null]}", "true", NULL},
	    {"{enum: [1, 2.5, true, null]}", "null", NULL},
	    {"{enum: [1, 2.5, true, null]}", "\"1\"", "/p: must be one of 1, 2.5, true, null"},
	    {"{enum: [1, 2.5, true, null]}", "false", "/p: must be one of 1, 2.5, true, null"},
	    {"{enum: [a, b, c, d, e, f]}", "0", "/p: must be one of \"a\", \"b\", \"c\", \"d\", \"e\" …"},
	    {"{const: web}", "\"web\"", NULL},
	    {"{const: web}", "\"app\"", "/p: must be \"web\""},
	    {"{const: 9007199254740993}", "9007199254740993", NULL},
	    {"{const: 9007199254740993}", "9007199254740992", "/p: must be 9007199254740993"},
	    {"{const: \"5\"}", "5", "/p: must be \"5\""},
	};
	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

static void containers(void **state)
{
	static const struct row rows[] = {
	    {"{required: [a]}", "{\"a\":null}", NULL},
	    {"{required: [a, b]}", "{\"a\":1}", "/p/b: is required"},
	    {"{required: [a]}", "5", NULL}, /* speaks of objects only */
	    {"{properties: {a: {type: string}}}", "{\"b\":5}", NULL},
	    {"{properties: {a: {type: string}}}", "{\"a\":5}", "/p/a: must be string, is integer"},
	    {"{properties: {a: {}}, additionalProperties: false}", "{\"a\":5}", NULL},
	    {"{properties: {a: {}}, additionalProperties: false}", "{\"b\":5}", "/p/b: is not in the schema"},
	    {"{properties: {a: {}}, additionalProperties: true}", "{\"b\":5}", NULL},
	    {"{required: [b], additionalProperties: false}", "{\"b\":5}", "/p/b: is not in the schema"},
	    {"{properties: {a/b~c: {type: string}}}", "{\"a/b~c\":5}", "/p/a~1b~0c: must be string, is integer"},
	    {"{properties: {\"\": {type: string}}}", "{\"\":5}", "/p/: must be string, is integer"},
	    {"{items: {type: integer}}", "[1,2]", NULL},
	    {"{items: {type: integer}}", "[1,\"2\"]", "/p/1: must be integer, is string"},
	    {"{minItems: 1}", "[0]", NULL},
	    {"{minItems: 1}", "[]", "/p: must have at least 1 items, has 0"},
	    {"{maxItems: 1}", "[0,1]", "/p: must have at most 1 items, has 2"},
	    {"{properties: {products: {items: {properties: {sku: {type: string}}, required: [sku]}}}}",
	     "{\"products\":[{\"sku\":\"a\"},{}]}", "/p/products/1/sku: is required"},
	    {"{properties: {a: {properties: {b: {properties: {c: {minimum: 1}}}}}}}", "{\"a\":{\"b\":{\"c\":0}}}",
	     "/p/a/b/c: must be at least 1, is 0"},
	    /* of equal keys each is looked at: the last is the one that is kept */
	    {"{properties: {a: {type: string}}}", "{\"a\":\"x\",\"a\":5}", "/p/a: must be string, is integer"},
	};
	(void)state;
	check_rows(rows, COUNT_OF(rows));
}

static void nothing_at_all(void **state)
{
	struct bench bench;
	(void)state;
	bench_open(&bench);
	struct schema_check check = {.arena = &bench.arena, .prefix = STR("/properties")};
	assert_true(schema_check(&check, bench_schema(&bench, "{type: object}"), NULL));
	assert_false(schema_check(&check, bench_schema(&bench, "{required: [total]}"), NULL));
	assert_true(str_eq(check.violations[0].pointer, STR("/properties/total")));
	assert_false(schema_check(&check, bench_schema(&bench, "{type: array}"), NULL));
	bench_close(&bench);
}

/* ── what others would send to do harm ───────────────────────────────────── */

static void few_are_kept(void **state)
{
	struct bench bench;
	(void)state;
	bench_open(&bench);
	struct buf text;
	buf_init(&text, 32 << 20);
	assert_int_equal(buf_putc(&text, '['), OK);
	for (size_t i = 0; i < 1000000; i++) assert_int_equal(buf_append_str(&text, i ? STR(",1") : STR("1")), OK);
	assert_int_equal(buf_putc(&text, ']'), OK);
	struct json value = bench_parse(&bench, buf_str(&text));
	struct schema_check check = {.arena = &bench.arena, .prefix = STR("/p")};
	const struct json_schema *schema = bench_schema(&bench, "{items: {type: string}}");
	size_t used = bench.arena.used;
	assert_false(schema_check(&check, schema, &value));
	assert_int_equal(check.count, VIOLATIONS_MAX);
	assert_true(str_eq(check.violations[2].pointer, STR("/p/2")));
	assert_true(bench.arena.used - used < 65536);
	assert_true(schema_check(&check, bench_schema(&bench, "{items: {type: integer}}"), &value));
	buf_fini(&text);
	bench_close(&bench);
}

static void very_many_keys(void **state)
{
	struct bench bench;
	struct buf text;
	(void)state;
	bench_open(&bench);
	buf_init(&text, 32 << 20);
	assert_int_equal(buf_putc(&text, '{'), OK);
	for (size_t i = 0; i < 100000; i++) assert_int_equal(buf_printf(&text, "\"k%zu\":%zu,", i, i), OK);
	assert_int_equal(buf_append_str(&text, STR("\"z\":\"\"}")), OK);
	struct json value = bench_parse(&bench, buf_str(&text));
	struct schema_check check = {.arena = &bench.arena, .prefix = STR("/p")};
	const struct json_schema *schema = bench_schema(
	    &bench,
	    "{properties: {k5: {type: integer}, k99999: {maximum: 5}, z: {minLength: 1}}, required: [k7, nope]}");
	assert_false(schema_check(&check, schema, &value));
	assert_int_equal(check.count, 3);
	assert_true(str_eq(check.violations[0].pointer, STR("/p/k99999")));
	assert_true(str_eq(check.violations[1].pointer, STR("/p/z")));
	assert_true(str_eq(check.violations[2].pointer, STR("/p/nope")));
	buf_fini(&text);
	bench_close(&bench);
}

static void deep_values_and_long_keys(void **state)
{
	struct bench bench;
	struct buf text;
	(void)state;
	bench_open(&bench);
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < 60; i++) assert_int_equal(buf_append_str(&text, STR("{\"a\":")), OK);
	assert_int_equal(buf_append_str(&text, STR("1")), OK);
	for (size_t i = 0; i < 60; i++) assert_int_equal(buf_putc(&text, '}'), OK);
	struct json value = bench_parse(&bench, buf_str(&text));
	struct schema_check check = {.arena = &bench.arena, .prefix = STR("/p")};
	assert_false(
	    schema_check(&check, bench_schema(&bench, "{properties: {a: {properties: {a: {type: string}}}}}"), &value));
	assert_true(str_eq(check.violations[0].pointer, STR("/p/a/a")));

	buf_clear(&text);
	assert_int_equal(buf_append_str(&text, STR("{\"")), OK);
	for (size_t i = 0; i < 5000; i++) assert_int_equal(buf_append_str(&text, STR("\xe2\x82\xac/")), OK);
	assert_int_equal(buf_append_str(&text, STR("\":1}")), OK);
	value = bench_parse(&bench, buf_str(&text));
	assert_false(schema_check(&check, bench_schema(&bench, "{additionalProperties: false}"), &value));
	assert_true(check.violations[0].pointer.len <= VIOLATION_POINTER);
	assert_true(check.violations[0].pointer.len > VIOLATION_POINTER - 8);
	struct json again; /* cut between characters: still UTF-8 */
	struct buf json;
	const char *why;
	buf_init(&json, 4096);
	assert_int_equal(buf_putc(&json, '"'), OK);
	assert_int_equal(buf_append_str(&json, check.violations[0].pointer), OK);
	assert_int_equal(buf_putc(&json, '"'), OK);
	assert_int_equal(json_parse(bench.reader, buf_str(&json), &again, &why), OK);
	buf_fini(&json);
	buf_fini(&text);
	bench_close(&bench);
}

static void no_room_to_tell(void **state)
{
	struct bench bench;
	struct arena small;
	(void)state;
	bench_open(&bench);
	arena_init(&small, 64, 64);
	while (arena_alloc(&small, 1)) continue;
	struct json value = bench_parse(&bench, STR("{\"a_rather_long_name_of_a_property\":1}"));
	struct schema_check check = {.arena = &small, .prefix = STR("/p")};
	assert_false(schema_check(&check, bench_schema(&bench, "{additionalProperties: false}"), &value));
	assert_int_equal(check.status, ERR_NOMEM);
	arena_fini(&small);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(type),
	    cmocka_unit_test(numbers),
	    cmocka_unit_test(texts),
	    cmocka_unit_test(choices),
	    cmocka_unit_test(containers),
	    cmocka_unit_test(nothing_at_all),
	    cmocka_unit_test(few_are_kept),
	    cmocka_unit_test(very_many_keys),
	    cmocka_unit_test(deep_values_and_long_keys),
	    cmocka_unit_test(no_room_to_tell),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
