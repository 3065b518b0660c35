/* When the fold gives way to acks, for how long, and that it always comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fold/burst.h"

#define STEP_US (20 * US_PER_MS)

struct stream {
	struct burst burst;
	uint64_t next;
	int64_t now;
};

static struct stream start(void)
{
	return (struct stream){.next = 1, .now = 1};
}

/* Lets `rate` records a second arrive for that long; returns for how many µs the fold stood back. */
static int64_t stood_back(struct stream *stream, uint64_t rate, uint64_t lag, int64_t seconds)
{
	int64_t total = 0;
	for (int64_t passed = 0; passed < seconds * US_PER_SECOND; passed += STEP_US) {
		stream->now += STEP_US;
		stream->next += rate / 50;
		if (burst_is_on(&stream->burst, lag, stream->next, stream->now)) total += STEP_US;
	}
	return total;
}

static void test_an_ordinary_load_is_no_burst(void **state)
{
	(void)state;
	struct stream stream = start();
	assert_int_equal(stood_back(&stream, BURST_RATE_ON - 100, 0, 60), 0);
	assert_int_equal(stood_back(&stream, BURST_RATE_ON - 100, 1000000, 60), 0);
}

static void test_a_burst_is_waited_out_and_no_longer(void **state)
{
	(void)state;
	struct stream stream = start();
	assert_true(stood_back(&stream, 80000, 50000, 5) >= 5 * US_PER_SECOND - 2 * BURST_LOOK_US);
	assert_true(stood_back(&stream, BURST_RATE_OFF / 2, 400000, 5) <= 3 * BURST_LOOK_US);
}

static void test_no_stream_holds_the_fold_for_ever(void **state)
{
	(void)state;
	struct stream stream = start();
	int64_t total = stood_back(&stream, 80000, 500000, 300);
	assert_true(total > BURST_LONGEST_US - STEP_US && total <= BURST_LONGEST_US + BURST_LOOK_US);
}

static void test_it_gives_way_again_only_after_calm_and_catching_up(void **state)
{
	(void)state;
	struct stream stream = start();
	(void)stood_back(&stream, 80000, 500000, 60);
	(void)stood_back(&stream, 0, 500000, 5); /* calm, but far behind */
	assert_int_equal(stood_back(&stream, 80000, 500000, 5), 0);
	(void)stood_back(&stream, 0, 0, 1);
	assert_true(stood_back(&stream, 80000, 0, 1) > 0);
}

static void test_a_backlog_without_arrivals_is_folded_at_once(void **state)
{
	(void)state;
	struct stream stream = start();
	assert_int_equal(stood_back(&stream, 0, 1000000, 10), 0);
}

static void test_the_first_event_after_a_silence_is_no_burst(void **state)
{
	(void)state;
	struct stream stream = start();
	(void)stood_back(&stream, 10, 0, 1);
	stream.now += 3600 * US_PER_SECOND;
	stream.next += 1000000;
	assert_false(burst_is_on(&stream.burst, 1000000, stream.next, stream.now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_ordinary_load_is_no_burst),
	    cmocka_unit_test(test_a_burst_is_waited_out_and_no_longer),
	    cmocka_unit_test(test_no_stream_holds_the_fold_for_ever),
	    cmocka_unit_test(test_it_gives_way_again_only_after_calm_and_catching_up),
	    cmocka_unit_test(test_a_backlog_without_arrivals_is_folded_at_once),
	    cmocka_unit_test(test_the_first_event_after_a_silence_is_no_burst),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
