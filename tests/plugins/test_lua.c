#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_host.h"

static struct cdpd_instance fake;
static char path[] = "/tmp/cdpd-lua-XXXXXX";

static int setup(void **state)
{
	(void)state;
	strcpy(path + strlen(path) - 6, "XXXXXX");
	int fd = mkstemp(path);
	if (fd < 0) return -1;
	close(fd);
	fake_open(&fake, "lua");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_close(&fake);
	return unlink(path);
}

static int create(const char *script, const char *instructions, const char *memory)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(script, file);
	fclose(file);
	struct fake_option options[] = {
	    {"script", path}, {"as", "t"}, {"instructions", instructions}, {"memory", memory}};
	return fake_create(&fake, options, 4);
}

static void load(const char *script)
{
	if (create(script, "100000", "1MiB") != CDPD_OK) fail_msg("refused: %s", fake.log);
}

static void expect(const char *json)
{
	const struct fake_set *set = fake_get(&fake, "enrichment.lua.t");
	if (!set) fail_msg("nothing was set (%s)", fake.log);
	assert_string_equal(set->text, json);
}

/* Runs a script's enrich on an event that has a bit of everything. */
static int run(void)
{
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "event", "Order Completed");
	fake_text(&event, "userId", "test-7");
	fake_text(&event, "context.page.url", "https://staging.shop.example/x");
	fake_json(&event, "properties",
		  "{\"revenue\":12.5,\"n\":3,\"big\":12345678901234567890,\"items\":[{\"id\":\"A-1\"},null,true],"
		  "\"text\":\"a\\\"b\\\\c\\u00e9\\ud83d\\ude00\\u0000!\",\"empty\":{},\"none\":[],\"gone\":null}");
	return fake_enrich(&fake, &event);
}

static void test_reads_everything_and_sets_a_table(void **state)
{
	(void)state;
	load("local url = path('context.page.url')\n"
	     "function enrich(event)\n"
	     "  local p = event.properties\n"
	     "  return {list = {event.event, event.userId, p.revenue, p.n, p.items[1].id, p.items[2] == null,\n"
	     "    p.items[3], p.gone == nil, event.traits == nil, event[url], #p.text, event.time_us, "
	     "event.utc_offset_min == nil}}\n"
	     "end");
	assert_int_equal(run(), CDPD_OK);
	expect("{\"list\":[\"Order Completed\",\"test-7\",12.5,3,\"A-1\",true,true,true,true,"
	       "\"https://staging.shop.example/x\",13,0,true]}");
	fake_destroy(&fake);
}

static void test_what_comes_in_goes_out_the_same(void **state)
{
	(void)state;
	load("function enrich(e) local p = e.properties; return {t = p.text} end");
	assert_int_equal(run(), CDPD_OK);
	expect("{\"t\":\"a\\\"b\\\\c\xc3\xa9\xf0\x9f\x98\x80\\u0000!\"}");
	fake_destroy(&fake);
	load("function enrich(e) local p = e.properties; return {e = {p.empty, p.none, array{}, p.items, p.big}} end");
	assert_int_equal(run(), CDPD_OK);
	expect("{\"e\":[{},[],[],[{\"id\":\"A-1\"},null,true],1.2345678901234567e+19]}");
	fake_destroy(&fake);
}

static void test_nothing_returned_sets_nothing(void **state)
{
	(void)state;
	static const char *const scripts[] = {"function enrich(e) end", "function enrich(e) return nil end",
					      "function enrich(e) return {} end"};
	for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
		load(scripts[i]);
		assert_int_equal(run(), CDPD_OK);
		assert_int_equal(fake.set_count, 0);
		fake_destroy(&fake);
	}
}

static void test_drop_carries_its_reason(void **state)
{
	(void)state;
	load("function enrich(event) if event.userId:match('^test%-') then return drop('test account') end end");
	assert_int_equal(run(), CDPD_ENRICH_DROP);
	fake_destroy(&fake);
}

static void test_state_lives_between_events(void **state)
{
	(void)state;
	load("local count = 0\nfunction enrich() count = count + 1; return {count = count} end");
	for (int i = 0; i < 3; i++) assert_int_equal(run(), CDPD_OK);
	expect("{\"count\":3}");
	fake_destroy(&fake);
}

/* Whatever a script does, the event goes on without it, and the next event is handled as if nothing had been. */
static void test_runaways_are_stopped(void **state)
{
	(void)state;
	static const struct {
		const char *body, *says;
	} rows[] = {
	    {"while true do end", "instructions"},
	    {"local function f() return f() end f()", "instructions"},
	    {"local function f() f() end f()", "memory"},
	    {"local t = {} while true do t[#t + 1] = {} end", "memory"},
	    {"local s = 'x' while true do s = s .. s end", "memory"},
	    {"return {s = string.rep('x', 1 << 30)}", "memory"},
	    {"local s = string.rep('x', 400000) while true do local t = s .. 'y' end", "instructions"},
	    {"string.rep('a', 5000):find('.-.-.-.-b')", "too long"},
	    {"string.rep('a', 60):match(string.rep('a?', 40) .. string.rep('a', 40))", "too long"},
	    {"string.rep('a', 9000):gsub('(.*)(.*)(.*)x', '')", "too long"},
	    {"for _ in string.rep('(', 20000):gmatch('%b()') do end", "too long"},
	    {"setmetatable({}, {__gc = function() while true do end end})", "__gc"},
	    {"error({})", "no text"},
	    {"error('by itself')", "by itself"},
	    {"return 7", "returned a number"},
	    {"return {f = print or log}", "function cannot be stored"},
	    {"return {n = 0 / 0}", "not finite"},
	    {"local t = {} t.t = t return t", "levels"},
	    {"return {[true] = 1}", "no text"},
	    {"return {s = string.rep('x', 5000)}", "more than 4096 bytes"},
	    {"event.userId = 'x'", "only the name"},
	    {"event.event = {}", "string expected"},
	    {"event.event = ''", "cannot be the name"},
	    {"event.event = string.rep('x', 201)", "at most 200 bytes"},
	    {"return event.nonsense", "no 'nonsense'"},
	    {"return {x = event[99]}", "cannot be read"},
	    {"return {x = path('event')}", "outside enrich"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char script[512];
		snprintf(script, sizeof script,
			 "local bad = true\nfunction enrich(event)\nif not bad then return {ok = true} end\nbad = "
			 "false\n%s\nend",
			 rows[i].body);
		load(script);
		unsigned lines = fake.log_count;
		if (run() != CDPD_ERR_INVALID) fail_msg("%s was not stopped", rows[i].body);
		assert_int_equal(fake.set_count, 0);
		assert_int_equal(fake.log_count, lines + 1);
		if (!strstr(fake.log, rows[i].says)) fail_msg("%s: %s", rows[i].body, fake.log);
		assert_int_equal(run(), CDPD_OK);
		expect("{\"ok\":true}");
		fake_destroy(&fake);
	}
}

static void test_nothing_dangerous_is_there(void **state)
{
	(void)state;
	load("function enrich() local there = array{}\n"
	     "for _, n in ipairs{'io', 'os', 'debug', 'package', 'coroutine', 'load', 'loadstring', 'loadfile', "
	     "'dofile', 'require', 'pcall',"
	     " 'xpcall', 'print', 'collectgarbage', 'warn'} do if _G[n] ~= nil then there[#there + 1] = n end end\n"
	     "if string.dump then there[#there + 1] = 'dump' end\n"
	     "return {there = there} end");
	assert_int_equal(run(), CDPD_OK);
	expect("{\"there\":[]}");
	fake_destroy(&fake);
}

static void test_a_kept_event_is_dead(void **state)
{
	(void)state;
	load("local kept\nfunction enrich(e) if kept then return {x = rawequal(kept, e)} end kept = e end\n"
	     "local probe = setmetatable({}, {__index = function(_, k) return kept[k] end})");
	assert_int_equal(run(), CDPD_OK);
	assert_int_equal(run(), CDPD_OK);
	expect("{\"x\":true}");
	fake_destroy(&fake);
}

static void test_a_script_gives_another_name(void **state)
{
	(void)state;
	load("function enrich(e) e.event = e.event .. ' 2' return {n = 1} end");
	assert_int_equal(run(), CDPD_OK);
	assert_string_equal(fake.renamed, "Order Completed 2");
	expect("{\"n\":1}");
	fake_destroy(&fake);
}

static void test_what_is_refused_at_the_start(void **state)
{
	(void)state;
	static const struct {
		const char *script, *says;
	} rows[] = {
	    {"function enrich(", "near <eof>"},
	    {"x = 1", "no function enrich"},
	    {"enrich = 7", "no function enrich"},
	    {"error('not today')", "not today"},
	    {"while true do end", "instructions"},
	    {"path('a..b')", "no path"},
	    {"\x1bLua", "attempt to load a binary chunk"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(create(rows[i].script, "1000", "1MiB"), CDPD_ERR_INVALID);
		if (!strstr(fake.log, rows[i].says)) fail_msg("%s: %s", rows[i].script, fake.log);
	}
	struct fake_option options[] = {{"script", "/nowhere/at.lua"}};
	assert_int_equal(fake_create(&fake, options, 1), CDPD_ERR_INVALID);
	assert_non_null(strstr(fake.log, "No such file"));
}

static void test_a_talking_script_is_held_back(void **state)
{
	(void)state;
	load("function enrich(e) log('again') end");
	unsigned before = fake.log_count;
	for (int i = 0; i < 100; i++) assert_int_equal(run(), CDPD_OK);
	assert_int_equal(fake.log_count - before, 20);
	assert_int_equal(fake.counted[0], 80);
	fake_destroy(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_reads_everything_and_sets_a_table),
	    cmocka_unit_test(test_what_comes_in_goes_out_the_same),
	    cmocka_unit_test(test_nothing_returned_sets_nothing),
	    cmocka_unit_test(test_drop_carries_its_reason),
	    cmocka_unit_test(test_state_lives_between_events),
	    cmocka_unit_test(test_runaways_are_stopped),
	    cmocka_unit_test(test_nothing_dangerous_is_there),
	    cmocka_unit_test(test_a_kept_event_is_dead),
	    cmocka_unit_test(test_a_script_gives_another_name),
	    cmocka_unit_test(test_what_is_refused_at_the_start),
	    cmocka_unit_test(test_a_talking_script_is_held_back),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
