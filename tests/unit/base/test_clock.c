#include <time.h>

#include "base/base_test.h"
#include "base/clock.h"

#define NO_OFFSET INT16_MIN

static const struct {
	const char *text;
	int64_t us;
	int16_t offset;
} good[] = {
    {"1970-01-01T00:00:00Z", 0, NO_OFFSET},
    {"1970-01-01T00:00:00", 0, NO_OFFSET},
    {"1970-01-01 00:00:00Z", 0, NO_OFFSET},
    {"1970-01-01t00:00:00z", 0, NO_OFFSET},
    {"1970-01-01T00:00Z", 0, NO_OFFSET},
    {"2026-11-21T20:49:59.801Z", 1795294199801000, NO_OFFSET},
    {"2026-11-21T20:49:59.801234Z", 1795294199801234, NO_OFFSET},
    {"2026-11-21T20:49:59.801234999Z", 1795294199801234, NO_OFFSET},
    {"2026-11-21T20:49:59.8Z", 1795294199800000, NO_OFFSET},
    {"2026-11-21T20:49:59,8Z", 1795294199800000, NO_OFFSET},
    {"2026-11-21T23:49:59+03:00", 1795294199000000, 180},
    {"2026-11-21T23:49:59+0300", 1795294199000000, 180},
    {"2026-11-21T23:49:59+03", 1795294199000000, 180},
    {"2026-11-21T15:19:59-05:30", 1795294199000000, -330},
    {"2026-11-21T20:49:59+00:00", 1795294199000000, 0},
    {"2026-11-21T20:49:59-00:00", 1795294199000000, NO_OFFSET},
    {"2024-02-29T00:00:00Z", 1709164800000000, NO_OFFSET},
    {"2000-02-29T00:00:00Z", 951782400000000, NO_OFFSET},
    {"2016-12-31T23:59:60Z", 1483228800000000, NO_OFFSET},
    {"1969-12-31T23:59:59.999999Z", -1, NO_OFFSET},
    {"0001-01-01T00:00:00Z", INT64_C(-62135596800000000), NO_OFFSET},
    {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999), NO_OFFSET},
    {"0", 0, NO_OFFSET},
    {"1795294199801", 1795294199801000, NO_OFFSET},
    {"253402300799999", INT64_C(253402300799999000), NO_OFFSET},
};

static const char *const bad[] = {
    "",
    " ",
    "Z",
    "T",
    "now",
    "-1",
    "+1",
    "1.5",
    "253402300800000",
    "99999999999999999999999",
    "2026-11-21",
    "2026-11-21T",
    "2026-11-21T20",
    "2026-11-21T20Z",
    "2026-11-21T20:4",
    "2026-11-21T20:49:",
    "2026-11-21T20:49:5",
    "2026-11-21T20:49:59.",
    "2026-11-21T20:49:59.Z",
    "2026-11-21T20:49:59.1234567890Z",
    "2026-11-21T20:49:61Z",
    "2026-11-21T20:60:00Z",
    "2026-11-21T24:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "2026-01-32T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2025-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "-001-01-01T00:00:00Z",
    "2026-11-21T20:49:59ZZ",
    "2026-11-21T20:49:59 Z",
    "2026-11-21T20:49:59+",
    "2026-11-21T20:49:59+3",
    "2026-11-21T20:49:59+03:",
    "2026-11-21T20:49:59+03:0",
    "2026-11-21T20:49:59+03:000",
    "2026-11-21T20:49:59+24:00",
    "2026-11-21T20:49:59+00:60",
    "2026-11-21T20:49:59+03:00Z",
    "2026/11/21T20:49:59Z",
    "2026-11-21_20:49:59Z",
    "2026-1-21T20:49:59Z",
    " 2026-11-21T20:49:59Z",
    "2026-11-21T20:49:59Z ",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "9999-12-31T23:59:60Z",
    "2026-11-21T20:49:59\xc3\xa9",
};

static void parse_reads_what_is_documented(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		int64_t us = 42;
		int16_t offset = 42;
		if (clock_parse(str_from(good[i].text), &us, &offset) != OK || us != good[i].us ||
		    offset != good[i].offset)
			fail_msg("%s: %lld %d", good[i].text, (long long)us, offset);
	}
}

static void parse_refuses_everything_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		int64_t us;
		int16_t offset;
		if (clock_parse(str_from(bad[i]), &us, &offset) != ERR_INVALID) fail_msg("accepted: %s", bad[i]);
	}
	int64_t us;
	int16_t offset;
	assert_int_equal(clock_parse(str_of("1970-01-01T00:00:00\0", 20), &us, &offset), ERR_INVALID);
	assert_int_equal(clock_parse(str_of("1970-01-01T00:00:00Z\0", 21), &us, &offset), ERR_INVALID);
}

static void format_leaves_out_zero_fractions(void **state)
{
	char text[CLOCK_TEXT_SIZE];
	(void)state;
	assert_int_equal(clock_format(0, text), 20);
	assert_string_equal(text, "1970-01-01T00:00:00Z");
	assert_int_equal(clock_format(1795294199801000, text), 24);
	assert_string_equal(text, "2026-11-21T20:49:59.801Z");
	assert_int_equal(clock_format(1795294199801234, text), 27);
	assert_string_equal(text, "2026-11-21T20:49:59.801234Z");
	clock_format(-1, text);
	assert_string_equal(text, "1969-12-31T23:59:59.999999Z");
}

static void format_never_overruns(void **state)
{
	char text[CLOCK_TEXT_SIZE];
	const int64_t extremes[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX, INT64_C(253402300800000000),
				    INT64_C(-62135596800000001)};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(extremes); i++) {
		size_t len = clock_format(extremes[i], text);
		assert_int_equal(len, strlen(text));
		assert_true(len < sizeof text);
	}
}

/* Every day of 0001-9999 against the C library, and each text read back. */
static void every_day_round_trips(void **state)
{
	(void)state;
	for (int64_t day = -719162; day < 2932896; day += 13) {
		char text[CLOCK_TEXT_SIZE], expected[80];
		int64_t us = day * US_PER_DAY + (day & 0xffff) * US_PER_SECOND, again;
		int16_t offset;
		time_t seconds = (time_t)(day * 86400 + (day & 0xffff));
		struct tm tm;
		assert_non_null(gmtime_r(&seconds, &tm));
		(void)snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
			       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
		size_t len = clock_format(us, text);
		if (strcmp(text, expected) != 0) fail_msg("%s != %s", text, expected);
		assert_ok(clock_parse(str_of(text, len), &again, &offset));
		assert_true(again == us);
	}
}

static void clocks_run(void **state)
{
	(void)state;
	int64_t mono = clock_mono_us(), boot = clock_boottime_us();
	assert_true(clock_wall_us() > INT64_C(1700000000) * US_PER_SECOND);
	assert_true(clock_mono_us() >= mono);
	assert_true(clock_boottime_us() >= boot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parse_reads_what_is_documented),
	    cmocka_unit_test(parse_refuses_everything_else),
	    cmocka_unit_test(format_leaves_out_zero_fractions),
	    cmocka_unit_test(format_never_overruns),
	    cmocka_unit_test(every_day_round_trips),
	    cmocka_unit_test(clocks_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
