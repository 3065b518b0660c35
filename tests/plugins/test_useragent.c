/* The rules are Debian's package uap-core, and so are the thousands of answers that they are compared with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <yaml.h>

#include "fake_host.h"

#define UAP "/usr/share/uap-core/"

static struct cdpd_instance fake;

static int setup(void **state)
{
	(void)state;
	static const struct fake_option options[] = {{"cache", "16"}};
	fake_open(&fake, "useragent");
	return fake_create(&fake, options, 1);
}

static int teardown(void **state)
{
	(void)state;
	fake_destroy(&fake);
	fake_close(&fake);
	return 0;
}

static void enrich(const char *agent)
{
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "userAgent", agent);
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
}

#define EXPECT(name, value) fake_expect(&fake, "enrichment.userAgent." name, value)

static const char iphone[] =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4.1 Mobile/15E148 Safari/604.1";
static const char pixel[] = "Mozilla/5.0 (Linux; Android 14; Pixel 8 Pro) AppleWebKit/537.36 (KHTML, like Gecko) "
			    "Chrome/122.0.6261.64 Mobile Safari/537.36";
static const char windows[] = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:123.0) Gecko/20100101 Firefox/123.0";

static void test_what_everybody_uses(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) { /* by the rules, from memory */
		enrich(iphone);
		EXPECT("browser.family", "Mobile Safari");
		EXPECT("browser.major", "17");
		EXPECT("browser.version", "17.4.1");
		EXPECT("os.family", "iOS");
		EXPECT("os.version", "17.4.1");
		EXPECT("device.family", "iPhone");
		EXPECT("device.brand", "Apple");
		EXPECT("device.model", "iPhone");
		EXPECT("device.type", "mobile");
		enrich(pixel);
		EXPECT("browser.family", "Chrome Mobile");
		EXPECT("browser.version", "122.0.6261");
		EXPECT("os.family", "Android");
		EXPECT("os.version", "14");
		EXPECT("device.model", "Pixel 8 Pro");
		EXPECT("device.type", "mobile");
		enrich(windows);
		EXPECT("browser.family", "Firefox");
		EXPECT("os.family", "Windows");
		EXPECT("os.version", "10");
		EXPECT("device.family", NULL);
		EXPECT("device.type", "desktop");
	}
	assert_int_equal(fake_counted(&fake, "useragent_misses_total"), 3);
	assert_int_equal(fake_counted(&fake, "useragent_hits_total"), 3);
	enrich("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)");
	EXPECT("device.family", "Spider");
	EXPECT("device.type", "bot");
	enrich("nothing that anybody knows");
	assert_int_equal(fake.set_count, 0);
	struct cdpd_event none = {.field_count = 0};
	assert_int_equal(fake_enrich(&fake, &none), CDPD_OK);
}

/* ── uap-core's own tests ────────────────────────────────────────────────── */

static const struct {
	const char *file, *keys[5], *paths[5];
} suites[] = {
    {UAP "tests/test_ua.yaml",
     {"family", "major", "minor", "patch", NULL},
     {"browser.family", "browser.version", NULL, NULL, NULL}},
    {UAP "tests/test_os.yaml",
     {"family", "major", "minor", "patch", "patch_minor"},
     {"os.family", "os.version", NULL, NULL, NULL}},
    {UAP "tests/test_device.yaml",
     {"family", "brand", "model", NULL, NULL},
     {"device.family", "device.brand", "device.model", NULL, NULL}},
};

struct test_case {
	char agent[4096], values[5][512];
};

/* What we set for it: absent instead of "Other", versions joined. */
static void expected_of(const struct test_case *test, size_t suite, size_t which, char *out, size_t size)
{
	snprintf(out, size, "%s", test->values[which]);
	if (strcmp(out, "Other") == 0 && which == 0) out[0] = '\0';
	if (suite == 2 || which != 1) return;
	for (size_t i = 2; i < 5 && test->values[i - 1][0] && test->values[i][0]; i++)
		snprintf(out + strlen(out), size - strlen(out), ".%s", test->values[i]);
}

static unsigned check(const struct test_case *test, size_t suite)
{
	if (strlen(test->agent) > 1000) return 0;
	enrich(test->agent);
	for (size_t i = 0; i < 5 && suites[suite].paths[i]; i++) {
		char path[100], expected[2100];
		snprintf(path, sizeof path, "enrichment.userAgent.%s", suites[suite].paths[i]);
		expected_of(test, suite, i, expected, sizeof expected);
		const struct fake_set *set = fake_get(&fake, path);
		bool is_same = set ? set->len == strlen(expected) && memcmp(set->text, expected, set->len) == 0
				   : expected[0] == '\0';
		if (!is_same) {
			print_message("%s: %s is '%.*s', not '%s'\n", test->agent, path, set ? (int)set->len : 0,
				      set ? set->text : "", expected);
			return 1;
		}
	}
	return 0;
}

static void take(struct test_case *test, size_t suite, const char *key, const char *value)
{
	if (strcmp(key, "user_agent_string") == 0) snprintf(test->agent, sizeof test->agent, "%s", value);
	for (size_t i = 0; i < 5 && suites[suite].keys[i]; i++) {
		if (strcmp(key, suites[suite].keys[i]) == 0)
			snprintf(test->values[i], sizeof test->values[i], "%s", value);
	}
}

static void run_suite(size_t suite, unsigned *ran, unsigned *wrong)
{
	static struct test_case test;
	yaml_parser_t parser;
	yaml_event_t event;
	char key[64] = "";
	bool is_key = true, is_end = false;
	FILE *in = fopen(suites[suite].file, "r");
	if (!in) skip();
	assert_int_equal(yaml_parser_initialize(&parser), 1);
	yaml_parser_set_input_file(&parser, in);
	while (!is_end) {
		assert_int_equal(yaml_parser_parse(&parser, &event), 1);
		if (event.type == YAML_MAPPING_START_EVENT) {
			memset(&test, 0, sizeof test);
			is_key = true;
		} else if (event.type == YAML_SCALAR_EVENT) {
			const char *text = (const char *)event.data.scalar.value;
			if (is_key)
				snprintf(key, sizeof key, "%s", text);
			else if (event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE || strcmp(text, "null") != 0)
				take(&test, suite, key, text);
			is_key = !is_key;
		} else if (event.type == YAML_MAPPING_END_EVENT && test.agent[0]) {
			++*ran;
			*wrong += check(&test, suite);
		}
		is_end = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	fclose(in);
}

static void test_every_answer_of_uap_core(void **state)
{
	(void)state;
	unsigned ran = 0, wrong = 0;
	for (size_t i = 0; i < 3; i++) run_suite(i, &ran, &wrong);
	print_message("%u user agents\n", ran);
	assert_true(ran > 5000);
	assert_int_equal(wrong, 0);
}

/* ── bounds ──────────────────────────────────────────────────────────────── */

static void test_more_agents_than_are_remembered(void **state)
{
	(void)state;
	char agent[200];
	uint64_t misses = fake_counted(&fake, "useragent_misses_total");
	for (int i = 0; i < 200; i++) {
		snprintf(agent, sizeof agent, "Mozilla/5.0 (Windows NT 10.0; rv:%d.0) Gecko/20100101 Firefox/%d.0", i,
			 i);
		enrich(agent);
		char major[8];
		snprintf(major, sizeof major, "%d", i);
		EXPECT("browser.major", major);
		enrich(windows); /* what is used stays */
		EXPECT("browser.major", "123");
	}
	assert_int_equal(fake_counted(&fake, "useragent_misses_total") - misses, 201);
}

/* Texts on which naive matching takes for ever, and random ones. */
static void test_hostile_agents(void **state)
{
	(void)state;
	static char agent[5000];
	static const char *const pieces[] = {"Mozilla/5.0 ", "(",          ")",  ";",       " ", "Android ", "Build/",
					     "bot",          "Linux; U; ", "1.", "SAMSUNG", "a", "\xff",     "/",
					     "iPhone",       "Opera Mini", ":",  "-",       "_"};
	for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
		agent[0] = '\0';
		while (strlen(agent) + strlen(pieces[p]) < sizeof agent - 1) strcat(agent, pieces[p]);
		enrich(agent);
	}
	unsigned seed = 3;
	for (int round = 0; round < 300; round++) {
		agent[0] = '\0';
		while (strlen(agent) < 900) {
			seed = seed * 1103515245u + 12345u;
			strcat(agent, pieces[(seed >> 16) % (sizeof pieces / sizeof pieces[0])]);
		}
		enrich(agent);
	}
	enrich("");
}

static void write_rules(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static void test_changed_rules_are_used(void **state)
{
	(void)state;
	char path[300], next[310];
	const char *tmp = getenv("TMPDIR");
	snprintf(path, sizeof path, "%s/cdpd-rules-%d.yaml", tmp ? tmp : "/tmp", getpid());
	snprintf(next, sizeof next, "%s.new", path);
	write_rules(path, "user_agent_parsers:\n  - regex: '(Old)'\nos_parsers: []\ndevice_parsers: []\n");
	struct fake_option options[] = {{"rules", path}, {"reload", "10ms"}};
	fake_destroy(&fake);
	assert_int_equal(fake_create(&fake, options, 2), CDPD_OK);
	enrich("Old New/1");
	EXPECT("browser.family", "Old");
	write_rules(next, "user_agent_parsers:\n  - regex: '(New)'\nos_parsers: []\ndevice_parsers: []\n");
	assert_int_equal(rename(next, path), 0);
	while (fake_counted(&fake, "useragent_reloads_total") < 1) usleep(1000);
	enrich("Old New/1"); /* remembered, but of other rules */
	EXPECT("browser.family", "New");
	write_rules(next, "user_agent_parsers: rubbish\n");
	assert_int_equal(rename(next, path), 0);
	while (fake_counted(&fake, "useragent_reload_failures_total") < 1) usleep(1000);
	enrich("Old New/1");
	EXPECT("browser.family", "New");
	assert_int_equal(unlink(path), 0);
}

/* A rule that backtracks for ever on this agent gives up, is counted, and the next one has its turn. */
static void test_a_rule_that_backtracks_gives_up(void **state)
{
	(void)state;
	char path[300], agent[200] = "(";
	struct cdpd_instance own;
	const char *tmp = getenv("TMPDIR");
	snprintf(path, sizeof path, "%s/cdpd-rules-%d.yaml", tmp ? tmp : "/tmp", getpid());
	write_rules(path, "user_agent_parsers:\n  - regex: '^\\((a|aa)*\\)$'\n    family_replacement: 'Never'\n"
			  "  - regex: '(aaa)b?'\n");
	for (int i = 0; i < 100; i++) strcat(agent, "a");
	strcat(agent, "b)");
	struct fake_option options[] = {{"rules", path}};
	fake_open(&own, "useragent");
	assert_int_equal(fake_create(&own, options, 1), CDPD_OK);
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "userAgent", agent);
	assert_int_equal(fake_enrich(&own, &event), CDPD_OK);
	fake_expect(&own, "enrichment.userAgent.browser.family", "aaa");
	assert_int_equal(fake_counted(&own, "useragent_limited_total"), 1);
	fake_destroy(&own);

	static const struct {
		const char *text, *why;
	} broken[] = {
	    {"", "no user_agent_parsers"},
	    {"user_agent_parsers: [", "line"},
	    {"user_agent_parsers:\n  - regex: '(unclosed'\n", "missing closing parenthesis"},
	    {"user_agent_parsers:\n  - family_replacement: x\n", "without a regex"},
	};
	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
		write_rules(path, broken[i].text);
		assert_true(fake_create(&own, options, 1) < 0);
		if (!fake_has_logged(&own, broken[i].why)) fail_msg("'%s' does not say '%s'", own.log, broken[i].why);
	}
	unlink(path);
	assert_true(fake_create(&own, options, 1) < 0);
	assert_true(fake_has_logged(&own, "No such file"));
	fake_close(&own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_everybody_uses),
	    cmocka_unit_test(test_every_answer_of_uap_core),
	    cmocka_unit_test(test_more_agents_than_are_remembered),
	    cmocka_unit_test(test_hostile_agents),
	    cmocka_unit_test(test_a_rule_that_backtracks_gives_up),
	    cmocka_unit_test(test_changed_rules_are_used),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
