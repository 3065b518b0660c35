/* Segments in a configuration: what a condition becomes, where it may stand, and what is refused with which words. */
#include "config/config_file.h"

static int setup(void **state)
{
	(void)state;
	return config_folder_make("s.yaml");
}

#define FEATURES "features: [{name: orders, type: count}, {name: best, type: last, field: properties.x}]\n"

static int load(const char *text, const struct config **out, char **errors)
{
	char whole[8192];
	(void)snprintf(whole, sizeof whole, "%s%s", FEATURES, text);
	return config_load_text(whole, out, errors);
}

static const struct config *loaded(const char *text)
{
	const struct config *config;
	char *errors;
	if (load(text, &config, &errors) != OK) fail_msg("%s", errors);
	return config;
}

/* ── what a condition becomes ──────────────────────────────────────────────── */

static const struct {
	const char *when, *json;
} forms[] = {
    {"{trait: plan, is: gold}", "{\"name\":\"plan\",\"op\":\"is\",\"source\":\"trait\",\"value\":\"gold\"}"},
    {"{is: gold, trait: plan}", "{\"name\":\"plan\",\"op\":\"is\",\"source\":\"trait\",\"value\":\"gold\"}"},
    {"{trait: plan, is: '7'}", "{\"name\":\"plan\",\"op\":\"is\",\"source\":\"trait\",\"value\":\"7\"}"},
    {"{trait: plan, is: 7}", "{\"name\":\"plan\",\"op\":\"is\",\"source\":\"trait\",\"value\":7}"},
    {"{trait: plan, is: 7.50}", "{\"name\":\"plan\",\"op\":\"is\",\"source\":\"trait\",\"value\":7.5}"},
    {"{trait: plan, is: 007}", "{\"name\":\"plan\",\"op\":\"is\",\"source\":\"trait\",\"value\":\"007\"}"},
    {"{trait: plan, is_not: true}", "{\"name\":\"plan\",\"op\":\"is_not\",\"source\":\"trait\",\"value\":true}"},
    {"{trait: plan, in: [a, 1]}", "{\"name\":\"plan\",\"op\":\"in\",\"source\":\"trait\",\"value\":[\"a\",1]}"},
    {"{feature: orders, at_least: -3}",
     "{\"name\":\"orders\",\"op\":\"at_least\",\"source\":\"feature\",\"value\":-3}"},
    {"{field: last_seen, within: 30d}",
     "{\"name\":\"last_seen\",\"op\":\"within\",\"source\":\"field\",\"value\":2592000000000}"},
    {"{trait: born, before: 1970-01-02}",
     "{\"name\":\"born\",\"op\":\"before\",\"source\":\"trait\",\"value\":86400000000}"},
    {"{trait: born, after: '1970-01-01T00:00:01Z'}",
     "{\"name\":\"born\",\"op\":\"after\",\"source\":\"trait\",\"value\":1000000}"},
    {"{identifier: email, exists: false}",
     "{\"name\":\"email\",\"op\":\"exists\",\"source\":\"identifier\",\"value\":false}"},
    {"{segment: other}", "{\"name\":\"other\",\"op\":\"is\",\"source\":\"segment\",\"value\":true}"},
    {"{segment: other, is: false}", "{\"name\":\"other\",\"op\":\"is\",\"source\":\"segment\",\"value\":false}"},
    {"{not: {trait: a, exists: true}}",
     "{\"not\":{\"name\":\"a\",\"op\":\"exists\",\"source\":\"trait\",\"value\":true}}"},
    {"{any: [{trait: a, contains: b}, {trait: a, matches: 'c*'}]}",
     "{\"any\":[{\"name\":\"a\",\"op\":\"contains\",\"source\":\"trait\",\"value\":\"b\"},"
     "{\"name\":\"a\",\"op\":\"matches\",\"source\":\"trait\",\"value\":\"c*\"}]}"},
    /* several operators of one thing: all of them, in one order */
    {"{feature: orders, less: 9, at_least: 3}",
     "{\"all\":[{\"name\":\"orders\",\"op\":\"at_least\",\"source\":\"feature\",\"value\":3},"
     "{\"name\":\"orders\",\"op\":\"less\",\"source\":\"feature\",\"value\":9}]}"},
};

static void conditions_have_one_form(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(forms); i++) {
		char text[1024];
		(void)snprintf(text, sizeof text,
			       "segments:\n- {name: s, when: %s}\n- {name: other, when: {trait: x, is: 1}}\n",
			       forms[i].when);
		const struct config *config = loaded(text);
		assert_int_equal(config->segment_count, 2);
		assert_str(config->segments[0].condition, forms[i].json);
		config_unref(config);
	}
}

/* ── what is refused ───────────────────────────────────────────────────────── */

static const struct {
	const char *segments, *complaint; /* behind "file:"; line 1 are the features */
} wrong[] = {
    {"- name: s\n  when: {feature: order, at_least: 1}\n",
     "4: segment 's': unknown feature 'order', did you mean 'orders'?"},
    {"- name: s\n  when:\n    all:\n      - {trait: a, is: 1}\n      - {trait: a, greatr: 1}\n",
     "7: segment 's': unknown operator 'greatr', did you mean 'greater'?"},
    {"- name: s\n  when: {al: []}\n", "4: segment 's': a condition begins with all, any, not or what it asks for"},
    {"- name: s\n  when: {tait: x, is: 1}\n", "4: segment 's': a condition begins with all, any, not or what it asks "
					      "for, not with 'tait', did you mean 'trait'?"},
    {"- {name: s, when: {segment: gone}}\n- {name: done, when: {trait: a, is: 1}}\n",
     "3: segment 's': unknown segment 'gone', did you mean 'done'?"},
    {"- {name: s, when: {identifier: mail, exists: true}}\n",
     "3: segment 's': unknown identifier namespace 'mail', did you mean 'email'?"},
    {"- {name: s, when: {field: last_sen, within: 3d}}\n",
     "3: segment 's': unknown field 'last_sen', did you mean 'last_seen'?"},
    {"- {name: s, when: {consent: newsletter/email, is: granted}}\n",
     "3: segment 's': unknown consent purpose 'newsletter'"},
    {"- {name: s, when: {feature: orders, contains: x}}\n",
     "3: segment 's': 'contains' does not fit feature 'orders', which is a number"},
    {"- {name: s, when: {feature: orders, is: many}}\n", "3: segment 's': 'is' wants a number"},
    {"- {name: s, when: {field: last_seen, greater: 3}}\n",
     "3: segment 's': 'greater' does not fit field 'last_seen', which is a time"},
    {"- {name: s, when: {field: fragments, within: 3d}}\n",
     "3: segment 's': 'within' does not fit field 'fragments', which is a number"},
    {"- {name: s, when: {identifier: email, greater: 3}}\n",
     "3: segment 's': 'greater' does not fit identifier 'email', which is an identifier"},
    {"- {name: s, when: {trait: a, greater: gold}}\n", "3: segment 's': 'greater' wants a number"},
    {"- {name: s, when: {trait: a, greater: '3'}}\n", "3: segment 's': 'greater' wants a number"},
    {"- {name: s, when: {trait: a, within: 30}}\n", "3: segment 's': 'within' wants a duration such as 30d"},
    {"- {name: s, when: {trait: a, within: 0}}\n", "3: segment 's': 'within' wants a duration such as 30d"},
    {"- {name: s, when: {trait: a, before: soon}}\n", "3: segment 's': 'before' wants a date such as 2026-11-21"},
    {"- {name: s, when: {trait: a, before: 2026-13-01}}\n", "3: segment 's': 'before' wants a date such as"},
    {"- {name: s, when: {trait: a, exists: yes}}\n", "3: segment 's': 'exists' wants true or false"},
    {"- {name: s, when: {trait: a, in: gold}}\n", "3: segment 's': 'in' wants a list"},
    {"- {name: s, when: {trait: a, in: [[1]]}}\n", "3: segment 's': 'in' wants a list"},
    {"- {name: s, when: {trait: a, is: }}\n", "3: segment 's': 'is' wants a text, a number, true or false"},
    {"- {name: s, when: {trait: a, matches: ''}}\n", "3: segment 's': 'matches' wants a pattern"},
    {"- {name: s, when: {trait: a}}\n", "3: segment 's': nothing is asked of 'a'"},
    {"- {name: s, when: {trait: [a], is: 1}}\n", "3: segment 's': 'trait' must be followed by a name"},
    {"- {name: s, when: {trait: a, feature: orders, is: 1}}\n", "3: segment 's': one condition asks for one thing"},
    {"- {name: s, when: {all: [], trait: a}}\n", "3: segment 's': nothing may stand beside 'all'"},
    {"- {name: s, when: {all: []}}\n", "3: segment 's': there must be a list of conditions after 'all'"},
    {"- {name: s, when: {any: {trait: a, is: 1}}}\n", "3: segment 's': there must be a list of conditions after 'any'"},
    {"- {name: s, when: {not: [a]}}\n", "3: segment 's': a condition must be a map"},
    {"- {name: s, when: {all: [gold]}}\n", "3: segment 's': a condition must be a map"},
    {"- {name: s, when: gold}\n", "3: segments[0].when must be a map"},
    {"- {name: s}\n", "3: segments[0] needs 'when'"},
    {"- {when: {trait: a, is: 1}}\n", "3: segments[0] needs 'name'"},
    {"- {name: S, when: {trait: a, is: 1}}\n", "3: segments[0].name: 'S' must be 1 to 64 of a-z, 0-9, _ and -"},
    {"- {name: s, when: {trait: a, is: 1}}\n- {name: s, when: {trait: a, is: 1}}\n",
     "4: segments[1]: name 's' is taken by segments[0]"},
    {"- {name: s, when: {segment: s}}\n",
     "3: segment 's': segments may not refer to each other in a circle, as 's' does"},
    {"- {name: a, when: {segment: b}}\n- name: b\n  when:\n    not: {any: [{segment: c}, {trait: x, is: 1}]}\n"
     "- {name: c, when: {segment: a}}\n",
     "7: segment 'c': segments may not refer to each other in a circle, as 'a' does"},
};

static void every_complaint_has_file_and_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		char text[2048], want[512], *errors;
		const struct config *config;
		(void)snprintf(text, sizeof text, "segments:\n%s", wrong[i].segments);
		(void)snprintf(want, sizeof want, "%s:%s", config_file.text, wrong[i].complaint);
		assert_int_equal(load(text, &config, &errors), ERR_INVALID);
		if (strncmp(errors, want, strlen(want)) != 0) fail_msg("got  %s\nwant %s", errors, want);
		if (strchr(errors, '\n')) fail_msg("more than one complaint: %s", errors);
		free(errors);
	}
}

/* ── the file ──────────────────────────────────────────────────────────────── */

static void a_file_of_their_own(void **state)
{
	static const char *const whole[] = {
	    "segments:\n- {name: a, when: {trait: x, is: 1}}\n- {name: b, when: {segment: inline}}\n",
	    "- {name: a, when: {trait: x, is: 1}}\n- {name: b, when: {segment: inline}}\n"};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(whole); i++) {
		config_put(&config_beside, whole[i]);
		const struct config *config =
		    loaded("segments_file: s.yaml\nsegments: [{name: inline, when: {segment: a}}]\n");
		assert_int_equal(config->segment_count, 3);
		assert_str(config->segments[0].name, "inline");
		assert_str(config->segments[2].name, "b");
		config_unref(config);
	}
}

static void complaints_name_the_file(void **state)
{
	static const struct {
		const char *text, *complaint;
	} cases[] = {
	    {"- name: a\n  when: {trait: x, i: 1}\n", ":2: segment 'a': unknown operator 'i'"},
	    {"segment:\n- {name: a, when: {trait: x, is: 1}}\n", ":1: unknown key 'segment', did you mean 'segments'?"},
	    {"- {name: a, wen: {}}\n", ":1: unknown key 'wen' in segments[0], did you mean 'when'?"},
	    {"- {name: inline, when: {trait: x, is: 1}}\n", ":1: segment 'inline' is already in "},
	    {"- {name: a, when: {segment: inline}}\n- {name: b, when: {segment: b}}\n",
	     ":2: segment 'b': segments may not refer to each other in a circle"},
	    {"- [", ":2: "},
	    {"text\n", ":1: must be a list of segments"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct config *config;
		char *errors, want[256];
		config_put(&config_beside, cases[i].text);
		(void)snprintf(want, sizeof want, "%s%s", config_beside.text, cases[i].complaint);
		assert_int_equal(load("segments_file: s.yaml\nsegments: [{name: inline, when: {trait: a, is: 1}}]\n",
				      &config, &errors),
				 ERR_INVALID);
		if (!strstr(errors, want)) fail_msg("got  %s\nwant %s", errors, want);
		free(errors);
	}
	(void)unlink(config_beside.text);
	const struct config *config;
	char *errors;
	assert_int_not_equal(load("segments_file: s.yaml\n", &config, &errors), OK);
	if (!strstr(errors, config_beside.text)) fail_msg("%s", errors);
	free(errors);
}

static void the_example_loads(void **state)
{
	const struct config_override overrides[] = {{STR("segments_file"), STR("segments.yaml")}};
	const struct config *config;
	char *errors;
	(void)state;
	if (config_load(CONF_DIR "/quickstart.yaml", overrides, 1, &config, &errors) != OK) fail_msg("%s", errors);
	assert_true(config->segment_count >= 7);
	config_unref(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(conditions_have_one_form), cmocka_unit_test(every_complaint_has_file_and_line),
	    cmocka_unit_test(a_file_of_their_own),      cmocka_unit_test(complaints_name_the_file),
	    cmocka_unit_test(the_example_loads),
	};
	return cmocka_run_group_tests(tests, setup, config_folder_remove);
}
