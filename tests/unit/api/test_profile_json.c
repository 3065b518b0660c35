#include "api/api_test.h"

#include "api/profile_json.h"
#include "base/clock.h"

static struct buf out;
static struct json_out json;

static int setup(void **state)
{
	(void)state;
	buf_init(&out, 1 << 16);
	json_out_init(&json, &out);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_fini(&out);
	return 0;
}

static void assert_text(const char *expected)
{
	assert_int_equal(json.status, OK);
	if (!str_eq(buf_str(&out), str_from(expected))) fail_msg("got %.*s", STR_ARG(buf_str(&out)));
}

static void a_person_reads_as_documented(void **state)
{
	(void)state;
	struct profile_identifier identifiers[] = {{.namespace_ = STR("user_id"),
						    .value = STR("4\"2"),
						    .first_seen = US_PER_SECOND,
						    .last_seen = 2 * US_PER_SECOND,
						    .event_count = 3}};
	struct profile_trait traits[] = {{.name = STR("plan"),
					  .value = STR("{\"a\":[1]}"),
					  .provenance = PROVENANCE_DECLARED,
					  .updated_at = US_PER_SECOND,
					  .source = STR("web"),
					  .is_winner = true}};
	struct profile_feature features[] = {{.name = STR("orders"), .value = STR("3")},
					     {.name = STR("last"), .value = STR("null")}};
	struct profile profile = {.id = {{0xab}},
				  .requested_id = {{0xab}},
				  .identifiers = identifiers,
				  .identifier_count = 1,
				  .traits = traits,
				  .trait_count = 1,
				  .features = features,
				  .feature_count = 2,
				  .first_seen = US_PER_SECOND,
				  .last_seen = 0};
	profile_write(&json, &profile, STR("here"));
	assert_text(
	    "{\"id\":\"ab000000000000000000000000000000\","
	    "\"identifiers\":[{\"namespace\":\"user_id\",\"value\":\"4\\\"2\",\"firstSeen\":\"1970-01-01T00:00:01Z\","
	    "\"lastSeen\":\"1970-01-01T00:00:02Z\",\"events\":3}],"
	    "\"traits\":{\"plan\":{\"value\":{\"a\":[1]},\"provenance\":\"declared\",\"updatedAt\":\"1970-01-01T00:00:"
	    "01Z\",\"source\":\"web\"}},"
	    "\"features\":{\"orders\":3,\"last\":null},\"segments\":[],\"consents\":[],"
	    "\"firstSeen\":\"1970-01-01T00:00:01Z\",\"lastSeen\":null,\"fragments\":1,\"position\":\"here\"}");
}

static void a_joined_person_says_who_was_asked_for(void **state)
{
	(void)state;
	struct profile profile = {.id = {{1}}, .requested_id = {{2}}};
	jo_object(&json);
	profile_write_ids(&json, &profile);
	jo_end_object(&json);
	assert_text(
	    "{\"id\":\"01000000000000000000000000000000\",\"requestedId\":\"02000000000000000000000000000000\"}");
}

static void losing_values_stand_under_their_winner(void **state)
{
	(void)state;
	struct profile_trait traits[] = {
	    {.name = STR("a"),
	     .value = STR("1"),
	     .provenance = PROVENANCE_DECLARED,
	     .source = STR("s"),
	     .is_winner = true},
	    {.name = STR("a"), .value = STR("2"), .provenance = PROVENANCE_OBSERVED, .source = STR("s")},
	    {.name = STR("a"), .value = STR("3"), .provenance = PROVENANCE_INFERRED, .source = STR("t")},
	    {.name = STR("b"),
	     .value = STR("4"),
	     .provenance = PROVENANCE_OBSERVED,
	     .source = STR("s"),
	     .is_winner = true},
	};
	struct profile profile = {.traits = traits, .trait_count = COUNT_OF(traits)};
	jo_object(&json);
	profile_write_traits(&json, &profile);
	jo_end_object(&json);
	assert_text("{\"traits\":{\"a\":{\"value\":1,\"provenance\":\"declared\",\"updatedAt\":null,\"source\":\"s\","
		    "\"others\":["
		    "{\"value\":2,\"provenance\":\"observed\",\"updatedAt\":null,\"source\":\"s\"},"
		    "{\"value\":3,\"provenance\":\"inferred\",\"updatedAt\":null,\"source\":\"t\"}]},"
		    "\"b\":{\"value\":4,\"provenance\":\"observed\",\"updatedAt\":null,\"source\":\"s\"}}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_person_reads_as_documented, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_joined_person_says_who_was_asked_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(losing_values_stand_under_their_winner, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
