// rooms: ingest
/* Values against schemas: the first byte picks one of a fixed set, the rest is JSON. However it ends, what is told is bounded and UTF-8, telling it twice
 * says the same, and what a schema takes it also takes once its keys are sorted. Patterns are fuzzed beside: the rest as an expression. */
#include "base/encode.h"
#include "ingest/schema_check.h"

static const char *const schemas[] = {
    "{type: object, required: [a, b], properties: {a: {type: string, minLength: 1, maxLength: 3}, b: {type: [integer, "
    "\"null\"]}}}",
    "{additionalProperties: false, properties: {a: {}, b: {items: {type: number, minimum: -1, exclusiveMaximum: 10}}}}",
    "{items: {items: {items: {properties: {x: {enum: [1, two, true, null, 3.5]}}, required: [x]}}}, minItems: 1, "
    "maxItems: 4}",
    "{properties: {d: {format: date}, t: {format: date-time}, e: {format: email}, u: {format: uri}, p: {pattern: "
    "'^(a|b)*c{2,5}$'}}}",
    "{properties: {a: {properties: {a: {properties: {a: {properties: {a: {const: deep}}}}}}}}}",
    "{type: [array, string], pattern: '[^a-z]é', exclusiveMinimum: 0, maximum: 1e3}",
};

static struct json_reader *readers[2];
static struct arena forever, told;
static const struct json_schema *compiled[COUNT_OF(schemas)];

static void start(void)
{
	struct complaints complaints;
	struct node *node;
	struct str error;
	arena_init(&forever, 4096, 0);
	arena_init(&told, 4096, 1 << 20);
	complaints_init(&complaints, "fuzz");
	for (size_t i = 0; i < COUNT_OF(readers); i++) CHECK(json_reader_new(&readers[i]) == OK);
	for (size_t i = 0; i < COUNT_OF(schemas); i++) {
		CHECK(tree_parse(&forever, str_from(schemas[i]), "fuzz", &node, &error) == OK);
		compiled[i] = json_schema_compile(&forever, &complaints, node, "schema");
		CHECK(compiled[i]);
	}
	complaints_fini(&complaints);
}

static void check_texts(const struct schema_check *check)
{
	CHECK(check->count <= VIOLATIONS_MAX && check->status == OK);
	for (size_t i = 0; i < check->count; i++) {
		const struct schema_violation *v = &check->violations[i];
		CHECK(v->pointer.len <= VIOLATION_POINTER && v->text.len <= VIOLATION_TEXT_SIZE && v->text.len > 0);
		CHECK(utf8_is_valid(v->pointer) && utf8_is_valid(v->text) && utf8_is_valid(v->rule));
		CHECK(str_starts(v->pointer, STR("/p")) && str_starts(v->text, v->rule));
	}
}

static void check_value(const struct json_schema *schema, struct json value)
{
	struct schema_check first = {.arena = &told, .prefix = STR("/p")}, again = first, sorted = first;
	struct buf text;
	struct json value_again;
	const char *why;
	bool is_fine = schema_check(&first, schema, &value);
	CHECK(is_fine == (first.count == 0));
	check_texts(&first);
	CHECK(schema_check(&again, schema, &value) == is_fine && again.count == first.count);
	for (size_t i = 0; i < first.count; i++)
		CHECK(str_eq(first.violations[i].pointer, again.violations[i].pointer) &&
		      str_eq(first.violations[i].text, again.violations[i].text));
	buf_init(&text, 16 << 20);
	CHECK(json_write_canonical(&text, value) == OK);
	CHECK(json_parse(readers[1], buf_str(&text), &value_again, &why) == OK);
	bool is_sorted_fine = schema_check(&sorted, schema, &value_again);
	CHECK(!is_fine || is_sorted_fine);
	buf_fini(&text);
}

static void check_pattern(struct str expression)
{
	const struct pattern *pattern;
	const char *why = NULL;
	struct arena arena;
	if (!utf8_is_valid(expression) || expression.len > 40) return; /* longer ones only take longer */
	arena_init(&arena, 4096, 0);
	int rc = pattern_compile(&arena, expression, &pattern, &why);
	CHECK(rc == OK || (rc == ERR_INVALID && why));
	if (rc == OK) (void)pattern_matches(pattern, expression);
	arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char body[(1 << 20) + BUF_SLACK];
	struct json value;
	const char *why;
	if (!readers[0]) start();
	if (size < 1 || size - 1 > sizeof body - BUF_SLACK) return 0;
	memcpy(body, data + 1, size - 1);
	memset(body + size - 1, 'z', BUF_SLACK);
	struct str text = str_of(body, size - 1);
	arena_reset(&told);
	if (data[0] == 'p')
		check_pattern(text);
	else if (json_parse(readers[0], text, &value, &why) == OK)
		check_value(compiled[data[0] % COUNT_OF(schemas)], value);
	return 0;
}
