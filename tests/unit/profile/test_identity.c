#include "world.h"

#include <stdio.h>
#include <stdlib.h>

static struct cdpd_event track(const char *user, const char *anonymous)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, anonymous);
	event.event = STR("Clicked");
	return event;
}

static struct cdpd_event identify(const char *user, const char *anonymous, const char *traits)
{
	struct cdpd_event event = world_event(EVENT_IDENTIFY, user, anonymous);
	event.traits = str_from(traits);
	return event;
}

static void one(struct world *world, struct cdpd_event event)
{
	(void)world_one(world, &event);
	world_check(world);
}

static void test_sign_in_joins(void **state)
{
	(void)state;
	struct world world;
	struct profile profile, same;
	world_open(&world);
	one(&world, track("", "a1"));
	one(&world, track("", "a1"));
	assert_text(view_identifiers(&world, "anonymous_id:a1"), "anonymous_id:a1");
	one(&world, identify("u1", "a1", "{\"plan\":\"gold\"}"));
	assert_text(view_identifiers(&world, "anonymous_id:a1"), "user_id:u1 anonymous_id:a1");
	assert_text(view_identifiers(&world, "user_id:u1"), "user_id:u1 anonymous_id:a1");
	one(&world, track("", "a1")); /* signed out: still the same person */
	assert_text(view_features(&world, "user_id:u1"), "events=4 first_page=null last_page=null orders=0 revenue=0");
	assert_text(view_traits(&world, "anonymous_id:a1"), "plan=\"gold\"");

	view_begin(&world);
	assert_int_equal(view_get(&world, "anonymous_id:a1", &profile), OK);
	assert_int_equal(view_get(&world, "user_id:u1", &same), OK);
	assert_true(fragment_id_eq(&profile.id, &same.id) && fragment_id_eq(&same.id, &same.requested_id));
	assert_false(fragment_id_eq(&profile.id, &profile.requested_id));
	assert_int_equal(profile.event_count, 4);
	assert_int_equal(profile.identifiers[0].event_count, 1);
	assert_int_equal(profile.identifiers[1].event_count, 3);
	char ref[40] = "id:";
	fragment_id_format(&profile.requested_id, ref + 3);
	assert_int_equal(view_get(&world, ref, &same), OK);
	assert_true(fragment_id_eq(&profile.id, &same.id));
	assert_true(fragment_id_eq(&profile.requested_id, &same.requested_id));
	view_end(&world);
	assert_text(view_links(&world, "user_id:u1"), "4 user_id:u1 anonymous_id:a1 same_event linked\n");
	assert_text(view_changes(&world, 0),
		    "profile {\"identifiers\":[\"anonymous_id:a1\"]}\n"
		    "feature {\"features\":{\"events\":1}}\n"
		    "feature {\"features\":{\"events\":2}}\n"
		    "merged {\"from\":\"<anonymous_id:a1>\",\"into\":\"<user_id:u1>\"}\n"
		    "identifier {\"identifiers\":[\"user_id:u1\"]}\n"
		    "trait {\"traits\":{\"plan\":{\"value\":\"gold\",\"provenance\":\"observed\"}}}\n"
		    "feature {\"features\":{\"events\":3}}\n"
		    "feature {\"features\":{\"events\":4}}\n");
	world_close(&world);
}

static void test_shared_device(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	one(&world, track("u1", "kiosk"));
	for (int i = 0; i < 3; i++) one(&world, track("u2", "kiosk"));
	assert_text(view_identifiers(&world, "anonymous_id:kiosk"), "user_id:u1 anonymous_id:kiosk");
	assert_text(view_identifiers(&world, "user_id:u2"), "user_id:u2");
	assert_text(view_chain(&world, "user_id:u2", 0, 10), "5 4 3");
	assert_text(view_chain(&world, "user_id:u1", 0, 10), "2");
	/* Once, under both. */
	assert_text(view_links(&world, "user_id:u2"), "3 user_id:u2 anonymous_id:kiosk same_event unique_conflict\n");
	assert_text(view_links(&world, "user_id:u1"), "2 user_id:u1 anonymous_id:kiosk same_event linked\n"
						      "3 user_id:u2 anonymous_id:kiosk same_event unique_conflict\n");
	world_close(&world);
}

static void test_first_link_wins(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	one(&world, track("u1", "a"));
	one(&world, track("u2", "b"));
	one(&world, track("u1", "b"));
	assert_text(view_identifiers(&world, "anonymous_id:b"), "user_id:u2 anonymous_id:b");
	assert_text(view_identifiers(&world, "user_id:u1"), "user_id:u1 anonymous_id:a");
	world_close(&world);
}

static void test_alias(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	one(&world, track("", "visitor"));
	struct cdpd_event alias = world_event(EVENT_ALIAS, "u1", "");
	alias.previous_id = STR("visitor");
	alias.rights = RIGHT_ALIAS;
	one(&world, alias);
	assert_text(view_identifiers(&world, "user_id:u1"), "user_id:u1 anonymous_id:visitor");
	assert_text(view_links(&world, "user_id:u1"), "3 user_id:u1 anonymous_id:visitor alias linked\n");

	/* No such visitor: a user is meant; two users never become one. */
	alias.user_id = STR("u2");
	alias.previous_id = STR("u1");
	one(&world, alias);
	assert_text(view_links(&world, "user_id:u2"), "4 user_id:u2 user_id:u1 alias unique_conflict\n");
	assert_text(view_identifiers(&world, "user_id:u2"), "user_id:u2");

	/* Without the right nothing is joined. */
	one(&world, track("", "other"));
	alias.user_id = STR("u3");
	alias.previous_id = STR("other");
	alias.rights = 0;
	one(&world, alias);
	assert_text(view_identifiers(&world, "user_id:u3"), "user_id:u3");
	assert_text(view_links(&world, "user_id:u3"), "6 user_id:u3 anonymous_id:other alias not_allowed\n");
	/* The same attempt by a source that may is another one. */
	alias.rights = RIGHT_ALIAS;
	one(&world, alias);
	assert_text(view_identifiers(&world, "user_id:u3"), "user_id:u3 anonymous_id:other");

	alias.user_id = STR("u4");
	alias.previous_id = STR("u4");
	one(&world, alias);
	assert_text(view_identifiers(&world, "user_id:u4"), "user_id:u4");
	assert_text(view_links(&world, "user_id:u4"), "");
	world_close(&world);
}

static void test_known_with_known(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	one(&world, track("u1", ""));
	one(&world, identify("", "", "{\"email\":\"a@b.c\"}"));
	one(&world, identify("u1", "", "{\"email\":\"a@b.c\"}")); /* both known already, from a browser */
	assert_text(view_identifiers(&world, "user_id:u1"), "user_id:u1");
	assert_text(view_links(&world, "user_id:u1"), "4 user_id:u1 email:a@b.c same_event not_allowed\n");
	/* A new address is not somebody already known. */
	one(&world, identify("u1", "", "{\"email\":\"new@b.c\"}"));
	assert_text(view_identifiers(&world, "user_id:u1"), "user_id:u1 email:new@b.c");
	/* A server may. */
	struct cdpd_event server = identify("u1", "", "{\"email\":\"a@b.c\"}");
	server.rights = RIGHT_LINK_KNOWN;
	one(&world, server);
	assert_text(view_identifiers(&world, "email:a@b.c"), "user_id:u1 email:a@b.c email:new@b.c");
	assert_text(view_links(&world, "user_id:u1"), "4 user_id:u1 email:a@b.c same_event not_allowed\n"
						      "5 user_id:u1 email:new@b.c same_event linked\n"
						      "6 user_id:u1 email:a@b.c same_event linked\n");
	world_close(&world);
}

static void test_namespace_limit(void **state)
{
	(void)state;
	struct world world;
	char device[8];
	world_open(&world);
	for (int i = 0; i < 6; i++) {
		snprintf(device, sizeof device, "a%d", i);
		one(&world, track("u1", device));
	}
	assert_text(view_identifiers(&world, "user_id:u1"),
		    "user_id:u1 anonymous_id:a0 anonymous_id:a1 anonymous_id:a2 anonymous_id:a3");
	assert_text(view_identifiers(&world, "anonymous_id:a5"), "anonymous_id:a5");
	assert_text(view_links(&world, "anonymous_id:a5"), "7 user_id:u1 anonymous_id:a5 same_event namespace_limit\n");
	world_close(&world);
}

static void test_max_fragments(void **state)
{
	(void)state;
	struct world world;
	char text[64];
	world_open(&world);
	for (int i = 0; i < 8; i++) {
		struct cdpd_event event = track("u1", "");
		snprintf(text, sizeof text, "{\"device\":{\"id\":%d}}", 100 + i); /* numbers become text */
		event.context = str_from(text);
		one(&world, event);
	}
	assert_text(view_identifiers(&world, "user_id:u1"),
		    "user_id:u1 device:100 device:101 device:102 device:103 device:104");
	assert_text(view_links(&world, "device:105"), "7 user_id:u1 device:105 same_event too_many_fragments\n");
	assert_text(view_identifiers(&world, "device:107"), "device:107");
	world_close(&world);
}

static void test_blocked(void **state)
{
	(void)state;
	struct world world;
	struct apply_result result;
	world_open(&world);
	struct cdpd_event event = track("GUEST", "");
	result = world_one(&world, &event);
	assert_int_equal(result.verdict, OUTCOME_REFUSED);
	assert_int_equal(result.reason, OUTCOME_REASON_BLOCKED_IDENTIFIER);
	event = world_event(EVENT_TRACK, "", "");
	result = world_one(&world, &event);
	assert_int_equal(result.reason, OUTCOME_REASON_NO_IDENTIFIER);
	event = track("null", "a1");
	result = world_one(&world, &event);
	assert_int_equal(result.verdict, OUTCOME_APPLIED);
	one(&world, event);
	assert_text(view_identifiers(&world, "anonymous_id:a1"), "anonymous_id:a1");
	assert_text(view_identifiers(&world, "user_id:null"), "not found");
	assert_text(view_identifiers(&world, "user_id:GUEST"), "not found");
	assert_text(view_links(&world, "anonymous_id:a1"), "4 anonymous_id:a1 user_id:null same_event blocked_value\n");
	world_close(&world);
}

static void test_email_forms(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	one(&world, identify("u1", "", "{\"email\":\"  a@b.c \"}"));
	assert_text(view_identifiers(&world, "email:a@b.c"), "user_id:u1 email:a@b.c");
	assert_text(view_identifiers(&world, "email: a@b.c"), "user_id:u1 email:a@b.c");
	/* A group's e-mail is the group's; context.traits count for identify. */
	struct cdpd_event group = world_event(EVENT_GROUP, "u2", "");
	group.group_id = STR("g");
	group.traits = STR("{\"email\":\"office@b.c\",\"name\":\"Office\"}");
	one(&world, group);
	assert_text(view_identifiers(&world, "user_id:u2"), "user_id:u2");
	assert_text(view_traits(&world, "user_id:u2"), "");
	struct cdpd_event in_context = world_event(EVENT_IDENTIFY, "u3", "");
	in_context.context = STR("{\"tr\\u0061its\":{\"email\":\"c@b.c\",\"age\":7}}");
	one(&world, in_context);
	assert_text(view_identifiers(&world, "user_id:u3"), "user_id:u3 email:c@b.c");
	assert_text(view_traits(&world, "user_id:u3"), "age=7 email=\"c@b.c\"");
	/* Not an identifier: objects, empty text, too long. */
	char traits[400];
	snprintf(traits, sizeof traits, "{\"email\":\"%0300d\"}", 0);
	one(&world, identify("u4", "", traits));
	one(&world, identify("u4", "", "{\"email\":{\"a\":1}}"));
	one(&world, identify("u4", "", "{\"email\":\"\"}"));
	assert_text(view_identifiers(&world, "user_id:u4"), "user_id:u4");
	world_close(&world);
}

static void test_many_attempts(void **state)
{
	(void)state;
	struct world world;
	struct profile profile;
	struct link_row *rows;
	size_t count;
	char device[16];
	world_open(&world);
	world_begin(&world);
	struct apply_result result;
	for (int i = 0; i < 300; i++) {
		snprintf(device, sizeof device, "a%03d", i);
		struct cdpd_event event = track("u1", device);
		world_apply(&world, &event, &result);
	}
	world_commit(&world);
	world_check(&world);
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u1", &profile), OK);
	assert_int_equal(people_links(world.reader, &profile, &world.arena, &rows, &count), OK);
	assert_int_equal(count, PEOPLE_ATTEMPTS_MAX);
	struct row *row;
	assert_int_equal(reader_row(world.reader, &profile.id, false, false, &world.arena, &row), OK);
	assert_int_equal(row->attempt_count, PEOPLE_ATTEMPTS_MAX);
	assert_int_equal(row->attempt_overflow, 100);
	view_end(&world);
	/* The other side keeps what this one has no room for. */
	assert_text(view_links(&world, "anonymous_id:a299"),
		    "301 user_id:u1 anonymous_id:a299 same_event too_many_attempts\n");
	world_close(&world);
}

/* New rules look at old refusals again, when the attempt comes again. */
static void test_rules_change(void **state)
{
	(void)state;
	struct world world;
	char *text, *at;
	world_open(&world);
	one(&world, track("u1", "k"));
	one(&world, track("u2", "k"));
	assert_text(view_identifiers(&world, "user_id:u2"), "user_id:u2");
	text = strdup(world_definitions);
	at = strstr(text, "\"max_per_profile\":1,");
	assert_non_null(at);
	at[strlen("\"max_per_profile\":")] = '2';
	world_define(&world, text);
	assert_text(view_identifiers(&world, "user_id:u2"), "user_id:u2");
	struct cdpd_event event = track("u2", "k");
	one(&world, event); /* decided again, and kept: a browser cannot join two users */
	assert_text(view_identifiers(&world, "user_id:u2"), "user_id:u2");
	event.rights = RIGHT_LINK_KNOWN;
	one(&world, event);
	assert_text(view_identifiers(&world, "user_id:u2"), "user_id:u1 user_id:u2 anonymous_id:k");
	assert_text(view_links(&world, "user_id:u2"), "2 user_id:u1 anonymous_id:k same_event linked\n"
						      "3 user_id:u2 anonymous_id:k same_event unique_conflict\n"
						      "5 user_id:u2 anonymous_id:k same_event not_allowed\n"
						      "6 user_id:u2 anonymous_id:k same_event linked\n");
	free(text);
	world_close(&world);
}

static const char *const normalized_definitions =
    "{\"dedup\":{\"max_ids\":1000,\"window_us\":604800000000},\"features\":[],"
    "\"identity\":{\"blocked\":[\"null\"],\"max_fragments\":6,\"namespaces\":["
    "{\"from\":\"userId\",\"is_known\":true,\"max_per_profile\":1,\"name\":\"user_id\"},"
    "{\"blocked\":[\"nobody@b.c\"],\"from\":[\"traits.email\",\"properties.email\"],\"is_known\":true,"
    "\"max_per_profile\":5,\"name\":\"email\",\"normalize\":\"email\"},"
    "{\"blocked\":[\"+49 30 0000000\"],\"from\":[\"traits.phone\"],\"is_known\":true,\"max_per_profile\":5,"
    "\"name\":\"phone\",\"normalize\":\"phone\"},"
    "{\"from\":\"anonymousId\",\"is_known\":false,\"max_per_profile\":4,\"name\":\"anonymous_id\"}]}}";

static void test_normalized(void **state)
{
	(void)state;
	struct world world;
	world_open_empty(&world);
	world_define(&world, normalized_definitions);
	one(&world, identify("u1", "", "{\"email\":\" Foo@Bar.COM\"}"));
	assert_text(view_identifiers(&world, "user_id:u1"), "user_id:u1 email:foo@bar.com");
	assert_text(view_identifiers(&world, "email:FOO@bar.com"), "user_id:u1 email:foo@bar.com");
	assert_text(view_traits(&world, "user_id:u1"), "email=\" Foo@Bar.COM\""); /* as it was told */
	one(&world, identify("u2", "", "{\"email\":\"not an address\"}"));
	assert_text(view_identifiers(&world, "user_id:u2"), "user_id:u2");
	assert_text(view_traits(&world, "user_id:u2"), "email=\"not an address\"");

	/* The first place that holds one counts. */
	struct cdpd_event event = identify("u3", "", "{\"email\":\"none yet\"}");
	event.properties = STR("{\"email\":\"Three@b.c\"}");
	one(&world, event);
	assert_text(view_identifiers(&world, "user_id:u3"), "user_id:u3 email:three@b.c");

	one(&world, identify("u4", "", "{\"phone\":\"030 901820\"}")); /* of no country: a trait */
	assert_text(view_identifiers(&world, "user_id:u4"), "user_id:u4");
	assert_text(view_traits(&world, "user_id:u4"), "phone=\"030 901820\"");
	event = identify("u4", "", "{\"phone\":\"030 901820\"}");
	event.country = STR("DE");
	event.enrichment = STR("{\"geo\":{\"country\":\"FR\"}}"); /* what the operator says goes before a guess */
	one(&world, event);
	assert_text(view_identifiers(&world, "phone:0049 30 901820"), "user_id:u4 phone:+4930901820");
	event = identify("u5", "", "{\"phone\":\"06 12 34 56 78\"}");
	event.enrichment = STR("{\"geo\":{\"country\":\"FR\"}}");
	one(&world, event);
	assert_text(view_identifiers(&world, "phone:+33 6 12 34 56 78"), "user_id:u5 phone:+33612345678");
	assert_text(view_identifiers(&world, "phone:0612345678"), "not found");

	/* Blocked in their namespace alone, however written. */
	one(&world, identify("u6", "", "{\"email\":\"Nobody@B.C\",\"phone\":\"0049 (30) 000 0000\"}"));
	assert_text(view_identifiers(&world, "user_id:u6"), "user_id:u6");
	assert_text(view_links(&world, "user_id:u6"), "8 user_id:u6 email:nobody@b.c same_event blocked_value\n"
						      "8 user_id:u6 phone:+49300000000 same_event blocked_value\n");
	one(&world, track("nobody@b.c", ""));
	assert_text(view_identifiers(&world, "user_id:nobody@b.c"), "user_id:nobody@b.c");
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sign_in_joins),    cmocka_unit_test(test_shared_device),
	    cmocka_unit_test(test_first_link_wins),  cmocka_unit_test(test_alias),
	    cmocka_unit_test(test_known_with_known), cmocka_unit_test(test_namespace_limit),
	    cmocka_unit_test(test_max_fragments),    cmocka_unit_test(test_blocked),
	    cmocka_unit_test(test_email_forms),      cmocka_unit_test(test_many_attempts),
	    cmocka_unit_test(test_rules_change),     cmocka_unit_test(test_normalized),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
