#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "deliver/breaker.h"
#include "deliver/person_set.h"

static void it_opens_waits_and_probes(void **state)
{
	struct breaker b = {.state = BREAKER_CLOSED};
	(void)state;
	assert_true(breaker_allows(&b, 0));
	assert_int_equal(breaker_limit(&b, 500), 500);
	breaker_failed(&b, 1000, 100);
	assert_false(breaker_allows(&b, 1099));
	assert_true(breaker_allows(&b, 1100));
	assert_int_equal(b.state, BREAKER_HALF_OPEN);
	assert_int_equal(breaker_limit(&b, 500), 500); /* the first time all of it is tried again */
	breaker_failed(&b, 1100, 200);
	assert_true(breaker_allows(&b, 1300));
	assert_int_equal(breaker_limit(&b, 500), BREAKER_PROBE);
	breaker_succeeded(&b);
	assert_int_equal(b.state, BREAKER_CLOSED);
	assert_int_equal(b.failures, 0);
	size_t before = 0;
	for (int i = 0; i < 12; i++) { /* it grows back */
		size_t limit = breaker_limit(&b, 500);
		assert_true(limit >= before && limit >= BREAKER_SUSPECT);
		before = limit;
		breaker_succeeded(&b);
	}
	assert_int_equal(before, 500);
}

static void what_left_before_does_not_close_it(void **state)
{
	struct breaker b = {.state = BREAKER_CLOSED};
	(void)state;
	breaker_failed(&b, 1000, 5000);
	breaker_succeeded(&b);
	assert_false(breaker_allows(&b, 5999));
	breaker_failed(&b, 1000, 10); /* a shorter wait does not cut a longer one */
	assert_false(breaker_allows(&b, 5999));
	assert_true(breaker_allows(&b, 6000));
}

static void all_refused_by_name(void **state)
{
	struct breaker b = {.state = BREAKER_CLOSED};
	(void)state;
	assert_false(breaker_all_refused(&b, 500)); /* too many to be chance */
	assert_int_equal(breaker_limit(&b, 500), BREAKER_SUSPECT);
	assert_true(breaker_all_refused(&b, BREAKER_SUSPECT));
	unsigned parked = 0;
	for (int i = 0; i < 100; i++) parked += breaker_all_refused(&b, 1);
	assert_int_equal(parked, BREAKER_PARKED);
	breaker_succeeded(&b);
	assert_true(breaker_all_refused(&b, 1));
}

static void backoff_doubles_up_to_its_cap(void **state)
{
	(void)state;
	int64_t most = 0;
	for (unsigned attempts = 1; attempts < 40; attempts++) {
		for (int i = 0; i < 200; i++) {
			int64_t wait = backoff_us(1000, 60000, attempts),
				step = attempts > 6 ? 60000 : INT64_C(1000) << (attempts - 1);
			assert_true(wait >= 0 && wait <= step);
			if (wait > most) most = wait;
		}
	}
	assert_true(most > 30000);
}

static void a_set_of_persons(void **state)
{
	struct person_set set = {.count = 0};
	struct fragment_id id = {{0}};
	(void)state;
	assert_int_equal(person_set_add(&set, &id), OK); /* nobody */
	assert_false(person_set_has(&set, &id));
	for (unsigned i = 1; i <= 1000; i++) {
		id.bytes[0] = (uint8_t)(i & 7); /* many begin alike */
		id.bytes[8] = (uint8_t)i;
		id.bytes[9] = (uint8_t)(i >> 8);
		assert_false(person_set_has(&set, &id));
		assert_int_equal(person_set_add(&set, &id), OK);
		assert_int_equal(person_set_add(&set, &id), OK);
		assert_true(person_set_has(&set, &id));
	}
	assert_int_equal(set.count, 1000);
	person_set_clear(&set);
	assert_false(person_set_has(&set, &id));
	person_set_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_opens_waits_and_probes), cmocka_unit_test(what_left_before_does_not_close_it),
	    cmocka_unit_test(all_refused_by_name),       cmocka_unit_test(backoff_doubles_up_to_its_cap),
	    cmocka_unit_test(a_set_of_persons),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
