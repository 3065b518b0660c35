/* What needs no server: options, subjects, and a server that is not there. The rest is tests/e2e/test_nats.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_host.h"
#include "nats/subject.h"

static struct cdpd_instance fake;

static int setup(void **state)
{
	(void)state;
	fake_open(&fake, "nats");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (fake.self) fake_destroy(&fake);
	fake_close(&fake);
	return 0;
}

static struct cdpd_record record(const char *json)
{
	return (struct cdpd_record){
	    .size = sizeof(struct cdpd_record),
	    .kind = CDPD_RECORD_EVENT,
	    .position = {"pos-1", 5},
	    .delivery_id = {"del-1", 5},
	    .message_id = {"m-1", 3},
	    .profile_id = {"00112233445566778899aabbccddeeff", 32},
	    .json = {json, strlen(json)},
	    .attempt = 1,
	};
}

static void assert_refused(const char *name, const char *value, const char *word)
{
	struct fake_option options[] = {{"servers", "nats://127.0.0.1:1"}, {name, value}};
	bool is_servers = strcmp(name, "servers") == 0;
	assert_int_equal(fake_create(&fake, is_servers ? options + 1 : options, is_servers ? 1 : 2), CDPD_ERR_INVALID);
	assert_non_null(strstr(fake.log, word));
}

static void test_options_that_are_refused(void **state)
{
	(void)state;
	assert_refused("servers", "nats://me:hunter2@host", "password");
	assert_null(strstr(fake.log, "hunter2"));
	assert_refused("servers", "http://host", "nats://");
	assert_refused("servers", "", "1 to 16");
	assert_refused("subject", "a.{tpye}", "{type}");
	assert_refused("subject", "a..b", "empty");
	assert_refused("subject", "a.", "empty");
	assert_refused("subject", "a.*", "tokens");
	assert_refused("subject", "$JS.API.x", "tokens");
	assert_refused("profile_subject", "a.{who}", "{type}");
	assert_refused("change_subject", "a..b", "empty");
	assert_refused("stream", "a.b", "names");
	assert_refused("create_stream", "true", "stream");
	assert_refused("cert_file", "/x", "key_file");
	assert_refused("password", "hunter2", "user");
	assert_null(strstr(fake.log, "hunter2"));
}

static void test_no_server_is_a_retry_with_the_reason(void **state)
{
	(void)state;
	struct fake_option options[] = {{"servers", "nats://127.0.0.1:1,nats://127.0.0.1:2"}};
	struct cdpd_record one = record("{\"type\":\"track\"}");
	assert_int_equal(fake_create(&fake, options, 1), CDPD_OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fake_export(&fake, &one, 1), CDPD_RETRY);
		assert_false(fake.receipt.named[0].is_set);
		assert_non_null(strstr(fake.receipt.all.reason, "no connection"));
	}
}

static void assert_subject(const char *template, const char *json, const char *subject)
{
	char out[SUBJECT_SIZE];
	struct cdpd_record one = record(json);
	assert_null(subject_check(template));
	subject_make(template, &one, out);
	assert_string_equal(out, subject);
}

static void test_subjects(void **state)
{
	(void)state;
	const char *both = "e.{type}.{event}";
	assert_subject(both, "{\"type\":\"track\",\"event\":\"Order Completed\"}", "e.track.Order_Completed");
	assert_subject(
	    both, "{\"properties\":{\"type\":\"x\",\"a\":[1,{\"event\":\"}\"}]},\"type\":\"page\",\"name\":\"Home\"}",
	    "e.page.Home");
	assert_subject(both, "{\"type\":\"track\",\"event\":\"a.b*c>d$e\\\"f\\u0000g\\\\h\"}",
		       "e.track.a_b_c_d_e_f_g_h");
	assert_subject(both, "{\"type\":5,\"event\":null}", "e._._");
	assert_subject(both, "", "e._._");
	assert_subject(both, "{\"type\":\"tra", "e._._");
	assert_subject("{profile}", "{}", "00112233445566778899aabbccddeeff");
	assert_subject("x.{source}-{type}", "{\"sourceId\":\"web\",\"type\":\"track\"}", "x.web-track");
	assert_subject("{event}", "{\"event\":\"\xd0\x97\xd0\xb0\"}", "\xd0\x97\xd0\xb0");
}

static void test_long_tokens_are_cut_at_a_character(void **state)
{
	(void)state;
	char json[400], out[SUBJECT_SIZE];
	strcpy(json, "{\"event\":\"x");
	for (int i = 0; i < 80; i++) strcat(json, "\xd0\x97");
	strcat(json, "\"}");
	struct cdpd_record one = record(json);
	subject_make("{event}{event}{event}{event}{event}{event}{event}{event}", &one, out);
	assert_int_equal(strlen(out), 8 * 99);
	assert_int_equal((unsigned char)out[98], 0x97);
	assert_int_equal(out[99], 'x');
}

static void test_patterns(void **state)
{
	(void)state;
	char out[SUBJECT_SIZE];
	assert_true(subject_pattern("cdpd.events.{type}.{event}", out));
	assert_string_equal(out, "cdpd.events.>");
	assert_true(subject_pattern("cdpd.x{type}.b", out));
	assert_string_equal(out, "cdpd.>");
	assert_true(subject_pattern("cdpd.all", out));
	assert_string_equal(out, "cdpd.all");
	assert_false(subject_pattern("{type}.x", out));
	assert_false(subject_pattern("x{type}", out));
}

static void test_what_covers_what(void **state)
{
	(void)state;
	static const char *const yes[][2] = {{">", "a"},         {">", "a.>"},   {"a.>", "a.b"},
					     {"a.>", "a.b.c.>"}, {"a.b", "a.b"}, {"a.*", "a.b"},
					     {"a.*.c", "a.b.c"}, {"*.b", "a.b"}, {"a.*", "a.*"}};
	static const char *const no[][2] = {{"a.>", "a"},     {"a.b", "a.>"},   {"a.*", "a.>"},
					    {"a.*", "a.b.c"}, {"a.b.c", "a.b"}, {"a", "b"},
					    {"a.b", "a.bc"},  {"ab.>", "a.b"},  {"a.b", "a.*"}};
	for (size_t i = 0; i < 9; i++) {
		if (!subject_covers(yes[i][0], yes[i][1])) fail_msg("%s takes %s", yes[i][0], yes[i][1]);
		if (subject_covers(no[i][0], no[i][1])) fail_msg("%s does not take %s", no[i][0], no[i][1]);
	}
}

static void test_subjects_of_kinds(void **state)
{
	(void)state;
	char out[SUBJECT_SIZE];
	struct cdpd_record one = record("{\"type\":\"change\",\"kind\":\"trait\"}");
	one.kind = CDPD_RECORD_CHANGE;
	subject_make("a.{kind}.{change}.{type}", &one, out);
	assert_string_equal(out, "a.changes.trait.change");
	one.kind = CDPD_RECORD_PROFILE;
	one.json = (struct cdpd_str){"{}", 2};
	subject_make("a.{kind}.{change}.{profile}", &one, out);
	assert_string_equal(out, "a.profiles._.00112233445566778899aabbccddeeff");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_options_that_are_refused),      TEST(test_no_server_is_a_retry_with_the_reason),
	    cmocka_unit_test(test_subjects),          cmocka_unit_test(test_long_tokens_are_cut_at_a_character),
	    cmocka_unit_test(test_patterns),          cmocka_unit_test(test_what_covers_what),
	    cmocka_unit_test(test_subjects_of_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
