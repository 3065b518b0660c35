#include "base/base_test.h"
#include "base/problem.h"

static void every_code_is_unique_and_found(void **state)
{
	(void)state;
	for (int i = 0; i < PROBLEM_COUNT; i++) {
		enum problem found;
		const struct problem_info *info = problem_info((enum problem)i);
		assert_true(problem_from_code(str_from(info->code), &found));
		assert_int_equal(found, i);
		assert_true(info->http_status >= 200 && info->http_status < 600);
		assert_true(info->grpc_status >= 0 && info->grpc_status <= 16);
		assert_true(info->retry_after_s >= 0);
		assert_true(strlen(info->text) > 0);
		/* Retrying is advised exactly where the server, not the request, is the cause. */
		bool is_temporary = info->http_status == 429 || info->http_status == 503 || info->http_status == 500 ||
				    info->http_status == 408;
		assert_int_equal(info->retry_after_s > 0, is_temporary);
	}
	enum problem found;
	assert_false(problem_from_code(STR("nonsense"), &found));
	assert_false(problem_from_code(STR_NONE, &found));
}

static void fixed_mappings(void **state)
{
	(void)state;
	assert_int_equal(problem_info(PROBLEM_NOT_DURABLE)->http_status, 503);
	assert_int_equal(problem_info(PROBLEM_NOT_DURABLE)->grpc_status, 14);
	assert_int_equal(problem_info(PROBLEM_GONE)->http_status, 410);
	assert_int_equal(problem_info(PROBLEM_RATE_LIMITED)->http_status, 429);
	assert_int_equal(problem_info(PROBLEM_UNKNOWN_KEY)->http_status, 401);
	assert_string_equal(problem_info(PROBLEM_COUNT)->code, "internal");
	assert_string_equal(problem_info((enum problem) - 1)->code, "internal");
}

static void body_has_the_three_twice(void **state)
{
	struct buf buf;
	(void)state;
	buf_init(&buf, 4096);
	assert_ok(problem_write_json(&buf, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE));
	assert_str(buf_str(&buf),
		   "{\"ok\":false,\"code\":\"too_large\",\"message\":\"a size limit was passed\",\"pointer\":\"\","
		   "\"error\":{\"code\":\"too_large\",\"message\":\"a size limit was passed\",\"pointer\":\"\"}}");
	buf_clear(&buf);
	assert_ok(problem_write_json(&buf, PROBLEM_BAD_TIMESTAMP, STR("not \"a\" time"), STR("/batch/3/timestamp")));
	assert_str(buf_str(&buf), "{\"ok\":false,\"code\":\"bad_timestamp\",\"message\":\"not \\\"a\\\" time\","
				  "\"pointer\":\"/batch/3/timestamp\",\"error\":{\"code\":\"bad_timestamp\","
				  "\"message\":\"not \\\"a\\\" time\",\"pointer\":\"/batch/3/timestamp\"}}");
	buf_fini(&buf);
	buf_init(&buf, 20);
	assert_int_equal(problem_write_json(&buf, PROBLEM_INTERNAL, STR_NONE, STR_NONE), ERR_TOO_LARGE);
	buf_fini(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_code_is_unique_and_found),
	    cmocka_unit_test(fixed_mappings),
	    cmocka_unit_test(body_has_the_three_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
