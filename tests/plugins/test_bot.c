#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_host.h"

static struct cdpd_instance fake;

static int setup(void **state)
{
	(void)state;
	fake_open(&fake, "bot");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (fake.self) fake_destroy(&fake);
	fake_close(&fake);
	return 0;
}

static void create_with(const struct fake_option *options, size_t count)
{
	assert_int_equal(fake_create(&fake, options, count), CDPD_OK);
}

static void expect(const char *reason, const char *name)
{
	fake_expect(&fake, "enrichment.bot.is_bot", reason ? "true" : NULL);
	fake_expect(&fake, "enrichment.bot.reason", reason);
	fake_expect(&fake, "enrichment.bot.name", name);
}

static void agent(const char *text, const char *reason, const char *name)
{
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "userAgent", text);
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	const struct fake_set *set = fake_get(&fake, "enrichment.bot.is_bot");
	if ((set != NULL) != (reason != NULL)) fail_msg("'%s' is %sa bot", text, set ? "" : "not ");
	expect(reason, name);
}

static void test_declared_bots(void **state)
{
	(void)state;
	static const struct fake_option options[] = {{"agents", "uptime-check,|probe|,!teaprobe"}};
	create_with(options, 1);
	agent("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "declared", "Googlebot");
	agent("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "declared", "bingbot");
	agent("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "declared", "YandexBot");
	agent("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)", "declared", "GPTBot");
	agent("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "declared",
	      "facebookexternalhit");
	agent("curl/8.5.0", "declared", "curl");
	agent("python-requests/2.31", "declared", "python-requests");
	agent(
	    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0 Safari/537.36",
	    "declared", "HeadlessChrome");
	agent("UPTIME-CHECK of ours", "declared", "UPTIME-CHECK");
	agent("a probe", "declared", "probe");
	agent("probes", NULL, NULL);
	agent("teaprobe", NULL, NULL);
	/* people */
	agent("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
	      "Version/17.4 "
	      "Mobile/15E148 Safari/604.1",
	      NULL, NULL);
	agent("Mozilla/5.0 (Linux; Android 9; CUBOT NOTE 20) AppleWebKit/537.36 Chrome/90.0 Mobile Safari/537.36", NULL,
	      NULL);
	agent("Mozilla/5.0 (Linux; Android 9; CUBOT) Googlebot/2.1", "declared", "Googlebot");
	agent("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:123.0) Gecko/20100101 Firefox/123.0", NULL, NULL);
	agent("", NULL, NULL);
	assert_int_equal(fake_counted(&fake, "bot_declared_total"), 11);
}

static void test_what_useragent_says_counts_too(void **state)
{
	(void)state;
	create_with(NULL, 0);
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "userAgent", "Something nobody has on a list");
	fake_text(&event, "enrichment.userAgent.device.family", "Spider");
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	expect("declared", NULL);
}

/* Of the agents that uap-core calls spiders nearly all are found, and of its phones and computers next to none. */
static void test_against_the_lists_of_uap_core(void **state)
{
	(void)state;
	char line[5000], text[5000] = "";
	unsigned spiders = 0, found = 0, others = 0, wrong = 0;
	FILE *in = fopen("/usr/share/uap-core/tests/test_device.yaml", "r");
	if (!in) skip();
	create_with(NULL, 0);
	while (fgets(line, sizeof line, in)) {
		const char *value = strstr(line, "user_agent_string: ");
		if (value) snprintf(text, sizeof text, "%s", value + 19);
		value = strstr(line, " family: ");
		if (!value || !text[0]) continue;
		struct cdpd_event event = {.field_count = 0};
		fake_text(&event, "userAgent", text);
		assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
		bool is_bot = fake.set_count > 0, is_spider = strstr(value, "Spider") != NULL;
		bool is_known = strstr(value, "Other") == NULL;
		spiders += is_spider;
		found += is_spider && is_bot;
		others += !is_spider && is_known;
		wrong += !is_spider && is_known && is_bot;
		if (is_spider != is_bot && (is_spider || is_known) && getenv("SHOW"))
			print_message("%d %s", is_spider, text);
		text[0] = '\0';
	}
	fclose(in);
	print_message("%u of %u spiders, %u of %u others\n", found, spiders, wrong, others);
	assert_true(spiders > 50 && others > 5000);
	assert_true(found * 100 >= spiders * 85);
	assert_true(wrong * 200 <= others);
}

static void from_network(const char *asn, const char *reason)
{
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "ip", "192.0.2.1");
	if (asn) fake_number(&event, "enrichment.geo.asn", asn);
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	expect(reason, NULL);
}

static void test_data_centres(void **state)
{
	(void)state;
	static const struct fake_option options[] = {{"datacentre", "true"}, {"datacentre_asns", "AS64496,64499"}};
	create_with(options, 2);
	from_network("16509", "datacentre");
	from_network("24940", "datacentre");
	from_network("64496", "datacentre");
	from_network("64499", "datacentre");
	from_network("64497", NULL);
	from_network("-1", NULL);
	from_network("1e300", NULL);
	for (int i = 0; i < 1000; i++) from_network(NULL, NULL);
	assert_int_equal(fake.log_count, 0);
	for (int i = 0; i < 1000; i++) from_network(NULL, NULL);
	assert_int_equal(fake.log_count, 1); /* said once */
	assert_true(fake_has_logged(&fake, "geo is wanted"));
	fake_destroy(&fake);
	create_with(NULL, 0); /* off unless asked for */
	from_network("16509", NULL);
}

static bool is_fast(const char *ip, int64_t ms)
{
	struct cdpd_event event = {.received_us = INT64_C(1795294200000000) + ms * 1000};
	fake_text(&event, "ip", ip);
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	if (fake.set_count) expect("rate", NULL);
	return fake.set_count > 0;
}

static void test_too_many_events(void **state)
{
	(void)state;
	static const struct fake_option options[] = {{"rate", "10"}, {"rate_span", "1m"}, {"rate_keys", "64"}};
	create_with(options, 3);
	for (int i = 0; i < 10; i++) assert_false(is_fast("192.0.2.1", i));
	assert_true(is_fast("192.0.2.1", 11));
	assert_false(is_fast("192.0.2.2", 11));   /* another key */
	assert_true(is_fast("192.0.2.1", 61000)); /* the window before still weighs */
	assert_false(is_fast("192.0.2.1", 200000));
	/* nine a minute, evenly, for an hour: never more than the limit */
	for (int i = 0; i < 600; i++) assert_false(is_fast("192.0.2.3", 300000 + i * 6700));
	/* more keys than there is room for */
	for (int i = 0; i < 100000; i++) {
		char ip[32];
		snprintf(ip, sizeof ip, "10.%d.%d.%d", i >> 16, (i >> 8) & 255, i & 255);
		assert_false(is_fast(ip, 4000000));
	}
	assert_true(is_fast("192.0.2.4", 5000000) == false);
	assert_false(is_fast("192.0.2.4", 4999000)); /* a clock that goes back */
}

static void test_drops_only_what_it_is_told_to(void **state)
{
	(void)state;
	static const struct fake_option options[] = {{"drop", "declared"}, {"datacentre", "true"}};
	create_with(options, 2);
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "userAgent", "Googlebot/2.1");
	assert_int_equal(fake_enrich(&fake, &event), CDPD_ENRICH_DROP);
	assert_string_equal(fake.log, "bot: declared Googlebot");
	from_network("16509", "datacentre");
}

static void refused(const char *option, const char *value, const char *why)
{
	struct fake_option options[] = {{option, value}};
	assert_true(fake_create(&fake, options, 1) < 0);
	fake.self = NULL;
	if (!fake_has_logged(&fake, why)) fail_msg("'%s' does not say '%s'", fake.log, why);
}

static void test_wrong_options(void **state)
{
	(void)state;
	refused("drop", "declared,everybody", "'everybody' is not declared, datacentre or rate");
	refused("datacentre_asns", "ASx", "'ASx' is no number");
	refused("datacentre_asns", "4294967296", "is no number");
	refused("agents", "ab", "'ab' is no word");
}

static void test_random_bytes_never_fail(void **state)
{
	(void)state;
	unsigned seed = 1;
	char text[200];
	create_with(NULL, 0);
	for (int round = 0; round < 20000; round++) {
		for (size_t i = 0; i < sizeof text; i++) {
			seed = seed * 1103515245u + 12345u;
			text[i] = (char)(seed >> 16);
			if (seed >> 30 == 0) text[i] = "botspidercrawl/"[(seed >> 8) % 15];
		}
		struct cdpd_event event = {.field_count = 0};
		fake_bytes(&event, "userAgent", text, (size_t)(round % 200));
		assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_declared_bots),
	    TEST(test_what_useragent_says_counts_too),
	    TEST(test_against_the_lists_of_uap_core),
	    TEST(test_data_centres),
	    TEST(test_too_many_events),
	    TEST(test_drops_only_what_it_is_told_to),
	    TEST(test_wrong_options),
	    TEST(test_random_bytes_never_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
