#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "profile/plan.h"

static struct conf_namespace namespaces[] = {
    {.name = {"user_id", 7},
     .from = (struct str[]){{"userId", 6}},
     .from_count = 1,
     .max_per_profile = 1,
     .is_known = true},
    {.name = {"anonymous_id", 12},
     .from = (struct str[]){{"anonymousId", 11}},
     .from_count = 1,
     .max_per_profile = 4,
     .is_known = false},
};
static struct str blocked[] = {{"null", 4}, {"0", 1}, {"null", 4}};
static struct str completed = {"Order \"Completed\"", 17};
static struct conf_feature features[] = {
    {.name = {"orders", 6}, .type = {"count", 5}, .events = &completed, .event_count = 1, .field = {"", 0}},
    {.name = {"amount", 6}, .type = {"sum", 3}, .field = {"properties.total", 16}},
};

static struct config config_of(void)
{
	return (struct config){.namespaces = namespaces,
			       .namespace_count = 2,
			       .max_fragments = 50,
			       .blocked_identifiers = blocked,
			       .blocked_identifier_count = 3,
			       .features = features,
			       .feature_count = 2,
			       .dedup_window_us = 5,
			       .dedup_max_ids = 20};
}

static const char expected[] =
    "{\"dedup\":{\"max_ids\":20,\"window_us\":5},\"features\":["
    "{\"event\":\"\",\"field\":\"properties.total\",\"name\":\"amount\",\"state_version\":1,\"type\":\"sum\"},"
    "{\"event\":\"Order "
    "\\\"Completed\\\"\",\"field\":\"\",\"name\":\"orders\",\"state_version\":1,\"type\":\"count\"}],"
    "\"identity\":{\"blocked\":[\"0\",\"null\"],\"max_fragments\":50,\"namespaces\":["
    "{\"from\":\"userId\",\"is_known\":true,\"max_per_profile\":1,\"name\":\"user_id\"},"
    "{\"from\":\"anonymousId\",\"is_known\":false,\"max_per_profile\":4,\"name\":\"anonymous_id\"}]}}";

static void test_canonical(void **state)
{
	(void)state;
	struct buf out;
	struct config config = config_of();
	buf_init(&out, 100000);
	assert_int_equal(definitions_write(&config, &out), OK);
	assert_true(str_eq(buf_str(&out), str_from(expected)));
	/* Order that means nothing changes nothing. */
	struct conf_feature swap = features[0];
	features[0] = features[1];
	features[1] = swap;
	blocked[0] = STR("0");
	blocked[1] = STR("null");
	buf_clear(&out);
	assert_int_equal(definitions_write(&config, &out), OK);
	assert_true(str_eq(buf_str(&out), str_from(expected)));
	/* Order of strength does. */
	struct conf_namespace other[] = {namespaces[1], namespaces[0]};
	config.namespaces = other;
	buf_clear(&out);
	assert_int_equal(definitions_write(&config, &out), OK);
	assert_false(str_eq(buf_str(&out), str_from(expected)));
	features[0].type = STR("unheard-of");
	buf_clear(&out);
	assert_int_equal(definitions_write(&config, &out), ERR_NOT_FOUND);
	features[0].type = STR("sum");
	buf_fini(&out);
}

static void test_parse(void **state)
{
	(void)state;
	struct arena arena;
	struct definitions definitions;
	arena_init(&arena, 4096, 1 << 20);
	assert_int_equal(definitions_parse(str_from(expected), &arena, &definitions), OK);
	assert_int_equal(definitions.namespace_count, 2);
	assert_true(str_eq(definitions.namespaces[1].name, STR("anonymous_id")));
	assert_int_equal(definitions.namespaces[1].max_per_profile, 4);
	assert_true(definitions.namespaces[0].is_known && !definitions.namespaces[1].is_known);
	assert_int_equal(definitions.blocked_count, 2);
	assert_int_equal(definitions.max_fragments, 50);
	assert_int_equal(definitions.feature_count, 2);
	assert_true(str_eq(definitions.features[1].events[0], STR("Order \"Completed\"")));
	assert_ptr_equal(definitions.features[0].impl, feature_type_find(STR("sum")));
	assert_int_equal(definitions.dedup_window_us, 5);
	assert_int_equal(definitions.dedup_max_ids, 20);
	arena_fini(&arena);
}

static void assert_parse(const char *from, const char *to, int status)
{
	struct arena arena;
	struct definitions definitions;
	const char *at = strstr(expected, from);
	assert_non_null(at);
	char *text = malloc(sizeof expected + strlen(to));
	sprintf(text, "%.*s%s%s", (int)(at - expected), expected, to, at + strlen(from));
	arena_init(&arena, 4096, 1 << 20);
	assert_int_equal(definitions_parse(str_from(text), &arena, &definitions), status);
	arena_fini(&arena);
	free(text);
}

static void test_refused(void **state)
{
	(void)state;
	assert_parse("\"type\":\"sum\"", "\"type\":\"sums\"", ERR_NOT_FOUND);
	assert_parse("\"state_version\":1", "\"state_version\":2", ERR_NOT_FOUND);
	assert_parse("properties.total", "total", ERR_INVALID);
	assert_parse("properties.total", "", ERR_INVALID); /* sum needs a field */
	assert_parse("\"from\":\"userId\"", "\"from\":\"\"", ERR_INVALID);
	assert_parse("\"from\":\"userId\"", "\"from\":\"user\"", ERR_INVALID);
	assert_parse("\"name\":\"user_id\"", "\"name\":\"user:id\"", ERR_INVALID);
	assert_parse("\"max_fragments\":50", "\"max_fragments\":70000", ERR_INVALID);
	assert_parse("\"max_fragments\":50", "\"max_fragments\":-1", ERR_INVALID);
	assert_parse("\"features\":[", "\"features\":[7,", ERR_INVALID);
	assert_parse("\"is_known\":true", "\"is_known\":1", ERR_INVALID);
	assert_parse("\"identity\":", "\"identities\":", ERR_INVALID);
	assert_parse("{\"dedup\"", "[{\"dedup\"", ERR_INVALID);
	assert_parse("\"blocked\":[\"0\"", "\"blocked\":[0", ERR_INVALID);
}

/* States lie under keys made of definitions: another key would lose what was counted before an upgrade. */
static void test_keys_are_for_ever(void **state)
{
	(void)state;
	struct plan *plan;
	assert_int_equal(plan_succeed(NULL, str_from(expected), 1, &plan), OK);
	assert_int_equal(plan->feature_count, 2);
	assert_int_equal(plan->features[0].key, UINT64_C(0x20af4dcaf84c5d12));
	assert_int_equal(plan->features[1].key, UINT64_C(0x941c6953f77470ca));
	plan_free(plan);
}

/* The same name twice never becomes active. */
static void test_twice(void **state)
{
	(void)state;
	struct plan *plan;
	char *text = strdup(expected);
	char *at = strstr(text, "anonymous_id");
	memcpy(at, "user_id\"}]}}", 13);
	assert_int_equal(plan_succeed(NULL, str_from(text), 1, &plan), ERR_INVALID);
	free(text);
	assert_int_equal(plan_succeed(NULL, str_from(expected), 1, &plan), OK);
	assert_int_equal(plan->identity_seq, 1);
	struct plan *next;
	assert_int_equal(plan_succeed(plan, str_from(expected), 9, &next), OK);
	assert_int_equal(next->identity_seq, 1);
	assert_int_equal(next->features[0].key, plan->features[0].key);
	assert_true(plan_is_blocked(plan, 0, STR("NULL")) && plan_is_blocked(plan, 0, STR("0")) &&
		    !plan_is_blocked(plan, 0, STR("nul")));
	plan_free(next);
	plan_free(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_canonical),         cmocka_unit_test(test_parse), cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_keys_are_for_ever), cmocka_unit_test(test_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
