/* What instances of plugins publish, and traits of many persons at once: the class is the route's, the person is put where the configuration reads the
 * namespace from, and a payload chooses neither. */
#include "harness.h"

static struct str from_user[] = {STR("userId")}, from_email[] = {STR("traits.email")};
static struct str from_card[] = {STR("properties.card.number")}, from_device[] = {STR("context.device.id")};
static struct str from_group[] = {STR("traits.group"), STR("groupId")};
static struct conf_namespace namespaces[] = {
    {.name = STR("user_id"), .from = from_user, .from_count = 1},
    {.name = STR("email"), .from = from_email, .from_count = 1},
    {.name = STR("card"), .from = from_card, .from_count = 1},
    {.name = STR("device"), .from = from_device, .from_count = 1},
    {.name = STR("group"), .from = from_group, .from_count = 2},
};

static int setup(void **state)
{
	(void)state;
	test_config.namespaces = namespaces;
	test_config.namespace_count = COUNT_OF(namespaces);
	test_config.limits.events_per_second_per_ip = 0;
	return room_open(NULL);
}

static void publish(const char *ref, const char *json)
{
	const struct ingest_publication published = {STR("churn-score"), str_from(ref)};
	struct ingest_request request = request_of(DIALECT_PUBLISHED, str_from(json));
	request.authorization = STR_NONE;
	request.client_ip = STR_NONE;
	request.published = &published;
	ask(&request);
}

static const struct cdpd_event *published(const char *ref, const char *json)
{
	publish(ref, json);
	if (room.problem) fail_msg("%s at \"%s\"", problem_info(room.problem)->code, room.whole.pointer);
	assert_int_equal(room.event_count, 1);
	return &room.events[0];
}

#define SCORE "{\"type\":\"identify\",\"messageId\":\"m\",\"traits\":{\"churn\":0.5}}"

static void test_its_class_and_source_are_the_routes(void **state)
{
	(void)state;
	const struct cdpd_event *event =
	    published("user_id:42", "{\"type\":\"identify\",\"traits\":{\"churn\":0.5},\"context\":{\"active\":true},"
				    "\"provenance\":\"declared\",\"sourceId\":\"web\",\"writeKey\":\"server-key\"}");
	assert_text(event->source_id, "churn-score");
	assert_int_equal(event->source_kind, SOURCE_PLUGIN);
	assert_true(event->flags & EVENT_INFERRED && event->flags & EVENT_INACTIVE);
	assert_false(event->flags & (EVENT_DECLARED | EVENT_CONSENT));
	assert_false(event->rights & (RIGHT_DECLARED | RIGHT_LINK_KNOWN | RIGHT_ALIAS | RIGHT_CONSENT));
	assert_text(event->user_id, "42");
	assert_text(event->enrichment, "");
}

static void test_the_person_is_put_where_the_namespace_is_read_from(void **state)
{
	(void)state;
	assert_text(published("user_id:42", SCORE)->user_id, "42");
	assert_text(published("email:a@b.c", SCORE)->traits, "{\"churn\":0.5,\"email\":\"a@b.c\"}");
	assert_text(published("email:a@b.c", "{\"type\":\"track\",\"event\":\"Scored\"}")->traits,
		    "{\"email\":\"a@b.c\"}");
	assert_text(published("group:g:1", SCORE)->group_id, "g:1");
	const struct cdpd_event *event = published("card:7", SCORE);
	assert_text(event->properties, "{\"card\":{\"number\":\"7\"}}");
	assert_text(event->traits, "{\"churn\":0.5}");
	event = published("card:7", "{\"type\":\"track\",\"event\":\"Scored\",\"properties\":{\"a\":1}}");
	assert_text(event->properties, "{\"a\":1,\"card\":{\"number\":\"7\"}}");
	event = published("device:d", "{\"type\":\"track\",\"event\":\"Scored\",\"context\":{\"b\":2}}");
	assert_text(event->context, "{\"b\":2,\"device\":{\"id\":\"d\"}}");
}

static void test_an_event_that_names_somebody_itself_is_refused(void **state)
{
	(void)state;
	publish("user_id:42", "{\"type\":\"identify\",\"userId\":\"7\",\"traits\":{\"a\":1}}");
	assert_refused(PROBLEM_INVALID_IDENTIFIER, "");
	publish("user_id:42", "{\"type\":\"identify\",\"anonymousId\":\"7\",\"traits\":{\"a\":1}}");
	assert_refused(PROBLEM_INVALID_IDENTIFIER, "");
	publish("email:a@b.c", "{\"type\":\"identify\",\"traits\":{\"email\":\"x@y.z\"}}");
	assert_refused(PROBLEM_INVALID_IDENTIFIER, "");
	publish("card:7", "{\"type\":\"track\",\"event\":\"Scored\",\"properties\":{\"card\":3}}");
	assert_refused(PROBLEM_INVALID_IDENTIFIER, "");
	publish("shoe:7", SCORE);
	assert_refused(PROBLEM_INVALID_IDENTIFIER, "");
	assert_text(room.rejects[0].source_id, "churn-score");
	/* Without a reference it names the person itself. */
	assert_text(published("", "{\"type\":\"identify\",\"userId\":\"7\",\"traits\":{\"a\":1}}")->user_id, "7");
	publish("", SCORE);
	assert_int_equal(room.problem, PROBLEM_MISSING_IDENTITY);
}

static void test_what_is_broken_is_refused_and_counted(void **state)
{
	(void)state;
	static const char *const texts[] = {
	    "{", "[]", "7", "{\"type\":\"identify\"", "{\"type\":\"wish\"}", "{\"traits\":1}"};
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		publish("user_id:42", texts[i]);
		assert_true(room.problem != PROBLEM_NONE);
		assert_int_equal(room.event_count, 0);
		assert_int_equal(room.reject_count, 1);
	}
	assert_int_equal(tape.rejected, COUNT_OF(texts));
}

static void test_a_limit_of_addresses_is_not_its(void **state)
{
	(void)state;
	test_config.limits.events_per_second_per_ip = 1;
	for (int i = 0; i < 20; i++) (void)published("user_id:42", SCORE);
}

/* ── of many ─────────────────────────────────────────────────────────────── */

static void test_traits_of_many_with_a_model(void **state)
{
	(void)state;
	static const struct ingest_refusal refusal = {PROBLEM_NOT_FOUND, {"/ref", 4}, {"nobody", 6}};
	char texts[4][64 + BUF_SLACK] = {"{\"churn\":1}", "{\"churn\":2}", "{\"churn\":", "{\"churn\":4}"};
	const struct ingest_traits_item items[] = {
	    {.ref = STR("user_id:1"), .message_id = STR("a"), .traits = str_from(texts[0]), .time_us = NOW - 5},
	    {.ref = STR("card:2"), .message_id = STR_NONE, .traits = str_from(texts[1])},
	    {.ref = STR("user_id:3"), .message_id = STR_NONE, .traits = str_from(texts[2])},
	    {.ref = STR("id:0"), .message_id = STR_NONE, .traits = str_from(texts[3]), .refusal = &refusal},
	};
	const struct ingest_traits told = {.ref = STR_NONE,
					   .source = STR("nightly"),
					   .message_id = STR_NONE,
					   .flags = EVENT_INFERRED,
					   .time_us = NOW - 9,
					   .model = STR("ch\"urn"),
					   .model_version = STR("7"),
					   .items = items,
					   .item_count = COUNT_OF(items)};
	struct ingest_request request = request_of(DIALECT_TRAITS, STR("{}"));
	request.traits = &told;
	ask(&request);
	assert_int_equal(room.problem, PROBLEM_NONE);
	assert_int_equal(room.accepted, 2);
	assert_int_equal(tape.appends, 1);
	assert_text(room.events[0].properties, "{\"model\":{\"name\":\"ch\\\"urn\",\"version\":\"7\"}}");
	assert_text(room.events[1].properties,
		    "{\"model\":{\"name\":\"ch\\\"urn\",\"version\":\"7\"},\"card\":{\"number\":\"2\"}}");
	assert_int_equal(room.events[0].event_time_us, NOW - 5);
	assert_int_equal(room.events[1].event_time_us, NOW - 9);
	assert_true(room.events[1].flags & EVENT_INFERRED);
	assert_int_equal(room.rejection_count, 2);
	assert_int_equal(room.rejections[0].index, 2);
	assert_string_equal(room.rejections[0].pointer, "/traits");
	assert_int_equal(room.rejections[1].index, 3);
	assert_int_equal(room.rejections[1].code, PROBLEM_NOT_FOUND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, room_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_its_class_and_source_are_the_routes),
	    TEST(test_the_person_is_put_where_the_namespace_is_read_from),
	    TEST(test_an_event_that_names_somebody_itself_is_refused),
	    TEST(test_what_is_broken_is_refused_and_counted),
	    TEST(test_a_limit_of_addresses_is_not_its),
	    TEST(test_traits_of_many_with_a_model),
	};
	return cmocka_run_group_tests_name("published", tests, NULL, NULL);
}
