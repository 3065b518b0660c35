/* architecture, section 6, as a table. */
#include "ingest/harness.h"

#define S US_PER_SECOND
#define H (3600 * US_PER_SECOND)

struct row {
	const char *what;
	int64_t client, sent; /* relative to NOW; sent 1: not given */
	bool is_trusted;
	int64_t time, correction; /* time relative to NOW */
	uint32_t flags;
};
#define NOT_SENT 1

static const struct row rows[] = {
    {"a good clock", -10 * S, -5 * S, false, -10 * S, 0, 0},
    {"no sentAt", -10 * H, NOT_SENT, false, -10 * H, 0, 0},
    {"behind by a minute is still the network", -70 * S, -60 * S, false, -70 * S, 0, 0},
    {"behind by more", -71 * S, -61 * S, false, -10 * S, 61 * S, EVENT_SKEW_CORRECTED},
    {"ahead by a minute", 50 * S, 60 * S, false, 50 * S, 0, 0},
    {"ahead by more", 3590 * S, H, false, -10 * S, -H, EVENT_SKEW_CORRECTED},
    {"queued offline on a good clock", -100 * H, -1 * S, false, -100 * H, 0, 0},
    {"queued offline on a bad clock", -100 * H, -50 * H, false, -50 * H, 50 * H, EVENT_SKEW_CORRECTED},
    {"an empty battery", TIME_MIN_US + 1000 * S - NOW, TIME_MIN_US + 1010 * S - NOW, false, -10 * S, NOW - 1010 * S,
     EVENT_SKEW_CORRECTED},
    {"corrected into the future", -50 * H, -60 * H, false, 0, 50 * H, EVENT_SKEW_CORRECTED | EVENT_TIME_CLAMPED},
    {"corrected to before 1970", 0, TIME_END_US - 1 - NOW, false, TIME_MIN_US - NOW, -NOW, EVENT_SKEW_CORRECTED},
    {"a trusted clock far off", -10 * H, -9 * H, true, -10 * H, 0, 0},
    {"five minutes ahead are let be", 300 * S, NOT_SENT, false, 300 * S, 0, 0},
    {"later is clamped", 300 * S + 1, NOT_SENT, false, 0, 0, EVENT_TIME_CLAMPED},
    {"a trusted clock is clamped too", 100 * H, 100 * H, true, 0, 0, EVENT_TIME_CLAMPED},
    {"clamped though the sending was on time", 100 * H, 0, false, 0, 0, EVENT_TIME_CLAMPED},
};

static void test_the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct row *row = &rows[i];
		struct cdpd_event e = {.received_at_us = NOW, .client_time_us = NOW + row->client};
		e.sent_at_us = row->sent == NOT_SENT ? 0 : NOW + row->sent;
		clock_skew_apply(&e, row->is_trusted);
		if (e.event_time_us != NOW + row->time || e.correction_us != row->correction || e.flags != row->flags)
			fail_msg("%s: %lld µs off, correction %lld, flags %x", row->what,
				 (long long)(e.event_time_us - NOW - row->time), (long long)e.correction_us, e.flags);
	}
}

static void test_without_a_time_it_happened_when_it_arrived(void **state)
{
	(void)state;
	struct cdpd_event e = {.received_at_us = NOW, .sent_at_us = NOW - 9 * H, .flags = EVENT_TIME_MISSING};
	clock_skew_apply(&e, false);
	assert_int_equal(e.event_time_us, NOW);
	assert_int_equal(e.correction_us, 0);
	assert_int_equal(e.flags, EVENT_TIME_MISSING);
}

static void test_whose_clock_is_trusted(void **state)
{
	(void)state;
	const struct conf_source browser = {.kind = SOURCE_BROWSER}, mobile = {.kind = SOURCE_MOBILE},
				 server = {.kind = SOURCE_SERVER}, hook = {.kind = SOURCE_WEBHOOK},
				 kiosk = {.kind = SOURCE_BROWSER, .rights = RIGHT_TIME};
	assert_false(clock_skew_trusts(&browser));
	assert_false(clock_skew_trusts(&mobile));
	assert_true(clock_skew_trusts(&server));
	assert_true(clock_skew_trusts(&hook));
	assert_true(clock_skew_trusts(&kiosk));
}

static void test_what_is_plausible(void **state)
{
	(void)state;
	assert_true(time_is_plausible(0));
	assert_false(time_is_plausible(-1));
	assert_true(time_is_plausible(TIME_END_US - 1));
	assert_false(time_is_plausible(TIME_END_US));
	int64_t us;
	int16_t offset;
	assert_int_equal(clock_parse(STR("2100-01-01T00:00:00Z"), &us, &offset), OK);
	assert_int_equal(us, TIME_END_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_table),
	    cmocka_unit_test(test_without_a_time_it_happened_when_it_arrived),
	    cmocka_unit_test(test_whose_clock_is_trusted),
	    cmocka_unit_test(test_what_is_plausible),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
