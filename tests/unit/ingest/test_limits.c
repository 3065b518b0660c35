/* Token buckets: on a clock of the test's own. */
#include "ingest/harness.h"

static struct limits *limits;

static int setup(void **state)
{
	(void)state;
	return limits_new(&limits);
}

static int teardown(void **state)
{
	(void)state;
	limits_free(limits);
	return 0;
}

static struct limit_pass pass_of(const char *key, uint32_t key_rate, const char *ip, uint32_t ip_rate)
{
	return (struct limit_pass){.key = str_from(key), .key_rate = key_rate, .ip = str_from(ip), .ip_rate = ip_rate};
}

static void test_a_second_worth_then_no_more_then_refilled(void **state)
{
	(void)state;
	struct limit_pass pass = pass_of("k", 10, "", 0);
	int64_t now = 1000 * US_PER_SECOND;
	for (int i = 0; i < 10; i++) {
		assert_true(limits_check(limits, now, &pass));
		limits_charge(limits, now, &pass, 1);
		assert_int_equal(pass.limit, 10);
		assert_int_equal(pass.remaining, 9 - i);
	}
	assert_false(limits_check(limits, now, &pass));
	assert_int_equal(pass.retry_after_s, 1);
	assert_false(limits_check(limits, now + 99 * US_PER_MS, &pass));
	assert_true(limits_check(limits, now + 101 * US_PER_MS, &pass));
	assert_true(limits_check(limits, now + 3600 * US_PER_SECOND, &pass));
	assert_int_equal(pass.remaining, 10); /* never more than a second's worth */
}

static void test_a_batch_may_overdraw_and_is_paid_for(void **state)
{
	(void)state;
	struct limit_pass pass = pass_of("k", 10, "", 0);
	assert_true(limits_check(limits, 0, &pass));
	limits_charge(limits, 0, &pass, 1010);
	assert_int_equal(pass.remaining, 0);
	assert_false(limits_check(limits, 0, &pass));
	assert_in_range(pass.retry_after_s, 100, 102);
	assert_false(limits_check(limits, 99 * US_PER_SECOND, &pass));
	assert_true(limits_check(limits, 101 * US_PER_SECOND, &pass));
}

static void test_key_and_address_count_apart_and_the_tighter_speaks(void **state)
{
	(void)state;
	struct limit_pass one_pass = pass_of("k", 100, "10.0.0.1", 5), other = pass_of("k", 100, "10.0.0.2", 5);
	limits_charge(limits, 0, &one_pass, 5);
	assert_int_equal(one_pass.limit, 5);
	assert_int_equal(one_pass.remaining, 0);
	assert_false(limits_check(limits, 0, &one_pass));
	assert_true(limits_check(limits, 0, &other));
	struct limit_pass same_text = pass_of("10.0.0.1", 5, "", 0); /* a key that looks like the address */
	assert_true(limits_check(limits, 0, &same_text));
}

static void test_no_limit_asks_nobody(void **state)
{
	(void)state;
	struct limit_pass pass = pass_of("k", 0, "i", 0);
	assert_true(limits_check(limits, 0, &pass));
	limits_charge(limits, 0, &pass, 1000000);
	assert_int_equal(pass.limit, -1);
}

static void test_a_million_addresses_take_no_more_room(void **state)
{
	(void)state;
	char ip[32];
	struct limit_pass busy = pass_of("busy", 10, "", 0);
	limits_charge(limits, 0, &busy, 1000);
	for (int i = 0; i < 1000000; i++) {
		(void)snprintf(ip, sizeof ip, "10.%d", i);
		struct limit_pass pass = pass_of("", 0, ip, 5);
		limits_charge(limits, 1, &pass, 1);
	}
	(void)
	    busy; /* it may have been pushed out, which favours the client; what matters is that nothing grew or crashed */
}

/* ── through ingest ──────────────────────────────────────────────────────── */

/* A debt of minutes, so that no pause of the machine pays it. */
static struct str many_pages(void)
{
	static char body[40000];
	size_t n = (size_t)sprintf(body, "{\"batch\":[");
	for (int i = 0; i < 1000; i++)
		n += (size_t)sprintf(body + n, "%s{\"type\":\"page\",\"userId\":\"a\"}", i ? "," : "");
	n += (size_t)sprintf(body + n, ",{}]}");
	return str_of(body, n);
}

static void test_a_limited_key_is_told_to_wait_and_nothing_is_recorded(void **state)
{
	(void)state;
	ask_as("limited-key", DIALECT_SEGMENT_BATCH, many_pages());
	assert_int_equal(room.accepted, 1000);
	assert_int_equal(room.limit, 5);
	assert_int_equal(room.limit_remaining, 0);
	ask_as("limited-key", DIALECT_SEGMENT_BATCH, many_pages());
	assert_int_equal(room.problem, PROBLEM_RATE_LIMITED);
	assert_in_range(room.retry_after_s, 100, 201);
	assert_int_equal(room.limit, 5);
	assert_int_equal(tape.appends, 1);
	assert_int_equal(tape.received, 1001); /* rejected ones cost as much */
	ask_server(DIALECT_SEGMENT_ONE, STR("{\"type\":\"page\",\"userId\":\"a\"}"));
	assert_int_equal(room.accepted, 1);
	assert_int_equal(room.limit, -1);
}

static void test_addresses_are_limited_by_the_configuration(void **state)
{
	(void)state;
	test_config.limits.events_per_second_per_ip = 1;
	struct ingest_request request = request_of(DIALECT_SEGMENT_BATCH, many_pages());
	ask(&request);
	assert_int_equal(room.accepted, 1000);
	ask(&request);
	assert_int_equal(room.problem, PROBLEM_RATE_LIMITED);
	request.client_ip = STR("203.0.113.8");
	ask(&request);
	assert_int_equal(room.accepted, 1000);
	test_config.limits.events_per_second_per_ip = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a_second_worth_then_no_more_then_refilled, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_batch_may_overdraw_and_is_paid_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_key_and_address_count_apart_and_the_tighter_speaks, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_no_limit_asks_nobody, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_million_addresses_take_no_more_room, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_limited_key_is_told_to_wait_and_nothing_is_recorded, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_addresses_are_limited_by_the_configuration, room_setup, room_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
