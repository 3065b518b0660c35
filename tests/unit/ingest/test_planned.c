#include "ingest/harness.h"

#include "config/tracking_plan.h"
#include "ingest/privacy_key.h"

static struct arena plan_arena;

static void use_plan(const char *yaml)
{
	struct node *node;
	struct str error;
	struct complaints complaints;
	const struct tracking_plan *plan = NULL;
	struct reading reading = {.arena = &plan_arena, .complaints = &complaints};
	complaints_init(&complaints, "plan.yaml");
	assert_int_equal(tree_parse(&plan_arena, str_from(yaml), "plan.yaml", &node, &error), OK);
	tracking_plan_load(&reading, node, &plan);
	if (!plan) fail_msg("%.*s", STR_ARG(buf_str(&complaints.text)));
	complaints_fini(&complaints);
	test_config.tracking_plan = plan;
}

static int setup(void **state)
{
	(void)state;
	arena_init(&plan_arena, 4096, 0);
	return room_open(NULL);
}

static int teardown(void **state)
{
	test_config.tracking_plan = NULL;
	for (size_t i = 0; i < COUNT_OF(test_sources); i++) test_sources[i].rules = NULL;
	arena_fini(&plan_arena);
	return room_teardown(state);
}

static int64_t violations_of(const char *event)
{
	return metric_value(tracking_plan_find(test_config.tracking_plan, PLAN_TRACK, str_from(event))->violations);
}

#define ORDER(mode) \
	"events:\n" \
	"  - event: Order Completed\n" \
	"    mode: " mode "\n" \
	"    schema:\n" \
	"      required: [total]\n" \
	"      properties: {total: {type: number, minimum: 0}, card: {type: string, maxLength: 4}}\n"

#define BAD_ORDER \
	"{\"type\":\"track\",\"userId\":\"u1\",\"messageId\":\"m1\",\"event\":\"Order " \
	"Completed\",\"properties\":{\"total\":-5}}"
#define GOOD_ORDER \
	"{\"type\":\"track\",\"userId\":\"u1\",\"messageId\":\"m2\",\"event\":\"Order " \
	"Completed\",\"properties\":{\"total\":5}}"

static void rejects(void **state)
{
	(void)state;
	use_plan(ORDER("reject"));
	int64_t before = violations_of("Order Completed");
	ask_server(DIALECT_SEGMENT_ONE, STR(BAD_ORDER));
	assert_refused(PROBLEM_SCHEMA_VIOLATION, "/properties/total");
	assert_string_equal(room.whole.message, "must be at least 0, is -5");
	assert_text(room.rejects[0].pointer, "/properties/total");
	assert_text(room.rejects[0].detail, "must be at least 0, is -5");
	assert_text(room.rejects[0].message_id, "m1");
	assert_true(room.rejects[0].excerpt.len > 0);
	assert_int_equal(violations_of("Order Completed") - before, 1);
	assert_text(one(GOOD_ORDER)->violations, "");
	assert_int_equal(violations_of("Order Completed") - before, 1);
}

static void neighbours_are_kept(void **state)
{
	(void)state;
	use_plan(ORDER("reject"));
	ask_server(DIALECT_SEGMENT_BATCH, STR("{\"batch\":[" GOOD_ORDER "," BAD_ORDER
					      ",{\"type\":\"track\",\"userId\":\"u\",\"event\":\"Order Completed\"},"
					      "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"Other\"}]}"));
	assert_int_equal(room.accepted, 2);
	assert_int_equal(room.rejection_count, 2);
	assert_int_equal(room.rejections[0].index, 1);
	assert_int_equal(room.rejections[0].code, PROBLEM_SCHEMA_VIOLATION);
	assert_string_equal(room.rejections[0].pointer, "/properties/total");
	assert_int_equal(room.rejections[1].index, 2);
	assert_string_equal(room.rejections[1].pointer, "/properties/total");
	assert_string_equal(room.rejections[1].message, "is required");
}

/* One that cannot be parsed costs the batch its one document: the others come as texts of their own. */
static void piecewise(void **state)
{
	(void)state;
	use_plan(ORDER("reject"));
	ask_server(DIALECT_SEGMENT_BATCH, STR("{\"batch\":[" GOOD_ORDER ",{\"type\":}," BAD_ORDER "]}"));
	assert_int_equal(room.accepted, 1);
	assert_int_equal(room.rejection_count, 2);
	assert_int_equal(room.rejections[0].code, PROBLEM_INVALID_JSON);
	assert_string_equal(room.rejections[1].pointer, "/properties/total");
}

static void flags(void **state)
{
	(void)state;
	test_config.tracking_plan = NULL;
	uint64_t hash = one(BAD_ORDER)->canonical_hash;
	use_plan(ORDER("flag"));
	const struct cdpd_event *event = one(BAD_ORDER);
	assert_text(event->violations,
		    "[{\"code\":\"schema_violation\",\"pointer\":\"/properties/total\",\"message\":\"must be "
		    "at least 0, is -5\"}]");
	assert_text(event->properties, "{\"total\":-5}");
	assert_true(event->canonical_hash == hash); /* beside the message, not in it */
	assert_text(one(GOOD_ORDER)->violations, "");
	/* None of one event on the next of its batch. */
	ask_server(DIALECT_SEGMENT_BATCH, STR("{\"batch\":[" BAD_ORDER "," GOOD_ORDER "]}"));
	assert_true(room.events[0].violations.len > 0);
	assert_text(room.events[1].violations, "");
}

static void accepts(void **state)
{
	(void)state;
	use_plan(ORDER("accept"));
	int64_t before = violations_of("Order Completed");
	assert_text(one(BAD_ORDER)->violations, "");
	assert_int_equal(violations_of("Order Completed") - before, 1);
}

static void unplanned(void **state)
{
	static const char other[] = "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"Other\"}";
	static const char page[] = "{\"type\":\"page\",\"userId\":\"u\"}";
	(void)state;
	use_plan("unplanned: flag\n" ORDER("reject"));
	assert_text(one(other)->violations,
		    "[{\"code\":\"unplanned_event\",\"pointer\":\"/event\",\"message\":\"the tracking "
		    "plan does not name this event\"}]");
	assert_int_equal(metric_value(test_config.tracking_plan->unplanned_events), 1);
	use_plan("unplanned: reject\n" ORDER("reject"));
	ask_server(DIALECT_SEGMENT_ONE, str_from(other));
	assert_refused(PROBLEM_SCHEMA_VIOLATION, "/event");
	ask_server(DIALECT_SEGMENT_ONE, str_from(page));
	assert_refused(PROBLEM_SCHEMA_VIOLATION, "/type");
	/* An alias has nothing to plan. */
	one("{\"type\":\"alias\",\"userId\":\"u\",\"previousId\":\"a\"}");
	use_plan("unplanned: reject\nevents: [{type: track}, {type: page}]\n");
	one(other);
	one(page);
}

static void traits(void **state)
{
	(void)state;
	use_plan("events:\n  - type: identify\n    mode: reject\n    schema: {required: [email], properties: {email: "
		 "{format: email}, "
		 "age: {type: integer}}}\n");
	one("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"email\":\"a@b.de\"}}");
	ask_server(DIALECT_SEGMENT_ONE,
		   STR("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"email\":\"nobody\"}}"));
	assert_refused(PROBLEM_SCHEMA_VIOLATION, "/traits/email");
	ask_server(DIALECT_SEGMENT_ONE, STR("{\"type\":\"identify\",\"userId\":\"u\"}"));
	assert_refused(PROBLEM_SCHEMA_VIOLATION, "/traits/email");
	/* RudderStack's browsers: in the context, or in both. */
	one("{\"type\":\"identify\",\"userId\":\"u\",\"context\":{\"traits\":{\"email\":\"a@b.de\"}}}");
	one("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"age\":5},\"context\":{\"traits\":{\"email\":\"a@b."
	    "de\"}}}");
	ask_server(DIALECT_SEGMENT_ONE,
		   STR("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"age\":\"5\"},\"context\":{\"traits\":{"
		       "\"email\":\"a@b.de\"}}}"));
	assert_refused(PROBLEM_SCHEMA_VIOLATION, "/traits/age");
}

/* Its parts are documents of their own, which come after one another. */
static void protobuf(void **state)
{
	static const char good[] = "\x0a\x23\x08\x01\x1a\x01u\x3a\x0fOrder Completed\x62\x0b{\"total\":5}";
	static const char bad[] = "\x0a\x24\x08\x01\x1a\x01u\x3a\x0fOrder Completed\x62\x0c{\"total\":-5}";
	(void)state;
	use_plan(ORDER("reject"));
	ask_server(DIALECT_NATIVE_PROTOBUF, str_of(good, sizeof good - 1));
	assert_int_equal(room.accepted, 1);
	ask_server(DIALECT_NATIVE_PROTOBUF, str_of(bad, sizeof bad - 1));
	assert_int_equal(room.accepted, 0);
	assert_int_equal(room.reject_count, 1);
	assert_text(room.rejects[0].pointer, "/properties/total");
}

/* ── violations and what is private ──────────────────────────────────────── */

static void use_rules(const char *drop, const char *pseudonymize)
{
	static struct conf_privacy privacy;
	static struct str paths[2];
	paths[0] = str_from(drop);
	paths[1] = str_from(pseudonymize);
	privacy = (struct conf_privacy){.drop = &paths[0],
					.drop_count = paths[0].len > 0,
					.pseudonymize = &paths[1],
					.pseudonymize_count = paths[1].len > 0};
	for (size_t i = 0; i < COUNT_OF(test_sources); i++)
		assert_int_equal(privacy_compile(&plan_arena, &privacy, NULL, &test_sources[i].rules), OK);
	room.ingest->key.is_loaded = true;
}

/* What is required may be dropped: the plan speaks of what was sent. */
static void checked_before_it_is_dropped(void **state)
{
	(void)state;
	use_plan(ORDER("reject"));
	use_rules("properties.total", "");
	assert_text(one(GOOD_ORDER)->properties, "{}");
	ask_server(DIALECT_SEGMENT_ONE, STR(BAD_ORDER));
	assert_refused(PROBLEM_SCHEMA_VIOLATION, "/properties/total");
	assert_string_equal(room.whole.message, "must be at least 0"); /* without the value */
	assert_null(memmem(room.rejects[0].excerpt.ptr, room.rejects[0].excerpt.len, "-5", 2));
	assert_non_null(memmem(room.rejects[0].excerpt.ptr, room.rejects[0].excerpt.len, "Order Completed", 15));
}

static void private_keys_are_not_told(void **state)
{
	(void)state;
	use_plan(
	    "events:\n  - event: A\n    mode: flag\n    schema: {properties: {cards: {additionalProperties: false}, "
	    "n: {maximum: 1}}}\n");
	use_rules("properties.cards", "");
	const struct cdpd_event *event = one(
	    "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"A\",\"properties\":{\"cards\":{\"4111111\":1},\"n\":2}}");
	assert_text(event->violations,
		    "[{\"code\":\"schema_violation\",\"pointer\":\"/properties/cards\",\"message\":\"is not in the "
		    "schema\"},{\"code\":\"schema_violation\",\"pointer\":\"/properties/n\",\"message\":\"must be "
		    "at most 1, is 2\"}]");
	assert_text(event->properties, "{\"n\":2}");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(rejects),
	    TEST(neighbours_are_kept),
	    TEST(piecewise),
	    TEST(flags),
	    TEST(accepts),
	    TEST(unplanned),
	    TEST(traits),
	    TEST(protobuf),
	    TEST(checked_before_it_is_dropped),
	    TEST(private_keys_are_not_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
