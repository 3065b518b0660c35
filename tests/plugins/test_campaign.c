#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_host.h"

static struct cdpd_instance fake;

static int setup(void **state)
{
	(void)state;
	fake_open(&fake, "campaign");
	static const struct fake_option options[] = {{"click_ids", "partner_click,Other"}, {"referrer", "false"}};
	return fake_create(&fake, options, 2);
}

static int teardown(void **state)
{
	(void)state;
	fake_destroy(&fake);
	fake_close(&fake);
	return 0;
}

static void expect(const char *path, const char *text)
{
	char full[128];
	snprintf(full, sizeof full, "enrichment.campaign.%s", path);
	const struct fake_set *set = fake_get(&fake, full);
	if (!text) {
		if (set) fail_msg("%s was set to %.*s", full, (int)set->len, set->text);
		return;
	}
	if (!set) fail_msg("%s was not set", full);
	assert_int_equal(set->len, strlen(text));
	assert_memory_equal(set->text, text, set->len);
}

static void enrich_url(const char *url)
{
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "context.page.url", url);
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
}

static void test_every_field_of_an_address(void **state)
{
	(void)state;
	enrich_url(
	    "https://shop.example/p?utm_source=newsletter&utm_medium=email&utm_campaign=autumn+sale%21&utm_term=a%26b"
	    "&utm_content=top&utm_id=42&gclid=Cj0KCQ-_x&other=1#utm_source=no");
	expect("source", "newsletter");
	expect("medium", "email");
	expect("name", "autumn sale!");
	expect("term", "a&b");
	expect("content", "top");
	expect("id", "42");
	expect("click_id.type", "gclid");
	expect("click_id.value", "Cj0KCQ-_x");
	assert_int_equal(fake.set_count, 8);
}

static void test_nothing_there_sets_nothing(void **state)
{
	(void)state;
	static const char *const urls[] = {"",
					   "?",
					   "https://a/",
					   "https://a/?",
					   "https://a/?x=1",
					   "https://a/#?utm_source=x",
					   "?utm_source",
					   "?utm_source=",
					   "?=x",
					   "?&&&;;",
					   "?utm_sourcex=1",
					   "?xutm_source=1"};
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		enrich_url(urls[i]);
		assert_int_equal(fake.set_count, 0);
	}
	struct cdpd_event event = {.field_count = 0};
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	assert_int_equal(fake.set_count, 0);
}

static void test_first_of_equals_and_case_of_names(void **state)
{
	(void)state;
	enrich_url("?UTM_Source=First&utm_source=second&FBCLID=Ab&gclid=later");
	expect("source", "First");
	expect("click_id.type", "fbclid");
	expect("click_id.value", "Ab");
}

static void test_an_empty_value_leaves_room_for_the_next(void **state)
{
	(void)state;
	enrich_url("?utm_source=&utm_source=real&gclid=&yclid=77");
	expect("source", "real");
	expect("click_id.type", "yclid");
}

static void test_fallbacks_in_order(void **state)
{
	(void)state;
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "properties.url", "https://a/?utm_source=properties");
	fake_enrich(&fake, &event);
	expect("source", "properties");
	fake_text(&event, "context.page.search", "utm_source=bare");
	fake_enrich(&fake, &event);
	expect("source", "bare");
	fake_text(&event, "context.page.url", "https://a/no-query");
	fake_enrich(&fake, &event);
	expect("source", "bare");
	fake_text(&event, "context.page.url", "https://a/?utm_source=url");
	fake_enrich(&fake, &event);
	expect("source", "url");
}

static void test_the_sdk_wins_whole_but_click_ids_count(void **state)
{
	(void)state;
	struct cdpd_event event = {.field_count = 0};
	fake_json(&event, "context.campaign", "{\"source\":\"sdk\",\"name\":\"from sdk\"}");
	fake_text(&event, "context.campaign.source", "sdk");
	fake_text(&event, "context.campaign.name", "from sdk");
	fake_text(&event, "context.page.url", "?utm_source=url&utm_term=url&ysclid=9");
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	expect("source", "sdk");
	expect("name", "from sdk");
	expect("term", NULL);
	expect("click_id.type", "ysclid");
}

static void test_configured_click_ids(void **state)
{
	(void)state;
	enrich_url("?partner_click=x1");
	expect("click_id.type", "partner_click");
	enrich_url("?OTHER=x2");
	expect("click_id.type", "other");
	expect("click_id.value", "x2");
}

static void test_garbage_is_passed_over(void **state)
{
	(void)state;
	enrich_url("?utm_source=100%&utm_medium=%zz%4&utm_campaign=%41%");
	expect("source", "100%");
	expect("medium", "%zz%4");
	expect("name", "A%");
	enrich_url("?utm_source=%ff%fe&utm_medium=%ed%a0%80&utm_campaign=%c0%af&utm_term=a%00b&utm_content=%f4%90%80%"
		   "80&utm_id=%0a");
	assert_int_equal(fake.set_count, 0);
	enrich_url("?utm_source=%D0%BE%D1%81%D0%B5%D0%BD%D1%8C");
	expect("source", "\xd0\xbe\xd1\x81\xd0\xb5\xd0\xbd\xd1\x8c");
	enrich_url("?gclid=%e2%82"); /* cut in the middle of a character */
	expect("click_id.type", NULL);
}

static void test_lengths(void **state)
{
	(void)state;
	char url[20000] = "?utm_source=";
	size_t len = strlen(url);
	for (int i = 0; i < 200; i++, len += 6) memcpy(url + len, "%D0%B5", 7); /* 400 bytes decoded */
	enrich_url(url);
	const struct fake_set *set = fake_get(&fake, "enrichment.campaign.source");
	assert_non_null(set);
	assert_int_equal(set->len, 254); /* 255 would split a character */

	strcpy(url, "?gclid=");
	memset(url + 7, 'g', 512);
	url[7 + 512] = '\0';
	enrich_url(url);
	assert_int_equal(fake_get(&fake, "enrichment.campaign.click_id.value")->len, 512);
	memset(url + 7, 'g', 513);
	url[7 + 513] = '\0';
	enrich_url(url);
	expect("click_id.type", NULL);

	memset(url, 'x', sizeof url - 1); /* a parameter behind the 8 KB is not seen */
	memcpy(url, "?a=", 3);
	memcpy(url + 9000, "&utm_source=late", 17);
	enrich_url(url);
	assert_int_equal(fake.set_count, 0);
}

static void test_random_bytes_never_fail(void **state)
{
	(void)state;
	static const char *const seeds[] = {"?utm_source=", "&gclid=", "%", "%D0", "#", "&", "=", "+", ";", "\xff"};
	unsigned seed = 1;
	for (int round = 0; round < 20000; round++) {
		char url[300];
		size_t len = 0;
		while (len < 250) {
			seed = seed * 1103515245u + 12345u;
			const char *piece = seeds[(seed >> 16) % (sizeof seeds / sizeof seeds[0])];
			memcpy(url + len, piece, strlen(piece));
			len += strlen(piece);
			if (seed >> 31) url[len++] = (char)(seed >> 8);
		}
		struct cdpd_event event = {.field_count = 0};
		fake_bytes(&event, "context.page.url", url, len);
		assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	}
}

static void test_too_many_click_ids_are_refused(void **state)
{
	(void)state;
	struct cdpd_instance other;
	char names[2000] = "a";
	for (int i = 0; i < 40; i++) strcat(names, ",a");
	struct fake_option options[] = {{"click_ids", names}};
	fake_open(&other, "campaign");
	assert_true(fake_create(&other, options, 1) < 0);
	assert_non_null(strstr(other.log, "click_ids"));
	fake_close(&other);
}

/* ── where from ──────────────────────────────────────────────────────────── */

static int setup_referrer(void **state)
{
	(void)state;
	static const struct fake_option options[] = {{"internal", "shop.example,pay.example"}};
	fake_open(&fake, "campaign");
	return fake_create(&fake, options, 1);
}

static void came_from(const char *referrer, const char *medium, const char *source, const char *term)
{
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "context.page.url", "https://www.shop.example:8443/p/1?x=1");
	fake_text(&event, "context.page.referrer", referrer);
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	fake_expect(&fake, "enrichment.referrer.medium", medium);
	fake_expect(&fake, "enrichment.referrer.source", source);
	fake_expect(&fake, "enrichment.referrer.term", term);
}

static void test_referrers(void **state)
{
	(void)state;
	came_from("https://www.google.com/", "search", "Google", NULL);
	came_from("https://www.google.co.uk/search?hl=en&q=green+tea%21", "search", "Google", "green tea!");
	came_from("https://google.lv/url?Q=x", "search", "Google", "x");
	came_from("https://m.yandex.ru/search/?text=%D1%87%D0%B0%D0%B9", "search", "Yandex",
		  "\xd1\x87\xd0\xb0\xd0\xb9");
	came_from("http://WWW.BING.COM:80/search?q=a&q=b", "search", "Bing", "a");
	came_from("https://mail.google.com/mail/u/0/", "email", "Gmail", NULL);
	came_from("android-app://com.google.android.gm/", "email", "Gmail", NULL);
	came_from("https://l.facebook.com/l.php?u=x", "social", "Facebook", NULL);
	came_from("https://t.co/abc", "social", "X", NULL);
	came_from("https://old.reddit.com/r/tea", "social", "Reddit", NULL);
	came_from("https://docs.google.com/document", "unknown", NULL, NULL);
	came_from("https://google.evil.com/?q=x", "unknown", NULL, NULL);
	came_from("https://google.com.evil.org/?q=x", "unknown", NULL, NULL);
	came_from("https://notfacebook.com/", "unknown", NULL, NULL);
	came_from("https://user:pass@www.bing.com/?q=x", "search", "Bing", "x");
	came_from("https://bing.com@evil.example/?q=x", "unknown", NULL, NULL);
	fake_expect(&fake, "enrichment.referrer.host", "evil.example");
	came_from("https://bing.com:80@evil.example/?q=x", "unknown", NULL, NULL);
	fake_expect(&fake, "enrichment.referrer.host", "evil.example");
	came_from("https://shop.example/p/2", "internal", NULL, NULL);
	came_from("https://checkout.pay.example/", "internal", NULL, NULL);
	came_from("https://notpay.example/", "unknown", NULL, NULL);
	came_from("", "direct", NULL, NULL);
	came_from("about:blank", NULL, NULL, NULL);
	came_from("https://", NULL, NULL, NULL);
	came_from("https://\xff\xfe/", NULL, NULL, NULL);
	came_from("https://www.google.com/search?q=%00", "search", "Google", NULL);
	struct cdpd_event event = {.field_count = 0}; /* a server's event has no page: nothing is known */
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	assert_int_equal(fake.set_count, 0);
	fake_text(&event, "properties.referrer", "https://duckduckgo.com/?q=tea");
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	fake_expect(&fake, "enrichment.referrer.source", "DuckDuckGo");
}

static void test_random_referrers_never_fail(void **state)
{
	(void)state;
	static const char *const pieces[] = {"https://", ":",      "@", "/",   "?",    "q=", "&",
					     "#",        "google", ".", "com", "www.", "%",  "\xff"};
	unsigned seed = 9;
	for (int round = 0; round < 20000; round++) {
		char text[400] = "https://";
		for (int i = 0; i < 30; i++) {
			seed = seed * 1103515245u + 12345u;
			strcat(text, pieces[(seed >> 16) % (sizeof pieces / sizeof pieces[0])]);
		}
		struct cdpd_event event = {.field_count = 0};
		fake_text(&event, "context.page.url", text + round % 9);
		fake_text(&event, "context.page.referrer", text);
		assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	}
}

static void test_a_table_of_ones_own(void **state)
{
	(void)state;
	struct cdpd_instance own;
	char path[300];
	const char *tmp = getenv("TMPDIR");
	snprintf(path, sizeof path, "%s/cdpd-referrers-%d.txt", tmp ? tmp : "/tmp", getpid());
	FILE *out = fopen(path, "w");
	fputs("# ours\nsocial | Our Forum | forum.example bing.com | \n", out);
	fclose(out);
	struct fake_option options[] = {{"referrers", path}};
	fake_open(&own, "campaign");
	assert_int_equal(fake_create(&own, options, 1), CDPD_OK);
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "context.page.referrer", "https://bing.com/?q=x");
	assert_int_equal(fake_enrich(&own, &event), CDPD_OK);
	fake_expect(&own, "enrichment.referrer.source", "Our Forum");
	fake_destroy(&own);
	out = fopen(path, "w");
	fputs("\nfriends | Our Forum | forum.example |\n", out);
	fclose(out);
	assert_true(fake_create(&own, options, 1) < 0);
	assert_true(fake_has_logged(&own, "line 2: a medium is"));
	unlink(path);
	assert_true(fake_create(&own, options, 1) < 0);
	assert_true(fake_has_logged(&own, "cannot be read"));
	fake_close(&own);
}

#define REFERRER(name) cmocka_unit_test_setup_teardown(name, setup_referrer, teardown)

int main(void)
{
	const struct CMUnitTest referrer_tests[] = {
	    REFERRER(test_referrers),
	    REFERRER(test_random_referrers_never_fail),
	    cmocka_unit_test(test_a_table_of_ones_own),
	};
	int failed = cmocka_run_group_tests(referrer_tests, NULL, NULL);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_field_of_an_address),
	    cmocka_unit_test(test_nothing_there_sets_nothing),
	    cmocka_unit_test(test_first_of_equals_and_case_of_names),
	    cmocka_unit_test(test_an_empty_value_leaves_room_for_the_next),
	    cmocka_unit_test(test_fallbacks_in_order),
	    cmocka_unit_test(test_the_sdk_wins_whole_but_click_ids_count),
	    cmocka_unit_test(test_configured_click_ids),
	    cmocka_unit_test(test_garbage_is_passed_over),
	    cmocka_unit_test(test_lengths),
	    cmocka_unit_test(test_random_bytes_never_fail),
	    cmocka_unit_test(test_too_many_click_ids_are_refused),
	};
	return failed + cmocka_run_group_tests(tests, setup, teardown);
}
