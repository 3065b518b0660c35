#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_host.h"

#define DAY(n) ((n)*INT64_C(86400000000))

static struct cdpd_instance fake;
static char file[300];

static const char rates[] = "date,currency,rate\n"
			    "# what a euro buys\n"
			    "2026-01-05,USD,1.0823\n"
			    "2026-01-05,JPY,158.51\n"
			    "2026-01-02,USD,1.10\n" /* in any order */
			    "2026-01-12,USD,1.25\n"
			    "2026-01-05,GBP,0.86\n"
			    "2026-01-05,gbp,0.85\n"; /* of two of a day the later line */
#define JANUARY_1 DAY(20454)                         /* 2026-01-01 */

static void write_file(const char *text)
{
	char temporary[310];
	snprintf(temporary, sizeof temporary, "%s.new", file);
	FILE *out = fopen(temporary, "w");
	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(rename(temporary, file), 0);
}

static int setup(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(file, sizeof file, "%s/cdpd-rates-%d.csv", tmp ? tmp : "/tmp", getpid());
	write_file(rates);
	fake_open(&fake, "currency");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (fake.self) fake_destroy(&fake);
	fake_close(&fake);
	return unlink(file);
}

static void create_with(const char *name, const char *value, const char *name2, const char *value2)
{
	struct fake_option options[] = {{"rates", file}, {"reload", "10ms"}, {name, value}, {name2, value2}};
	assert_int_equal(fake_create(&fake, options, name2 ? 4 : name ? 3 : 2), CDPD_OK);
}

static void enrich(int64_t day, const char *total, const char *currency)
{
	struct cdpd_event event = {.time_us = day};
	fake_number(&event, "properties.total", total);
	if (currency) fake_text(&event, "properties.currency", currency);
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
}

static void expect(const char *total)
{
	fake_expect(&fake, "enrichment.currency.total", total);
	fake_expect(&fake, "enrichment.currency.base", total ? "EUR" : NULL);
}

static void test_the_rate_of_the_day(void **state)
{
	(void)state;
	create_with(NULL, NULL, NULL, NULL);
	enrich(JANUARY_1 + DAY(4), "100", "USD");
	expect("92.400000000000006"); /* 100 / 1.0823 = 92.3958… */
	fake_expect(&fake, "enrichment.currency.date", "2026-01-05");
	fake_expect(&fake, "enrichment.currency.from", "USD");
	enrich(JANUARY_1 + DAY(5) - 1, "100", "usd"); /* the last microsecond of the 5th */
	expect("92.400000000000006");
	enrich(JANUARY_1 + DAY(3), "110", "USD"); /* the 4th: no rate on a Sunday, the last before it */
	expect("100");
	fake_expect(&fake, "enrichment.currency.date", "2026-01-02");
	enrich(JANUARY_1 + DAY(4), "17", "GBP");
	expect("20");
	enrich(JANUARY_1 + DAY(4), "-3.10", "EUR"); /* its own currency needs no rate */
	expect("-3.1000000000000001");
	fake_expect(&fake, "enrichment.currency.date", NULL);
	assert_int_equal(fake_counted(&fake, "currency_converted_total"), 5);
}

static void test_what_is_not_known_is_counted(void **state)
{
	(void)state;
	create_with("max_age", "3d", NULL, NULL);
	enrich(JANUARY_1, "1", "USD"); /* before the first rate */
	expect(NULL);
	enrich(JANUARY_1 + DAY(8), "1", "JPY"); /* four days after the last */
	expect(NULL);
	assert_int_equal(fake_counted(&fake, "currency_stale_total"), 2);
	enrich(JANUARY_1 + DAY(7), "158.51", "JPY"); /* three */
	expect("1");
	enrich(JANUARY_1 + DAY(4), "1", "XXX");
	enrich(JANUARY_1 + DAY(4), "1", "dollars");
	enrich(JANUARY_1 + DAY(4), "1", NULL);
	expect(NULL);
	assert_int_equal(fake_counted(&fake, "currency_unknown_total"), 3);
	static const char *const bad[] = {"1e400", "99999999999999999999", "0.0000000000001"};
	for (size_t i = 0; i < 3; i++) enrich(JANUARY_1 + DAY(4), bad[i], "USD");
	struct cdpd_event event = {.time_us = JANUARY_1 + DAY(4)};
	fake_text(&event, "properties.total", "much");
	fake_text(&event, "properties.currency", "USD");
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	assert_int_equal(fake_counted(&fake, "currency_unreadable_total"), 4);
	struct cdpd_event none = {.time_us = 0}; /* no amount: nothing to say, nothing to count */
	fake_text(&none, "properties.currency", "XXX");
	assert_int_equal(fake_enrich(&fake, &none), CDPD_OK);
	assert_int_equal(fake_counted(&fake, "currency_unknown_total"), 3);
}

static void test_a_base_that_is_not_the_files(void **state)
{
	(void)state;
	create_with("base", "usd", "default", "GBP");
	enrich(JANUARY_1 + DAY(4), "85", NULL);
	fake_expect(&fake, "enrichment.currency.total", "108.23");
	fake_expect(&fake, "enrichment.currency.base", "USD");
	fake_expect(&fake, "enrichment.currency.from", "GBP");
	enrich(JANUARY_1 + DAY(4), "10", "EUR");
	fake_expect(&fake, "enrichment.currency.total", "10.82");
	enrich(JANUARY_1 + DAY(13), "1.25",
	       "GBP"); /* the pound's rate is of the 5th, the dollar's of the 12th: too old together */
	assert_int_equal(fake_counted(&fake, "currency_stale_total"), 1);
}

/* Halves go to the even neighbour, exactly: as binary fractions some of these would not be halves. */
static void test_exact_rounding(void **state)
{
	(void)state;
	static const struct {
		const char *amount, *result;
	} cases[] = {
	    {"0.125", "0.12"},
	    {"0.135", "0.14000000000000001"},
	    {"1.005", "1"},
	    {"1.015", "1.02"},
	    {"-1.005", "-1"},
	    {"-1.015", "-1.02"},
	    {"2.675", "2.6800000000000002"},
	    {"999999999999999.99", "1000000000000000"},
	    {"1e2", "100"},
	    {"12.5e-1", "1.25"},
	    {"0", "0"},
	    {"0.005", "0"},
	};
	create_with(NULL, NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		enrich(JANUARY_1, cases[i].amount, "EUR");
		expect(cases[i].result);
	}
	fake_destroy(&fake);
	create_with("places", "6", NULL, NULL);
	enrich(JANUARY_1 + DAY(4), "1", "JPY");
	expect("0.0063090000000000004"); /* 0.00630874… */
	enrich(JANUARY_1 + DAY(4), "158510000", "JPY");
	expect("1000000");
}

static void test_texts_and_fields_of_ones_own(void **state)
{
	(void)state;
	create_with("fields", "properties.cart.sum,traits.balance", "currency_field", "properties.cart.unit");
	struct cdpd_event event = {.time_us = JANUARY_1 + DAY(4)};
	fake_text(&event, "properties.cart.sum", "8.50");
	fake_number(&event, "traits.balance", "85");
	fake_text(&event, "properties.cart.unit", "GBP");
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	fake_expect(&fake, "enrichment.currency.cart.sum", "10");
	fake_expect(&fake, "enrichment.currency.traits.balance", "100");
}

static void enrich_products(const char *products)
{
	struct cdpd_event event = {.time_us = JANUARY_1 + DAY(4)};
	fake_json(&event, "properties.products", products);
	fake_text(&event, "properties.currency", "USD");
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
}

static void test_items_of_lists(void **state)
{
	(void)state;
	static char long_list[20000] = "[";
	create_with(NULL, NULL, NULL, NULL);
	enrich_products(
	    "[{\"price\":108.23},{\"name\":\"a \\\"]}\\\" b\",\"price\":\"10.823\",\"more\":{\"price\":[1,{\"x\":2}]}},"
	    "{\"sku\":7},[1,2],null,{\"price\":\"much\"},{\"price\":null},{\"prices\":1,\"price\":-1.0823}]");
	fake_expect(&fake, "enrichment.currency.products",
		    "[{\"price\":100},{\"price\":10},{},{},{},{},{},{\"price\":-1}]");
	fake_expect(&fake, "enrichment.currency.from", "USD");
	fake_expect(&fake, "enrichment.currency.date", "2026-01-05");
	assert_int_equal(fake_counted(&fake, "currency_unreadable_total"), 1);
	enrich_products("[{\"sku\":7}]");
	fake_expect(&fake, "enrichment.currency.products", NULL);
	enrich_products("{\"price\":1}");
	fake_expect(&fake, "enrichment.currency.products", NULL);
	enrich_products("[]");
	fake_expect(&fake, "enrichment.currency.products", NULL);
	for (int i = 0; i < 101; i++) strcat(long_list, i ? ",{\"price\":1}" : "{\"price\":1}");
	strcat(long_list, "]");
	enrich_products(long_list);
	fake_expect(&fake, "enrichment.currency.products", NULL);
	assert_int_equal(fake_counted(&fake, "currency_unreadable_total"), 2);
	fake_destroy(&fake);
	create_with("fields", "properties.products[].price,properties.products[].tax", NULL, NULL);
	enrich_products("[{\"tax\":2.1646,\"price\":108.23},{\"tax\":1.0823}]");
	fake_expect(&fake, "enrichment.currency.products", "[{\"price\":100,\"tax\":2},{\"tax\":1}]");
	fake_destroy(&fake);
}

static void test_the_banks_own_form(void **state)
{
	(void)state;
	write_file("Date, USD, JPY, CYP, \n2026-01-05, 1.0823, 158.51, N/A, \n2026-01-02,1.1,,0.5,\n");
	create_with(NULL, NULL, NULL, NULL);
	enrich(JANUARY_1 + DAY(4), "158.51", "JPY");
	expect("1");
	enrich(JANUARY_1 + DAY(4), "1", "CYP");
	expect("2");
}

static void refused(const char *text, const char *option, const char *value, const char *why)
{
	struct fake_option options[] = {{"rates", file}, {option, value}};
	write_file(text);
	assert_true(fake_create(&fake, options, option ? 2 : 1) < 0);
	fake.self = NULL;
	if (!fake_has_logged(&fake, why)) fail_msg("'%s' does not say '%s'", fake.log, why);
}

static void test_what_is_refused(void **state)
{
	(void)state;
	refused("", NULL, NULL, "no rates");
	refused("date,currency,rate\n", NULL, NULL, "no rates");
	refused("2026-01-05,USD,1.08\n", NULL, NULL, "line 1: the first line names the columns");
	refused("date,currency,rate\n05.01.2026,USD,1\n", NULL, NULL, "line 2: a date is written");
	refused("date,currency,rate\n2026-01-05,USD,-1\n", NULL, NULL, "a number above 0");
	refused("date,currency,rate\n2026-01-05,USD,0\n", NULL, NULL, "a number above 0");
	refused("date,currency,rate\n2026-01-05,US,1\n", NULL, NULL, "three letters");
	refused("date,currency,rate\n2026-01-05,USD\n", NULL, NULL, "fields are missing");
	refused("date,dollars\n2026-01-05,1\n", NULL, NULL, "neither date nor a currency");
	refused(rates, "base", "CHF", "'CHF' is neither file_base nor among the rates");
	refused(rates, "default", "1", "is no currency");
	refused(rates, "fields", "properties.date", "sets itself");
	refused(rates, "fields", "properties.products[]", "list[].name");
	refused(rates, "fields", "properties.products[].a.b", "list[].name");
	unlink(file);
	struct fake_option options[] = {{"rates", file}};
	assert_true(fake_create(&fake, options, 1) < 0);
	fake.self = NULL;
	assert_true(fake_has_logged(&fake, "No such file"));
	write_file(rates);
}

static void test_a_changed_file_is_used(void **state)
{
	(void)state;
	create_with(NULL, NULL, NULL, NULL);
	enrich(JANUARY_1 + DAY(4), "100", "GBP");
	write_file("date,currency,rate\n2026-01-05,GBP,0.5\n");
	while (fake_counted(&fake, "currency_reloads_total") < 1) usleep(1000);
	enrich(JANUARY_1 + DAY(4), "100", "GBP");
	expect("200");
	write_file("rubbish\n");
	while (fake_counted(&fake, "currency_reload_failures_total") < 1) usleep(1000);
	enrich(JANUARY_1 + DAY(4), "100", "GBP");
	expect("200");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_the_rate_of_the_day),          TEST(test_what_is_not_known_is_counted),
	    TEST(test_a_base_that_is_not_the_files), TEST(test_exact_rounding),
	    TEST(test_texts_and_fields_of_ones_own), TEST(test_items_of_lists),
	    TEST(test_the_banks_own_form),           TEST(test_what_is_refused),
	    TEST(test_a_changed_file_is_used),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
