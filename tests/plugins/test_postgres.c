/* What needs no server: options, a server that is not there, and the bytes of a batch. The rest is tests/e2e/test_postgres.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_host.h"
#include "postgres/latest.h"
#include "postgres/rows.h"
#include "postgres/text.h"

static struct cdpd_instance fake;

static int setup(void **state)
{
	(void)state;
	fake_open(&fake, "postgres");
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
	    .message_id = {"m\0", 2},
	    .profile_id = {"", 0},
	    .json = {json, strlen(json)},
	    .time_us = INT64_C(946684800000001),
	    .attempt = 1,
	};
}

static void assert_refused(const char *name, const char *value, const char *word)
{
	struct fake_option options[] = {{"connection", "host=/nowhere"}, {name, value}};
	bool is_connection = strcmp(name, "connection") == 0;
	assert_int_equal(fake_create(&fake, is_connection ? options + 1 : options, is_connection ? 1 : 2),
			 CDPD_ERR_INVALID);
	assert_non_null(strstr(fake.log, word));
}

static void test_options_that_are_refused(void **state)
{
	(void)state;
	assert_refused("connection", "host=db password=hunter2", "password");
	assert_null(strstr(fake.log, "hunter2"));
	assert_refused("connection", "postgresql://me:hunter2@db/x", "password");
	assert_null(strstr(fake.log, "hunter2"));
	assert_refused("connection", "hots=db", "hots");
	assert_refused("connection", "no words", "connection");
	assert_refused("schema", "public; drop", "schema");
	assert_refused("table", "Events", "table");
	assert_refused("table", "1events", "table");
	assert_refused("table", "e\"", "table");
	assert_refused("profile_table", "events", "different");
	assert_refused("change_table", "A", "change_table");
}

static void test_no_server_is_a_retry_with_the_reason(void **state)
{
	(void)state;
	struct fake_option options[] = {{"connection", "host=/nowhere/at-all"}, {"password", "hunter2\n"}};
	struct cdpd_record one = record("{\"type\":\"track\"}");
	assert_int_equal(fake_create(&fake, options, 2), CDPD_OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fake_export(&fake, &one, 1), CDPD_RETRY);
		assert_false(fake.receipt.named[0].is_set);
		assert_non_null(strstr(fake.receipt.all.reason, "/nowhere/at-all"));
		assert_null(strstr(fake.receipt.all.reason, "hunter2"));
		assert_null(strchr(fake.receipt.all.reason, '\n'));
	}
}

static void assert_mended(const char *from, const char *to, size_t count)
{
	char text[200];
	snprintf(text, sizeof text, "%s", from);
	assert_int_equal(text_mend_json(text, strlen(text)), count);
	assert_string_equal(text, to);
}

static void test_escapes_that_jsonb_refuses(void **state)
{
	(void)state;
	assert_mended("{\"a\":\"\\u0000\"}", "{\"a\":\"\\ufffd\"}", 1);
	assert_mended("\"\\u0000\\u0000x\\u0001\"", "\"\\ufffd\\ufffdx\\u0001\"", 2);
	assert_mended("\"\\\\u0000\"", "\"\\\\u0000\"", 0);           /* a backslash, and u0000 */
	assert_mended("\"\\\\\\u0000\"", "\"\\\\\\ufffd\"", 1);       /* a backslash, and NUL */
	assert_mended("\"\\ud83d\\ude00\"", "\"\\ud83d\\ude00\"", 0); /* a pair */
	assert_mended("\"\\uD83D\\uDE00\"", "\"\\uD83D\\uDE00\"", 0);
	assert_mended("\"\\ud83dx\"", "\"\\ufffdx\"", 1);
	assert_mended("\"\\ude00\\ud83d\"", "\"\\ufffd\\ufffd\"", 2); /* the wrong way round */
	assert_mended("\"\\ud83d\\ud83d\\ude00\"", "\"\\ufffd\\ud83d\\ude00\"", 1);
	assert_mended("\"\\ud83d\\n\"", "\"\\ufffd\\n\"", 1);
	assert_mended("\"\\n\\\"\\u00e9\"", "\"\\n\\\"\\u00e9\"", 0);
	assert_mended("\\u000", "\\u000", 0); /* no JSON: nothing is read behind the end */
	assert_mended("\\ud83d\\", "\\ufffd\\", 1);
	assert_mended("\\", "\\", 0);
}

static void test_bytes_that_are_nul(void **state)
{
	(void)state;
	char out[32];
	assert_int_equal(text_mend_nul("a\0b", 3, NULL), 5);
	assert_int_equal(text_mend_nul("a\0b", 3, out), 5);
	assert_memory_equal(out,
			    "a\xef\xbf\xbd"
			    "b",
			    5);
}

/* Of the documentation of COPY, file formats, binary. */
static void test_the_bytes_of_a_batch(void **state)
{
	(void)state;
	static const char wanted[] = "PGCOPY\n\377\r\n\0"
				     "\0\0\0\0"
				     "\0\0\0\0"
				     "\0\013"
				     "\0\0\0\004\0\0\0\007"
				     "\0\0\0\004\0\0\0\001"
				     "\0\0\0\004\0\0\0\003"
				     "\0\0\0\005del-1"
				     "\0\0\0\005pos-1"
				     "\377\377\377\377"
				     "\0\0\0\004m\xef\xbf\xbd"
				     "\0\0\0\010\0\0\0\0\0\0\0\001"
				     "\0\0\0\006merged"
				     "\0\0\0\002o1"
				     "\0\0\0\003\001{}"
				     "\377\377";
	struct rows rows = {0};
	struct cdpd_record one = record("{}");
	for (int i = 0; i < 2; i++) { /* the second use begins anew */
		rows_begin(&rows);
		one.other_id = (struct cdpd_str){"o1", 2};
		rows_add(&rows, 7, 1, 3, &one, (struct cdpd_str){"merged", 6});
		assert_true(rows_end(&rows));
		assert_int_equal(rows.len, sizeof wanted - 1);
		assert_memory_equal(rows.ptr, wanted, rows.len);
		assert_int_equal(rows.mended, 1);
	}
	rows_free(&rows);
}

static void test_which_profiles_are_stale(void **state)
{
	(void)state;
	static const char people[] = "abacbaad";
	struct cdpd_record records[8];
	bool is_stale[8];
	struct latest latest = {0};
	for (size_t i = 0; i < 8; i++) {
		records[i] = record("{}");
		records[i].kind = i == 5 ? CDPD_RECORD_EVENT : CDPD_RECORD_PROFILE;
		records[i].profile_id = (struct cdpd_str){people + i, 1};
	}
	assert_true(latest_mark(&latest, records, 0, 8, is_stale));
	static const bool all[8] = {true, true, true, false, false, false, false, false};
	assert_memory_equal(is_stale, all, sizeof all);
	assert_true(latest_mark(&latest, records, 0, 3, is_stale)); /* those behind it do not count */
	static const bool first[8] = {true, false, false};
	assert_memory_equal(is_stale, first, sizeof first);
	latest_free(&latest);
}

static void test_a_big_batch_and_far_times(void **state)
{
	(void)state;
	struct rows rows = {0};
	size_t len = (size_t)1 << 20;
	char *json = malloc(len);
	assert_non_null(json);
	memset(json, ' ', len);
	struct cdpd_record one = record("{}");
	one.json = (struct cdpd_str){json, len};
	one.time_us = INT64_MIN;
	rows_begin(&rows);
	for (int i = 0; i < 3; i++) rows_add(&rows, i, 0, 0, &one, (struct cdpd_str){"", 0});
	assert_true(rows_end(&rows));
	assert_true(rows.len > 3 * len);
	assert_memory_equal(rows.ptr + rows.len - 2 - len - 5 - 8 - 8, "\200\0\0\0\0\0\0\0", 8); /* -infinity */
	rows_free(&rows);
	free(json);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_options_that_are_refused),
	    TEST(test_no_server_is_a_retry_with_the_reason),
	    cmocka_unit_test(test_escapes_that_jsonb_refuses),
	    cmocka_unit_test(test_bytes_that_are_nul),
	    cmocka_unit_test(test_the_bytes_of_a_batch),
	    cmocka_unit_test(test_which_profiles_are_stale),
	    cmocka_unit_test(test_a_big_batch_and_far_times),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
