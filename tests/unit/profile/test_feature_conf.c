/* Features as they stand in files: what is taken, what is refused with which text, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "profile/people.h"

static char folder[64], main_file[96], features_file[96];

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	(void)state;
	snprintf(folder, sizeof folder, "%s/cdpd-features-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(main_file, sizeof main_file, "%s/cdpd.yaml", folder);
	snprintf(features_file, sizeof features_file, "%s/f.yaml", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)unlink(main_file);
	(void)unlink(features_file);
	return rmdir(folder);
}

static int load(const char *path, const struct config **config, char **errors)
{
	int rc = config_load(path, NULL, 0, config, errors);
	if (!rc) rc = features_check_config(*config, errors);
	return rc;
}

/* "FILE:" in `expected` stands for the folder. */
static void assert_refused(const char *path, const char *expected)
{
	const struct config *config;
	char *errors;
	assert_int_not_equal(load(path, &config, &errors), OK);
	assert_non_null(errors);
	if (!strstr(errors, expected)) fail_msg("got  %s\nwant %s", errors, expected);
	free(errors);
	config_unref(config);
}

static const struct {
	const char *feature, *error;
} wrong[] = {
    {"{name: f, type: cuont}", "f.yaml:2: feature 'f': there is no feature type 'cuont', did you mean 'count'?"},
    {"{name: f, type: intervals, m: 3}",
     "f.yaml:2: feature 'f': unknown option 'm' of type intervals (its options: n)"},
    {"{name: f, type: sum, feild: properties.x, field: properties.x}",
     "unknown option 'feild' of type sum, did you mean 'field'?"},
    {"{name: f, type: intervals, n: 1}", "f.yaml:2: feature 'f': n: '1' must be 2 to 32"},
    {"{name: f, type: intervals, n: many}", "n: 'many' must be a whole number"},
    {"{name: f, type: intervals, n: [1]}", "n must be a single value"},
    {"{name: f, type: histogram, by: year}", "by: 'year' must be one of hour|weekday|hour_of_week"},
    {"{name: f, type: decayed, half_life: 1s}", "half_life: '1s' must be 1h to 3660d"},
    {"{name: f, type: decayed, half_life: soon}", "half_life: 'soon' must be a duration such as 30m, 12h or 7d"},
    {"{name: f, type: window, window: 30d, bucket: 7d}", "feature 'f': window must be 1 to 64 whole buckets"},
    {"{name: f, type: window, window: 65d}", "feature 'f': window must be 1 to 64 whole buckets"},
    {"{name: f, type: distinct, field: properties.x, precision: 14}", "precision: '14' must be 6 to 13"},
    {"{name: f, type: top, field: properties.x, n: 21}", "n: '21' must be 1 to 20"},
    {"{name: f, type: mean}", "f.yaml:2: feature 'f': its type needs 'field'"},
    {"{name: f, type: distinct, field: properties.x, key: properties.k}",
     "feature 'f': its type cannot be kept per key"},
    {"{name: f, type: count, max_keys: 3}", "feature 'f': 'max_keys' belongs to 'key'"},
    {"{name: f, type: count, key: properties.k, max_keys: 51}",
     "features[0].max_keys: 51 is out of range, it must be 1 to 50"},
    {"{name: f, type: intervals, key: properties.k, n: 32, max_keys: 30}",
     "feature 'f': the states of 30 keys may not fit into 8192 bytes, max_keys is at most 21 here"},
    {"{name: f, type: sum, field: 'properties.a[].b[].c'}", "paths with at most one []"},
    {"{name: f, type: sum, field: 'properties.a[].x', key: 'properties.b[].y'}",
     "may not lead into two different arrays"},
    {"{name: f, type: count, where: [{field: properties.x}]}",
     "f.yaml:2: features[0].where[0] needs one of is, in, not, exists, min and max"},
    {"{name: f, type: count, where: [{field: properties.x, equals: 3}]}",
     "unknown key 'equals' in features[0].where[0]"},
    {"{name: f, type: count, where: [{is: 3}]}", "features[0].where[0] needs 'field'"},
    {"{name: f, type: count, where: [{field: total, is: 3}]}", "features[0].where[0].field: 'total' must be userId"},
    {"{name: f, type: count, where: [{field: properties.x, min: low}]}",
     "features[0].where[0].min: 'low' must be a number"},
    {"{name: f, type: count, where: [{field: properties.x, min: 3, max: 2}]}", "min is above max"},
    {"{name: f, type: count, where: [{field: properties.x, is: a, in: [b]}]}", "'is' and 'in' say the same"},
    {"{name: f, type: count, where: {field: properties.x, is: a}}", "features[0].where must be a list"},
    {"{name: orders, type: count}", "f.yaml:2: features[0]: name 'orders' is taken in the main file"},
    {"{name: f, type: count}\n  - {name: f, type: count}", "f.yaml:3: features[1]: name 'f' is taken by features[0]"},
    {"{name: f, type: count", "f.yaml:"},
};

static void test_refused(void **state)
{
	(void)state;
	put(main_file, "features: [{name: orders, type: count}]\nfeatures_file: f.yaml\n");
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		char text[1000];
		snprintf(text, sizeof text, "features:\n  - %s\n", wrong[i].feature);
		put(features_file, text);
		assert_refused(main_file, wrong[i].error);
		/* The same in the main file carries the main file's name. */
		if (strncmp(wrong[i].error, "feature ", 8) != 0) continue;
		put(main_file, text);
		assert_refused(main_file, "cdpd.yaml:2: feature 'f'");
		put(main_file, "features: [{name: orders, type: count}]\nfeatures_file: f.yaml\n");
	}
	put(features_file, "- 1\n");
	assert_refused(main_file, "f.yaml:1: must be a map with the list 'features'");
	put(features_file, "sources: []\n");
	assert_refused(main_file, "f.yaml:1: unknown key 'sources'");
	assert_int_equal(unlink(features_file), 0);
	assert_refused(main_file, "f.yaml:1: cannot be opened");
}

static const struct config *loaded(const char *text)
{
	const struct config *config;
	char *errors;
	put(main_file, text);
	if (load(main_file, &config, &errors)) fail_msg("%s", errors);
	return config;
}

static void assert_definition(const char *features, const char *expected)
{
	char text[2000];
	struct buf out;
	snprintf(text, sizeof text, "features:\n%s", features);
	const struct config *config = loaded(text);
	buf_init(&out, 1 << 20);
	assert_int_equal(definitions_write(config, &out), OK);
	assert_int_equal(buf_putc(&out, '\0'), OK);
	if (!strstr(buf_ptr(&out), expected)) fail_msg("got  %s\nwant %s", buf_ptr(&out), expected);
	/* The fold takes what the config wrote. */
	struct arena arena;
	struct definitions definitions;
	arena_init(&arena, 4096, 0);
	assert_int_equal(definitions_parse(str_of(buf_ptr(&out), out.len - 1), &arena, &definitions), OK);
	arena_fini(&arena);
	buf_fini(&out);
	config_unref(config);
}

static void test_canonical_text(void **state)
{
	(void)state;
	/* What there was before reads and writes as it did. */
	assert_definition("  - {name: f, type: sum, event: Order, field: properties.total}\n",
			  "[{\"event\":\"Order\",\"field\":\"properties.total\",\"name\":\"f\",\"state_version\":1,"
			  "\"type\":\"sum\"}]");
	assert_definition("  - {name: f, type: count, event: [Order]}\n", "{\"event\":\"Order\",\"field\":\"\"");
	assert_definition("  - {name: f, type: count, event: \"\"}\n", "{\"event\":\"\",\"field\":\"\"");
	/* Only what is not the default, in one spelling and one order. */
	assert_definition("  - {name: f, type: window, window: 720h, bucket: 1d}\n", "[{\"event\":\"\",\"field\":\"\"");
	assert_definition("  - {name: f, type: window, window: 24h, bucket: 60m}\n",
			  "\"extra\":{\"options\":{\"bucket\":3600000000,\"window\":86400000000}}");
	assert_definition("  - {name: f, type: count, event: [b, a, b]}\n", "\"extra\":{\"events\":[\"a\",\"b\"]}");
	assert_definition("  - {name: f, type: last, field: name, key: 'properties.p[].k'}\n",
			  "\"extra\":{\"key\":\"properties.p[].k\",\"max_keys\":18}"); /* as many as fit */
	assert_definition("  - {name: f, type: count, key: 'properties.p[].k'}\n", "\"max_keys\":20}");
	assert_definition("  - name: f\n    type: count\n    where:\n      - {field: properties.x, in: [b, a], not: c, "
			  "exists: true, min: 1.50, max: 2e1}\n"
			  "      - {field: context.y, is: 3}\n",
			  "\"extra\":{\"where\":[{\"exists\":true,\"field\":\"properties.x\",\"in\":[\"a\",\"b\"],"
			  "\"max\":20,\"min\":1.5,"
			  "\"not\":[\"c\"]},{\"field\":\"context.y\",\"in\":[\"3\"]}]}");
}

static void test_file_beside(void **state)
{
	(void)state;
	put(features_file, "features:\n  - {name: b, type: count}\n  - {name: a, type: top, field: name, n: 3}\n");
	const struct config *config = loaded("features: [{name: c, type: count}]\nfeatures_file: f.yaml\n");
	assert_int_equal(config->feature_count, 3);
	assert_true(str_eq(config->features[0].name, STR("c")) && str_eq(config->features[2].name, STR("a")));
	assert_int_equal(config->features[2].line, 3);
	assert_null(config_needs_restart(config, config));
	config_unref(config);
	put(features_file, "# nothing yet\n");
	config = loaded("features_file: f.yaml\n");
	assert_int_equal(config->feature_count, 0);
	config_unref(config);
}

static void test_shipped_file(void **state)
{
	(void)state;
	const struct config *config = loaded("features_file: " CONF_DIR "/features.yaml\n");
	assert_true(config->feature_count >= 20);
	struct buf out;
	buf_init(&out, 1 << 20);
	assert_int_equal(definitions_write(config, &out), OK);
	buf_fini(&out);
	/* One example of every type. */
	const char *names[64];
	size_t count = feature_type_names(names, 64);
	for (size_t i = 0; i < count; i++) {
		bool is_shown = false;
		for (size_t k = 0; k < config->feature_count; k++)
			is_shown |= str_eq(config->features[k].type, str_from(names[i]));
		if (!is_shown && strcmp(names[i], "min") != 0) fail_msg("no example of %s", names[i]);
	}
	config_unref(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_canonical_text, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_file_beside, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_shipped_file, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
