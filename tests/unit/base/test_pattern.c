#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/pattern.h"

static void expect(const char *expression, const char *text, bool wanted)
{
	struct arena arena;
	const struct pattern *pattern;
	const char *why = NULL;
	arena_init(&arena, 4096, 0);
	if (pattern_compile(&arena, str_from(expression), &pattern, &why) != OK) fail_msg("%s: %s", expression, why);
	if (pattern_matches(pattern, str_from(text)) != wanted)
		fail_msg("/%s/ on \"%s\" should%s match", expression, text, wanted ? "" : " not");
	arena_fini(&arena);
}

static void matches(void **state)
{
	static const char *const rows[][2] = {
	    {"", ""},
	    {"", "abc"},
	    {"b", "abc"},
	    {"^abc$", "abc"},
	    {"^$", ""},
	    {"^a*$", ""},
	    {"^a*$", "aaaa"},
	    {"^a+b?$", "aa"},
	    {"^(ab|cd)+$", "abcdab"},
	    {"^(a|b|c|d)$", "d"},
	    {"^a{3}$", "aaa"},
	    {"^a{2,}$", "aaaaa"},
	    {"^a{1,3}$", "aa"},
	    {"^a{0}b$", "b"},
	    {"^(ab){2}$", "abab"},
	    {"^(?:a|(b|c)){2,3}$", "acb"},
	    {"^[a-c0-9_.-]+$", "a-b.9_"},
	    {"^[^a-c]$", "d"},
	    {"^[^a]$", "\xc3\xa9"},
	    {"^.$", "\xe2\x82\xac"},
	    {"^.{2}$", "\xf0\x9f\x98\x80x"},
	    {"^\xc3\xa9+$", "\xc3\xa9"},
	    {"^[]]$", "]"},
	    {"^[a-]$", "-"},
	    {"^\\d{4}-\\d\\d$", "2026-11"},
	    {"^[\\d,]+$", "1,2"},
	    {"^\\S+@\\S+\\.\\w+$", "a@b.co"},
	    {"\\D", "1x"},
	    {"^\\$\\{\\}$", "${}"},
	    {"a|^b", "cab"},
	    {"(^a|b)c", "xbc"},
	    {"a$|b", "ba"},
	    {"^a.*?b$", "axxb"},
	    {"^[A-Z]{2}-[0-9]{3,6}$", "FR-12345"},
	    {"^(a|)$", ""},
	    {"^(|a)b$", "b"},
	    {"^(a|b|c(d|e|f(g|h))|i)$", "cfh"},
	    {"^(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s|t|u|v|w|x|y|z|A|B|C|D|E|F|G|H|(I|J)|K)$", "J"},
	    {"^(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s|t|u|v|w|x|y|z|A|B|C|D|E|F|G|H|(I|J)|K)$", "K"},
	    {"^(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s|t|u|v|w|x|y|z|A|B|C|D|E|F|G|H|(I|J)|K)$", "a"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) expect(rows[i][0], rows[i][1], true);
}

static void does_not_match(void **state)
{
	static const char *const rows[][2] = {
	    {"a", ""},
	    {"^b", "ab"},
	    {"a$", "ab"},
	    {"^$", "a"},
	    {"^a{3}$", "aa"},
	    {"^a{3}$", "aaaa"},
	    {"^a{1,3}$", "aaaa"},
	    {"^(ab|cd)+$", "abc"},
	    {"^(a|b|c(d|e|f(g|h))|i)$", "cf"},
	    {"^(a|bc|d){2}$", "abcd"},
	    {"^[^a-c]$", "b"},
	    {"^.$", "ab"},
	    {"^.$", "\n"},
	    {"^.$", "\xf0\x9f\x98\x80x"},
	    {"^\\d+$", "12a"},
	    {"^\\W$", "a"},
	    {"a^b", "ab"},
	    {"a$b", "ab"},
	    {"^[A-Z]{2}-[0-9]{3,6}$", "FR-12"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) expect(rows[i][0], rows[i][1], false);
}

static void refused(void **state)
{
	static const char *const rows[] = {"(", ")", "a)", "[a", "[z-a]", "*a", "a**", "a{2", "a{3,2}", "a{257}", "\\",
					   "\\b", "(a)\\1", "(?=a)", "(?<n>a)", "[[:alpha:]]", "[\xc3\xa9]", "[\\D]",
					   "a{x}", "\xff",
					   /* what blows up other matchers: thousands of states, or endless unrolling */
					   "(a|b)*a(a|b){12}", "((((a{200}){200}){200}){200})",
					   "((((a{0}){250}){250}){250}){250}", "(.{1,256}){1,256}"};
	struct arena arena;
	const struct pattern *pattern;
	(void)state;
	arena_init(&arena, 4096, 0);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const char *why = NULL;
		if (pattern_compile(&arena, str_from(rows[i]), &pattern, &why) != ERR_INVALID)
			fail_msg("/%s/ was taken", rows[i]);
		assert_non_null(why);
	}
	arena_fini(&arena);
}

/* Catastrophic for a matcher that goes back; here a step a byte. */
static void long_texts(void **state)
{
	static char text[1 << 20];
	struct arena arena;
	const struct pattern *pattern;
	const char *why;
	(void)state;
	memset(text, 'a', sizeof text);
	arena_init(&arena, 4096, 0);
	assert_int_equal(pattern_compile(&arena, STR("^(a+)+$"), &pattern, &why), OK);
	assert_true(pattern_matches(pattern, str_of(text, sizeof text)));
	text[sizeof text - 1] = 'b';
	assert_false(pattern_matches(pattern, str_of(text, sizeof text)));
	assert_int_equal(pattern_compile(&arena, STR("(a|aa|aaa)*c"), &pattern, &why), OK);
	assert_false(pattern_matches(pattern, str_of(text, sizeof text)));
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(matches),
	    cmocka_unit_test(does_not_match),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(long_texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
