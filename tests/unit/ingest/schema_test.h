/* Schemas and values as texts, for the tests of the tracking plan. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ingest/schema_check.h"

struct bench {
	struct arena arena;
	struct json_reader *reader;
	struct buf text;
};

__attribute__((unused)) static void bench_open(struct bench *bench)
{
	arena_init(&bench->arena, 16384, 0);
	buf_init(&bench->text, 64 << 20);
	assert_int_equal(json_reader_new(&bench->reader), OK);
}

__attribute__((unused)) static void bench_close(struct bench *bench)
{
	arena_fini(&bench->arena);
	buf_fini(&bench->text);
	json_reader_free(bench->reader);
}

/* NULL: refused, with the complaints in `errors`. */
__attribute__((unused)) static const struct json_schema *bench_compile(struct bench *bench, const char *yaml,
								       struct complaints *errors)
{
	struct node *node;
	struct str error;
	complaints_init(errors, "plan.yaml");
	if (tree_parse(&bench->arena, str_from(yaml), "plan.yaml", &node, &error) != OK)
		fail_msg("%s: %.*s", yaml, STR_ARG(error));
	return json_schema_compile(&bench->arena, errors, node, "schema");
}

__attribute__((unused)) static struct json bench_parse(struct bench *bench, struct str text)
{
	struct json value;
	const char *why;
	buf_clear(&bench->text);
	assert_int_equal(buf_append_str(&bench->text, text), OK);
	if (json_parse(bench->reader, buf_str(&bench->text), &value, &why) != OK) fail_msg("%s", why);
	return value;
}

__attribute__((unused)) static const struct json_schema *bench_schema(struct bench *bench, const char *yaml)
{
	struct complaints errors;
	const struct json_schema *schema = bench_compile(bench, yaml, &errors);
	if (!schema) fail_msg("%s: %.*s", yaml, STR_ARG(buf_str(&errors.text)));
	complaints_fini(&errors);
	return schema;
}
