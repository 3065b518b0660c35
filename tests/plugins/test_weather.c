/* The weather enricher against a fake host: providers' answers are those of their documentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_async.h"

static struct cdpd_instance fake;
static char path[64];

static int setup(void **state)
{
	(void)state;
	fake_async_begin();
	fake_open(&fake, "weather");
	snprintf(path, sizeof path, "/tmp/cdpd-weather-XXXXXX");
	int fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	if (fake.self) fake_destroy(&fake);
	fake_close(&fake);
	return unlink(path);
}

static void write_file(const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void create(const struct fake_option *options, size_t count)
{
	if (fake_create(&fake, options, count) != CDPD_OK) fail_msg("refused: %s", fake.log);
}

static void with_open_meteo(void)
{
	static const struct fake_option options[] = {{"provider", "open-meteo"}, {"url", "http://127.0.0.1:1"}};
	create(options, 2);
}

static void with_archive(const char *csv, const char *place)
{
	char archive[128];
	write_file(csv);
	snprintf(archive, sizeof archive, "%s %s", path, place);
	struct fake_option options[] = {{"archives", archive}};
	create(options, 1);
}

/* 2015-12-31T20:30:00Z, at noon in Seattle. */
#define NOON_SEATTLE 1451593800LL
#define HOUR_SEATTLE 1451592000LL

static struct cdpd_ticket ticket_at(int64_t time_s, const char *latitude, const char *longitude)
{
	struct cdpd_ticket ticket = {.error = -99};
	ticket.event.time_us = time_s * 1000000;
	fake_text(&ticket.event, "event", "Order Completed");
	if (latitude) fake_text(&ticket.event, "context.location.latitude", latitude);
	if (longitude) fake_text(&ticket.event, "context.location.longitude", longitude);
	return ticket;
}

static struct cdpd_ticket in_seattle(void)
{
	return ticket_at(NOON_SEATTLE, "47.6062", "-122.3321");
}

static void expect(const char *name, const char *text)
{
	char full[128];
	snprintf(full, sizeof full, "enrichment.weather.%s", name);
	const struct fake_set *set = fake_get(&fake, full);
	if (!text) {
		if (set) fail_msg("%s is %s", name, set->text);
		return;
	}
	if (!set) fail_msg("%s was not set (%s)", name, fake.log);
	assert_string_equal(set->text, text);
}

static void expect_done(const struct cdpd_ticket *ticket, int error)
{
	assert_int_equal(ticket->done_count, 1);
	assert_int_equal(ticket->error, error);
}

/* ── Open-Meteo ──────────────────────────────────────────────────────────── */

#define OPEN_METEO_BODY \
	"{\"latitude\":47.60,\"longitude\":-122.33,\"generationtime_ms\":0.2,\"utc_offset_seconds\":0,\"timezone\":" \
	"\"GMT\"," \
	"\"hourly_units\":{\"time\":\"unixtime\",\"temperature_2m\":\"°C\"},\"hourly\":{" \
	"\"time\":[1451584800,1451588400,1451592000,1451595600],\"temperature_2m\":[1.0,2.5,3.4,4.0]," \
	"\"apparent_temperature\":[-1.0,0.5,0.9,1.0],\"relative_humidity_2m\":[80,75,71,70],\"precipitation\":[0.4,0." \
	"0,0.0,0.0]," \
	"\"weather_code\":[61,3,1,0],\"wind_speed_10m\":[1.2,1.3,2.06,2.0],\"is_day\":[0,1,1,1]}}"

static void test_asks_for_the_hour_and_reads_it(void **state)
{
	(void)state;
	with_open_meteo();
	struct cdpd_ticket ticket = in_seattle();
	fake_ask(&fake, &ticket);
	assert_int_equal(ticket.done_count, 0);
	assert_int_equal(fake_request_count, 1);
	assert_string_equal(
	    fake_requests[0].url,
	    "http://127.0.0.1:1/v1/archive?latitude=47.6000&longitude=-122.3000&start_date=2015-12-31"
	    "&end_date=2015-12-31&hourly=temperature_2m,apparent_temperature,relative_humidity_2m,"
	    "precipitation,weather_code,wind_speed_10m,is_day&timezone=GMT&timeformat=unixtime&wind_speed_unit=ms");
	fake_answer(0, 200, OPEN_METEO_BODY, -1);
	expect_done(&ticket, CDPD_OK);
	expect("temperature_c", "3.3999999999999999");
	expect("feels_like_c", "0.90000000000000002");
	expect("precipitation_mm", "0");
	expect("humidity", "71");
	expect("wind_ms", "2.0600000000000001");
	expect("code", "1");
	expect("group", "clear");
	expect("is_day", "true");
	expect("rained_recently", "true"); /* two hours before */
	expect("provider", "open-meteo");
}

static void test_recent_hours_are_the_forecasts(void **state)
{
	(void)state;
	with_open_meteo();
	struct cdpd_ticket ticket = ticket_at((int64_t)time(NULL) - 7200, "47.6062", "-122.3321");
	fake_ask(&fake, &ticket);
	assert_non_null(strstr(fake_requests[0].url, "/v1/forecast?"));
}

static void test_one_request_for_a_cell_and_hour(void **state)
{
	(void)state;
	with_open_meteo();
	struct cdpd_ticket tickets[6];
	for (size_t i = 0; i < 6; i++) {
		char latitude[32];
		snprintf(latitude, sizeof latitude, "47.6%03zu", i);
		tickets[i] = ticket_at(NOON_SEATTLE + (int64_t)i * 10, latitude, "-122.31");
		fake_ask(&fake, &tickets[i]);
	}
	assert_int_equal(fake_request_count, 1);
	fake_answer(0, 200, OPEN_METEO_BODY, -1);
	for (size_t i = 0; i < 6; i++) expect_done(&tickets[i], CDPD_OK);
	struct cdpd_ticket later = in_seattle(), other_hour = ticket_at(NOON_SEATTLE + 3600, "47.6", "-122.3"),
			   other_cell = ticket_at(NOON_SEATTLE, "47.8", "-122.3");
	fake_ask(&fake, &later);
	expect_done(&later, CDPD_OK);
	expect("group", "clear");
	assert_int_equal(fake_request_count, 1);
	fake_ask(&fake, &other_hour);
	fake_ask(&fake, &other_cell);
	assert_int_equal(fake_request_count, 3);
}

/* What is wrong for the moment is never kept as an answer: the next event asks again. */
static void test_transient_errors_are_not_cached(void **state)
{
	(void)state;
	static const struct {
		int error, status;
		const char *body;
	} rows[] = {
	    {CDPD_ERR_TIMEOUT, 0, ""},
	    {CDPD_ERR_IO, 0, ""},
	    {CDPD_OK, 500, "{}"},
	    {CDPD_OK, 502, "<html>bad gateway</html>"},
	    {CDPD_OK, 200, ""},
	    {CDPD_OK, 200, "<html>welcome to the hotel</html>"},
	    {CDPD_OK, 200, "{\"latitude\":47.6,\"longitude\":-122.3,\"hourly\":{\"time\":[145159"}, /* half a body */
	    {CDPD_OK, 200, "{\"hourly\":{\"time\":[1451592000],\"temperature_2m\":[1]}}"},
	    {CDPD_OK, 200,
	     "{\"latitude\":47.6,\"longitude\":-122.3,\"hourly\":{\"time\":[\"x\"],\"temperature_2m\":[1]}}"},
	    {CDPD_OK, 200, "[]"},
	    /* Berlin's weather */
	    {CDPD_OK, 200,
	     "{\"latitude\":52.5,\"longitude\":13.4,\"hourly\":{\"time\":[1451592000],\"temperature_2m\":[1]}}"},
	};
	with_open_meteo();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cdpd_ticket ticket = in_seattle();
		fake_ask(&fake, &ticket);
		assert_int_equal(fake_request_count, i + 1);
		if (rows[i].error)
			fake_answer_error(i, rows[i].error);
		else
			fake_answer(i, rows[i].status, rows[i].body, -1);
		assert_int_equal(ticket.done_count, 1);
		assert_true(ticket.error < 0);
		assert_int_equal(fake.set_count, 0);
	}
	struct cdpd_ticket ticket = in_seattle();
	fake_ask(&fake, &ticket);
	fake_answer(fake_request_count - 1, 200, OPEN_METEO_BODY, -1);
	expect_done(&ticket, CDPD_OK);
	expect("group", "clear");
}

static void test_nothing_for_it_is_remembered(void **state)
{
	(void)state;
	static const struct {
		int status;
		const char *body;
	} rows[] = {
	    {400, "{\"error\":true,\"reason\":\"Parameter 'start_date' is out of allowed range\"}"},
	    {404, ""},
	    {200, "{\"latitude\":47.6,\"longitude\":-122.3,\"hourly\":{\"time\":[1451592000],\"temperature_2m\":[null],"
		  "\"weather_code\":[null]}}"},
	    {200, "{\"latitude\":47.6,\"longitude\":-122.3,\"hourly\":{\"time\":[]}}"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		fake_async_begin();
		with_open_meteo();
		struct cdpd_ticket ticket = in_seattle(), again = in_seattle();
		fake_ask(&fake, &ticket);
		fake_answer(0, rows[i].status, rows[i].body, -1);
		expect_done(&ticket, CDPD_OK);
		assert_int_equal(fake.set_count, 0);
		fake_ask(&fake, &again);
		expect_done(&again, CDPD_OK);
		assert_int_equal(fake_request_count, 1);
		fake_destroy(&fake);
	}
	fake.self = NULL;
}

static void test_too_many_requests_pauses_all_of_them(void **state)
{
	(void)state;
	with_open_meteo();
	struct cdpd_ticket first = in_seattle(), second = ticket_at(NOON_SEATTLE, "10", "10");
	fake_ask(&fake, &first);
	fake_answer(0, 429, "", 120000);
	assert_int_equal(first.error, CDPD_ERR_BUSY);
	assert_non_null(strstr(fake.log, "not asked for 120 s"));
	fake_ask(&fake, &second);
	assert_int_equal(fake_request_count, 1);
	assert_int_equal(second.error, CDPD_ERR_BUSY);
}

static void test_quota_of_a_day_survives_a_restart(void **state)
{
	(void)state;
	static const struct fake_option options[] = {
	    {"provider", "open-meteo"}, {"url", "http://127.0.0.1:1"}, {"requests_per_day", "3"}};
	for (int run = 0; run < 2; run++) {
		create(options, 3);
		for (int i = 0; i < 4; i++) {
			char latitude[16];
			snprintf(latitude, sizeof latitude, "%d", run * 10 + i);
			struct cdpd_ticket ticket = ticket_at(NOON_SEATTLE, latitude, "10");
			fake_ask(&fake, &ticket);
		}
		assert_int_equal(fake_request_count, 3);
		if (run == 0) fake_destroy(&fake);
	}
}

static void test_a_rate_is_kept(void **state)
{
	(void)state;
	static const struct fake_option options[] = {
	    {"provider", "open-meteo"}, {"url", "http://127.0.0.1:1"}, {"requests_per_minute", "2"}};
	create(options, 3);
	for (int i = 0; i < 2; i++) {
		struct cdpd_ticket ticket = ticket_at(NOON_SEATTLE + i * 3600, "1", "1");
		fake_ask(&fake, &ticket);
		assert_int_equal(ticket.done_count, 0);
	}
	struct cdpd_ticket third = ticket_at(NOON_SEATTLE + 7200, "1", "1");
	fake_ask(&fake, &third);
	assert_int_equal(third.error, CDPD_ERR_BUSY);
}

static void test_what_waits_at_the_end_is_given_back(void **state)
{
	(void)state;
	with_open_meteo();
	for (int i = 0; i < 10; i++) {
		struct cdpd_ticket ticket = ticket_at(NOON_SEATTLE + i * 3600, "1", "1");
		fake_ask(&fake, &ticket);
	}
	fake_destroy(&fake); /* the leak checker looks */
	fake.self = NULL;
}

/* ── OpenWeatherMap ──────────────────────────────────────────────────────── */

static void test_openweathermap(void **state)
{
	(void)state;
	static const struct fake_option options[] = {
	    {"provider", "openweathermap"}, {"url", "http://127.0.0.1:1"}, {"key", "k-1"}};
	create(options, 3);
	struct cdpd_ticket ticket = in_seattle();
	fake_ask(&fake, &ticket);
	assert_string_equal(fake_requests[0].url,
			    "http://127.0.0.1:1/data/3.0/onecall/timemachine?lat=47.6000&lon=-122.3000"
			    "&dt=1451592000&units=metric&appid=k-1");
	fake_answer(
	    0, 200,
	    "{\"lat\":47.6,\"lon\":-122.3,\"timezone\":\"America/Los_Angeles\",\"timezone_offset\":-28800,\"data\":[{"
	    "\"dt\":1451592000,\"sunrise\":1451577432,\"sunset\":1451607892,\"temp\":3.5,\"feels_like\":1.25,"
	    "\"pressure\":1014,\"humidity\":88,\"clouds\":100,\"wind_speed\":4.5,\"rain\":{\"1h\":0.75},"
	    "\"weather\":[{\"id\":501,\"main\":\"Rain\",\"description\":\"moderate rain\",\"icon\":\"10n\"}]}]}",
	    -1);
	expect_done(&ticket, CDPD_OK);
	expect("temperature_c", "3.5");
	expect("feels_like_c", "1.25");
	expect("precipitation_mm", "0.75");
	expect("humidity", "88");
	expect("wind_ms", "4.5");
	expect("code", "63");
	expect("group", "rain");
	expect("is_day", "true");
	expect("rained_recently", "true");
	expect("provider", "openweathermap");
}

static void test_openweathermap_refuses_the_key(void **state)
{
	(void)state;
	static const struct fake_option options[] = {
	    {"provider", "openweathermap"}, {"url", "http://127.0.0.1:1"}, {"key", "k-secret"}};
	create(options, 3);
	struct cdpd_ticket ticket = in_seattle(), next = ticket_at(NOON_SEATTLE, "1", "1");
	fake_ask(&fake, &ticket);
	fake_answer(0, 401, "{\"cod\":401,\"message\":\"Invalid API key\"}", -1);
	assert_int_equal(ticket.error, CDPD_ERR_BUSY);
	assert_non_null(strstr(fake.log, "refuses the key"));
	assert_null(strstr(fake.log, "k-secret"));
	fake_ask(&fake, &next);
	assert_int_equal(fake_request_count, 1);
}

/* ── archives ────────────────────────────────────────────────────────────── */

/* The layout of vega-datasets' Seattle. */
#define SEATTLE_DAILY \
	"date,precipitation,temp_max,temp_min,wind,weather\n" \
	"2015-12-30,0.0,5.6,-1.0,3.4,sun\n" \
	"2015-12-31,1.3,5.6,-2.1,3.5,drizzle\n"

static void test_a_daily_archive(void **state)
{
	(void)state;
	with_archive(SEATTLE_DAILY, "47.61 -122.33");
	struct cdpd_ticket ticket = in_seattle();
	fake_ask(&fake, &ticket);
	expect_done(&ticket, CDPD_OK);
	expect("temperature_c", "1.75");
	expect("code", "53");
	expect("group", "rain");
	expect("wind_ms", "3.5");
	expect("rained_recently", "true");
	expect("is_day", "true"); /* reckoned from the sun */
	expect("humidity", NULL);
	expect("provider", "archive");
	/* 06:30 UTC on the 31st is the evening of the 30th over there, by the longitude or by the event's own offset. */
	struct cdpd_ticket evening = ticket_at(HOUR_SEATTLE - 14 * 3600 + 1800, "47.61", "-122.33");
	fake_ask(&fake, &evening);
	expect("group", "clear");
	expect("is_day", "false");
	evening.event.has_offset = true;
	evening.event.utc_offset_min = 60;
	fake_ask(&fake, &evening);
	expect("group", "rain");
}

static void test_an_hourly_archive_and_its_rain(void **state)
{
	(void)state;
	with_archive("time,temperature,precipitation,humidity,weather,is_day,comment\n"
		     "\"2015-12-31T20:00\",3.5,0,81,3,0,\"clouds, mostly\"\n"
		     "2015-12-31T18:00:00Z,2.5,0.2,80,61,1,\n"
		     "2015-12-31T22:00,,,,,,\n",
		     "47.61 -122.33 10km");
	struct cdpd_ticket ticket = in_seattle();
	fake_ask(&fake, &ticket);
	expect("temperature_c", "3.5");
	expect("group", "clouds");
	expect("is_day", "false");
	expect("rained_recently", "true");
	struct cdpd_ticket empty = ticket_at(NOON_SEATTLE + 7200, "47.61", "-122.33");
	fake_ask(&fake, &empty);
	expect_done(&empty, CDPD_OK);
	expect("temperature_c", NULL);
	expect("group", NULL);
	expect("rained_recently", "false");
	static const char *const elsewhere[][2] = {{"47.75", "-122.33"}, {"-47.61", "122.33"}};
	for (size_t i = 0; i < 2; i++) {
		struct cdpd_ticket far = ticket_at(NOON_SEATTLE, elsewhere[i][0], elsewhere[i][1]);
		fake_ask(&fake, &far);
		expect_done(&far, CDPD_OK);
		assert_int_equal(fake.set_count, 0);
	}
}

static void test_bad_archives_are_refused_with_their_line(void **state)
{
	(void)state;
	static const struct {
		const char *csv, *place, *says;
	} rows[] = {
	    {"", "1 1", "no row"},
	    {"date,wind\n", "1 1", "no row"},
	    {"day,wind\n2015-12-31,1\n", "1 1", "`date` or a `time`"},
	    {"date,time\n2015-12-31,1\n", "1 1", "`date` or a `time`"},
	    {"date,wind\n2015-12-31,1\n31.12.2015,1\n", "1 1", "line 3"},
	    {"date,wind\n2015-13-31,1\n", "1 1", "line 2"},
	    {"date,wind\n2015-12-31,strong\n", "1 1", "line 2: a field is no number"},
	    {"time,wind\n2015-12-31,1\n", "1 1", "line 2"},
	    {SEATTLE_DAILY, "", "FILE LATITUDE LONGITUDE"},
	    {SEATTLE_DAILY, "91 1", "FILE LATITUDE LONGITUDE"},
	    {SEATTLE_DAILY, "1 x", "FILE LATITUDE LONGITUDE"},
	    {SEATTLE_DAILY, "1 1 -3km", "FILE LATITUDE LONGITUDE"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char archive[128];
		write_file(rows[i].csv);
		snprintf(archive, sizeof archive, "%s %s", path, rows[i].place);
		struct fake_option options[] = {{"archives", archive}};
		assert_int_equal(fake_create(&fake, options, 1), CDPD_ERR_INVALID);
		if (!strstr(fake.log, rows[i].says)) fail_msg("row %zu: %s", i, fake.log);
	}
	struct fake_option missing[] = {{"archives", "/nowhere.csv 1 1"}};
	assert_int_equal(fake_create(&fake, missing, 1), CDPD_ERR_INVALID);
	assert_non_null(strstr(fake.log, "No such file"));
	fake.self = NULL;
}

/* ── where and which ─────────────────────────────────────────────────────── */

static void test_where_the_place_comes_from(void **state)
{
	(void)state;
	static const struct fake_option options[] = {{"provider", "open-meteo"},
						     {"url", "http://127.0.0.1:1"},
						     {"latitude_from", "properties.store.lat"},
						     {"longitude_from", "properties.store.lon"}};
	create(options, 4);
	struct cdpd_ticket ticket = {.event = {.time_us = NOON_SEATTLE * 1000000}};
	fake_text(&ticket.event, "enrichment.geo.latitude", "1");
	fake_text(&ticket.event, "enrichment.geo.longitude", "2");
	fake_ask(&fake, &ticket);
	assert_non_null(strstr(fake_requests[0].url, "latitude=1.0000&longitude=2.0000"));
	fake_text(&ticket.event, "context.location.latitude", "3");
	fake_ask(&fake, &ticket); /* half a place is none */
	assert_int_equal(fake_request_count, 1);
	fake_text(&ticket.event, "context.location.longitude", "4");
	fake_ask(&fake, &ticket);
	assert_non_null(strstr(fake_requests[1].url, "latitude=3.0000&longitude=4.0000"));
	fake_text(&ticket.event, "properties.store.lat", "5");
	fake_text(&ticket.event, "properties.store.lon", "-6.04");
	fake_ask(&fake, &ticket);
	assert_non_null(strstr(fake_requests[2].url, "latitude=5.0000&longitude=-6.0000"));
}

static void test_no_place_no_weather(void **state)
{
	(void)state;
	static const char *const places[][2] = {{NULL, NULL}, {"47.6", NULL}, {"", ""},      {"north", "west"},
						{"91", "0"},  {"0", "181"},   {"nan", "nan"}};
	with_open_meteo();
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		struct cdpd_ticket ticket = ticket_at(NOON_SEATTLE, places[i][0], places[i][1]);
		fake_ask(&fake, &ticket);
		expect_done(&ticket, CDPD_OK);
	}
	assert_int_equal(fake_request_count, 0);
}

static void test_the_future_has_no_weather(void **state)
{
	(void)state;
	with_open_meteo();
	struct cdpd_ticket ticket = ticket_at((int64_t)time(NULL) + 10 * 3600, "47.6", "-122.3");
	fake_ask(&fake, &ticket);
	expect_done(&ticket, CDPD_OK);
	assert_int_equal(fake_request_count, 0);
}

static void test_only_the_events_asked_for(void **state)
{
	(void)state;
	static const struct fake_option options[] = {{"provider", "open-meteo"},
						     {"events", "Store Visited,Order Completed"}};
	create(options, 2);
	struct cdpd_ticket wanted = in_seattle(), other = in_seattle();
	other.event.field_count = 0;
	fake_text(&other.event, "event", "Page Viewed");
	fake_text(&other.event, "context.location.latitude", "1");
	fake_text(&other.event, "context.location.longitude", "1");
	fake_ask(&fake, &other);
	expect_done(&other, CDPD_OK);
	fake_ask(&fake, &wanted);
	assert_int_equal(fake_request_count, 1);
}

static void test_wrong_configurations(void **state)
{
	(void)state;
	static const struct {
		struct fake_option options[2];
		size_t count;
		const char *says;
	} rows[] = {
	    {{{"provider", "none"}}, 1, "archives"},
	    {{{"provider", "openweathermap"}}, 1, "needs a key"},
	    {{{"provider", "open-meteo"}, {"latitude_from", "properties.lat"}}, 2, "both or none"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(fake_create(&fake, rows[i].options, rows[i].count), CDPD_ERR_INVALID);
		if (!strstr(fake.log, rows[i].says)) fail_msg("%s", fake.log);
	}
	fake.self = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_asks_for_the_hour_and_reads_it, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_recent_hours_are_the_forecasts, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_one_request_for_a_cell_and_hour, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_transient_errors_are_not_cached, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_nothing_for_it_is_remembered, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_too_many_requests_pauses_all_of_them, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_quota_of_a_day_survives_a_restart, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_rate_is_kept, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_waits_at_the_end_is_given_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_openweathermap, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_openweathermap_refuses_the_key, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_daily_archive, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_an_hourly_archive_and_its_rain, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bad_archives_are_refused_with_their_line, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_where_the_place_comes_from, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_no_place_no_weather, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_the_future_has_no_weather, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_only_the_events_asked_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_wrong_configurations, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
