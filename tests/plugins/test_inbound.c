/* inbound against a fake host. The signatures were made with openssl dgst -sha256 -hmac. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_host.h"

#define BODY     "{\"id\":\"m1\",\"event\":\"A\",\"userId\":\"u1\"}"
#define BODY_HEX "c8cbb8997648d542fa99093c0de9092e8ab81f5b32dc6c8c7356e92e185a5c28"
#define BODY_B64 "yMu4mXZI1UL6mQk8DekJLoq4H1sy3GyMc1bpLhhaXCg="
#define OLD_HEX  "a064a32cf62bb0fc0577a2610e323350eb3c4756f723ee75c29579e8336c791c" /* with the secret "old" */
#define TIME_HEX "11920b1ced23fd6017e4aa5de616259c4ffc648b2d2bafcdbebe61b11e671538" /* of "1700000000.<body>" */
#define NOW_US   (INT64_C(1700000000) * 1000000)

static struct cdpd_instance fake;
static struct cdpd_batch_out out;
static struct cdpd_reply reply;

static void begin(const struct fake_option *more, size_t count)
{
	struct fake_option all[16] = {{"secret", "new"}};
	if (count) memcpy(all + 1, more, count * sizeof *more);
	fake_open(&fake, "inbound");
	assert_int_equal(fake_create(&fake, all, count + 1), CDPD_OK);
	memset(&out, 0, sizeof out);
}

static void end(void)
{
	fake_destroy(&fake);
	fake_close(&fake);
}

static int post(const char *body, const char *signature, const char *timestamp)
{
	const struct cdpd_request request = {
	    .body = body,
	    .headers = {{"X-Signature", signature}, {timestamp ? "X-Time" : NULL, timestamp}},
	    .received_us = NOW_US};
	assert_int_equal(fake_decode(&fake, &request, &out, &reply), CDPD_OK);
	return reply.status;
}

static void signatures_of_both_encodings_and_both_secrets(void **state)
{
	(void)state;
	const struct fake_option rotated[] = {{"previous_secret", "old"}};
	begin(rotated, 1);
	assert_int_equal(post(BODY, BODY_HEX, NULL), 200);
	assert_string_equal(reply.body, "ok");
	assert_int_equal(out.count, 1);
	assert_false(out.items[0].is_reject);
	assert_int_equal(post(BODY, OLD_HEX, NULL), 200);
	assert_int_equal(post(BODY, BODY_B64, NULL), 401);
	assert_int_equal(out.count, 0);
	end();
	const struct fake_option base64[] = {{"signature_encoding", "base64"}, {"signature_prefix", "v1="}};
	begin(base64, 2);
	assert_int_equal(post(BODY, "v1=" BODY_B64, NULL), 200);
	assert_int_equal(post(BODY, BODY_B64, NULL), 401);
	assert_int_equal(post(BODY, "v1=" BODY_HEX, NULL), 401);
	assert_int_equal(post(BODY, OLD_HEX, NULL), 401);
	end();
}

static void anything_else_is_unsigned(void **state)
{
	(void)state;
	char changed[] = BODY_HEX;
	begin(NULL, 0);
	for (size_t i = 0; i < strlen(BODY_HEX); i++) { /* every digit counts */
		memcpy(changed, BODY_HEX, sizeof changed);
		changed[i] = changed[i] == '0' ? '1' : '0';
		assert_int_equal(post(BODY, changed, NULL), 401);
		assert_int_equal(out.count, 0);
	}
	assert_int_equal(post(BODY, "", NULL), 401);
	assert_int_equal(post(BODY " ", BODY_HEX, NULL), 401);
	assert_int_equal(post("", BODY_HEX, NULL), 401);
	assert_int_equal(fake_counted(&fake, "unsigned_total"), strlen(BODY_HEX) + 3);
	end();
}

static void a_signed_time_must_be_near(void **state)
{
	(void)state;
	const struct fake_option timed[] = {{"timestamp_header", "X-Time"}, {"tolerance", "5m"}};
	begin(timed, 2);
	struct cdpd_request request = {
	    .body = BODY, .headers = {{"X-Signature", TIME_HEX}, {"X-Time", "1700000000"}}, .received_us = NOW_US};
	static const struct {
		int64_t apart_s;
		int status;
	} cases[] = {{0, 200}, {300, 200}, {301, 401}, {-300, 200}, {-301, 401}, {86400, 401}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		request.received_us = NOW_US + cases[i].apart_s * 1000000;
		assert_int_equal(fake_decode(&fake, &request, &out, &reply), CDPD_OK);
		assert_int_equal(reply.status, cases[i].status);
		assert_int_equal(out.count, cases[i].status == 200);
	}
	assert_int_equal(fake_counted(&fake, "stale_total"), 3);
	assert_int_equal(post(BODY, TIME_HEX, "1700000001"), 401);
	assert_int_equal(post(BODY, BODY_HEX, NULL), 401);
	assert_int_equal(fake_counted(&fake, "unsigned_total"), 2);
	end();
}

static void events_are_mapped(void **state)
{
	(void)state;
	const struct fake_option shape[] = {{"secret", "new"},   {"list", "a.b"},      {"event", "e.n"},
					    {"user_id", "u"},    {"message_id", "no"}, {"timestamp", "t"},
					    {"properties", "p"}, {"event_name", "X"},  {"anonymous_id", "d"}};
	begin(shape + 1, sizeof shape / sizeof *shape - 1);
	assert_int_equal(post("{\"a\":{\"b\":[{\"e\":{\"n\":\"A\"},\"no\":7,\"u\":12345678901234,\"t\":1700000000250,"
			      "\"p\":{\"x\":1}},{\"no\":\"m\",\"d\":\"d1\",\"t\":1700000000.125},{\"u\":\"u1\"},17]}}",
			      "2174b45975a2ac597e8a4e5852ef3ac6fe00144bebeae2060c034fa1a1fe4b8e", NULL),
			 200);
	static const char *const events[] = {
	    "{\"type\":\"track\",\"event\":\"A\",\"messageId\":\"7\",\"userId\":\"12345678901234\",\"timestamp\":"
	    "\"2023-11-14T22:13:20.250Z\",\"properties\":{\"x\":1}}",
	    "{\"type\":\"track\",\"event\":\"X\",\"messageId\":\"m\",\"anonymousId\":\"d1\",\"timestamp\":\"2023-11-"
	    "14T22:13:"
	    "20.125Z\"}",
	};
	assert_int_equal(out.count, 4);
	for (size_t i = 0; i < 2; i++) assert_string_equal(out.items[i].text, events[i]);
	/* Without an id it is known by what it says, whatever the order of its members. */
	assert_non_null(strstr(out.items[2].text, "\"messageId\":\"sha256-"));
	assert_true(out.items[3].is_reject);
	assert_string_equal(out.items[3].text, "17");
	end();
}

static void what_is_no_json_is_told_and_kept(void **state)
{
	(void)state;
	begin(NULL, 0);
	assert_int_equal(post("{", "fdf3bc7768a587560c092679a8e087ac105224d3ac439ca1d6264ea26330894d", NULL), 400);
	assert_int_equal(out.count, 1);
	assert_true(out.items[0].is_reject);
	assert_string_equal(out.items[0].reason, "the body is not JSON");
	end();
	const struct fake_option list[] = {{"list", "data"}};
	begin(list, 1);
	assert_int_equal(post(BODY, BODY_HEX, NULL), 400);
	assert_string_equal(out.items[0].text, BODY);
	end();
}

static void more_than_the_host_takes_is_too_large(void **state)
{
	(void)state;
	begin(NULL, 0);
	out.max = 2;
	assert_int_equal(post("[{\"id\":\"m1\",\"event\":\"A\",\"userId\":\"u1\"},{\"id\":\"m1\",\"event\":\"A\","
			      "\"userId\":\"u1\"},{\"id\":\"m1\",\"event\":\"A\",\"userId\":\"u1\"}]",
			      "7f247538799b15f9f0d2c758ce4792dab15a0a18c14ed6c0ea0e5b9a60a8dc93", NULL),
			 413);
	end();
}

static void handshakes_need_the_token(void **state)
{
	(void)state;
	const struct cdpd_request right = {.method = "GET", .params = {{"c", "echo me"}, {"hub.verify_token", "tok"}}};
	const struct cdpd_request wrong = {.method = "GET", .params = {{"c", "echo me"}, {"hub.verify_token", "to"}}};
	const struct fake_option options[] = {{"challenge_param", "c"}, {"verify_token", "tok"}};
	begin(options, 2);
	assert_int_equal(fake_decode(&fake, &right, &out, &reply), CDPD_OK);
	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body, "echo me");
	assert_string_equal(reply.type, "text/plain; charset=utf-8");
	assert_int_equal(fake_decode(&fake, &wrong, &out, &reply), CDPD_OK);
	assert_int_equal(reply.status, 401);
	end();
	begin(NULL, 0);
	assert_int_equal(fake_decode(&fake, &right, &out, &reply), CDPD_OK);
	assert_int_equal(reply.status, 405);
	end();
}

static void what_cannot_work_is_refused(void **state)
{
	(void)state;
	const struct fake_option empty[] = {{"secret", ""}}, open[] = {{"secret", "a"}, {"challenge_param", "c"}};
	fake_open(&fake, "inbound");
	assert_int_equal(fake_create(&fake, empty, 1), CDPD_ERR_INVALID);
	assert_true(fake_has_logged(&fake, "the secret is empty"));
	assert_int_equal(fake_create(&fake, open, 2), CDPD_ERR_INVALID);
	assert_true(fake_has_logged(&fake, "needs verify_token"));
	fake_close(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(signatures_of_both_encodings_and_both_secrets),
	    cmocka_unit_test(anything_else_is_unsigned),
	    cmocka_unit_test(a_signed_time_must_be_near),
	    cmocka_unit_test(events_are_mapped),
	    cmocka_unit_test(what_is_no_json_is_told_and_kept),
	    cmocka_unit_test(more_than_the_host_takes_is_too_large),
	    cmocka_unit_test(handshakes_need_the_token),
	    cmocka_unit_test(what_cannot_work_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
