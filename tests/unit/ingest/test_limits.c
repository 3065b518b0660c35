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

static void limit_address(struct ingest_request *request, const char *ip)
{
	test_config.limits.events_per_second_per_ip = 1;
	request->client_ip = str_from(ip);
}

/* How many requests were answered before the first that is told to wait. */
static int count_until_limited(const struct ingest_request *request, enum problem wanted)
{
	for (int i = 0; i < 100000; i++) {
		ask(request);
		if (room.problem == PROBLEM_RATE_LIMITED) return i;
		assert_int_equal(room.problem, wanted);
		assert_int_equal(room.limit, 1);
	}
	fail_msg("never told to wait");
	return 0;
}

static void test_a_refused_request_costs_an_event(void **state)
{
	(void)state;
	static const struct {
		const char *ip, *key, *body, *origin;
		enum problem problem;
	} rubbish[] = {
	    {"198.51.100.1", "nobody-knows-it", "{\"type\":\"page\",\"userId\":\"a\"}", "", PROBLEM_UNKNOWN_KEY},
	    {"198.51.100.2", "", "{\"type\":\"page\",\"userId\":\"a\"}", "", PROBLEM_UNKNOWN_KEY},
	    {"198.51.100.3", "server-key", "{\"type\":", "", PROBLEM_INVALID_JSON},
	    {"198.51.100.4", "server-key", "{\"batch\":[]}", "", PROBLEM_NONE},
	    {"198.51.100.5", "shop-key", "{}", "https://evil.example", PROBLEM_FORBIDDEN},
	};
	for (size_t i = 0; i < COUNT_OF(rubbish); i++) {
		bool is_batch = rubbish[i].problem == PROBLEM_NONE;
		struct ingest_request request =
		    request_of(is_batch ? DIALECT_SEGMENT_BATCH : DIALECT_SEGMENT_ONE, str_from(rubbish[i].body));
		request.authorization = STR_NONE;
		request.write_key_header = str_from(rubbish[i].key);
		request.origin = str_from(rubbish[i].origin);
		limit_address(&request, rubbish[i].ip);
		assert_true(count_until_limited(&request, rubbish[i].problem) > 0);
	}
	test_config.limits.events_per_second_per_ip = 0;
}

static void test_an_address_in_debt_is_told_before_anything_is_read(void **state)
{
	(void)state;
	struct ingest_request request = request_of(DIALECT_SEGMENT_BATCH, many_pages());
	limit_address(&request, "198.51.100.9");
	ask(&request);
	assert_int_equal(room.accepted, 1000);
	uint64_t appends = tape.appends;
	request.body = str_of(request.body.ptr, 3); /* no JSON */
	request.authorization = STR("Basic rubbish");
	for (int i = 0; i < 10; i++) {
		ask(&request);
		assert_int_equal(room.problem, PROBLEM_RATE_LIMITED);
		/* Waiting is not made longer by asking again. */
		assert_in_range(room.retry_after_s, 1, 1001);
	}
	assert_int_equal(tape.appends, appends);
	test_config.limits.events_per_second_per_ip = 0;
}

static void test_a_refused_request_of_a_known_key_costs_the_key_too(void **state)
{
	(void)state;
	for (int i = 0; i < 100000; i++) {
		ask_as("limited-key", DIALECT_SEGMENT_ONE, STR("{"));
		if (room.problem == PROBLEM_RATE_LIMITED) return;
		assert_int_equal(room.problem, PROBLEM_INVALID_JSON);
	}
	fail_msg("never told to wait");
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
	    cmocka_unit_test_setup_teardown(test_a_refused_request_costs_an_event, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_an_address_in_debt_is_told_before_anything_is_read, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_a_refused_request_of_a_known_key_costs_the_key_too, room_setup,
					    room_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
