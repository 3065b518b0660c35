#include "plugin_test.h"

static struct arena arena;
static const struct plugin *plugin;

static int setup(void **state)
{
	(void)state;
	struct str error;
	make_folder();
	arena_init(&arena, 4096, 0);
	put_so(SO, "all_options");
	return plugin_load(&arena, str_from(folder), STR("all_options"), &plugin, &error);
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	remove_folder();
	return 0;
}

static struct str last_error;

static const struct cdpd_conf *check(struct node *nodes, size_t count)
{
	struct node options = map_of(nodes, count);
	struct conf_instance instance = {
	    .name = STR("all"), .plugin = STR("all_options"), .options = &options, .line = 7};
	struct plugin_conf *conf;
	int rc = plugin_conf_check(&arena, plugin, &instance, STR("cdpd.yaml"), &conf, &last_error);
	assert_true((rc == OK) == (conf != NULL));
	return conf ? &conf->sdk : NULL;
}

static const struct cdpd_conf *check_one(const char *name, const char *text)
{
	struct node node = scalar(name, text, 31);
	return check(&node, 1);
}

static void refused(const char *name, const char *text, const char *why)
{
	if (check_one(name, text)) fail_msg("%s: %s was taken", name, text);
	assert_has(last_error, "cdpd.yaml:31: ");
	assert_has(last_error, why);
}

static bool is_text(struct cdpd_str text, const char *expected)
{
	return text.len == strlen(expected) && memcmp(text.ptr, expected, text.len) == 0;
}

static void test_defaults(void **state)
{
	(void)state;
	const struct cdpd_host *host = plugin_host();
	const struct cdpd_conf *conf = check(NULL, 0);
	assert_non_null(conf);
	assert_true(is_text(host->conf_text(conf, "title"), "none"));
	assert_int_equal(host->conf_int(conf, "retries"), 3);
	assert_true(host->conf_float(conf, "ratio") == 0.5);
	assert_true(host->conf_bool(conf, "is_on"));
	assert_int_equal(host->conf_int(conf, "timeout"), 10000000);
	assert_int_equal(host->conf_int(conf, "buffer"), 65536);
	assert_true(is_text(host->conf_text(conf, "color"), "red"));
	assert_int_equal(host->conf_count(conf, "names"), 2);
	assert_true(is_text(host->conf_item(conf, "names", 1), "b"));
	assert_true(is_text(host->conf_item(conf, "names", 2), ""));
	assert_false(host->conf_has(conf, "key"));
	assert_true(host->conf_has(conf, "names"));
}

static void test_given_values(void **state)
{
	(void)state;
	const struct cdpd_host *host = plugin_host();
	struct node nodes[] = {scalar("title", "abc", 2),   scalar("retries", "0", 3),     scalar("ratio", "1e-1", 4),
			       scalar("is_on", "false", 5), scalar("timeout", "250ms", 6), scalar("buffer", "8 KB", 7),
			       scalar("color", "green", 8)};
	const struct cdpd_conf *conf = check(nodes, COUNT_OF(nodes));
	assert_non_null(conf);
	assert_true(is_text(host->conf_text(conf, "title"), "abc"));
	assert_int_equal(host->conf_int(conf, "retries"), 0);
	assert_true(host->conf_float(conf, "ratio") == 0.1);
	assert_false(host->conf_bool(conf, "is_on"));
	assert_int_equal(host->conf_int(conf, "timeout"), 250000);
	assert_int_equal(host->conf_int(conf, "buffer"), 8000);
	assert_true(is_text(host->conf_text(conf, "color"), "green"));
}

static void test_unknown_names(void **state)
{
	(void)state;
	refused("retires", "1", "unknown option 'retires' for all_options, did you mean 'retries'?");
	refused("qqqqqqqq", "1", "unknown option 'qqqqqqqq' for all_options");
	assert_null(memmem(last_error.ptr, last_error.len, "did you mean", 12));
}

static void test_wrong_types_and_ranges(void **state)
{
	(void)state;
	refused("retries", "many", "option 'retries' of all must be a whole number");
	refused("retries", "11", "must be 0 to 10");
	refused("retries", "-1", "must be 0 to 10");
	refused("retries", "99999999999999999999", "must be a whole number");
	refused("ratio", "1.5", "must be 0 to 1");
	refused("ratio", "nan", "must be a number");
	refused("ratio", "0x1", "must be a number");
	refused("is_on", "yes", "must be true or false");
	refused("timeout", "10", "must be a duration");
	refused("timeout", "10 parsecs", "must be a duration");
	refused("timeout", "2m", "must be 1ms to 1m");
	refused("timeout", "9223372036854775807d", "must be a duration");
	refused("buffer", "2MB", "must be 1B to 1MB");
	refused("buffer", "-1", "must be a size");
	refused("color", "blue", "must be one of red|green");
	refused("title", "x", "must have this many bytes: 2 to 8");
	refused("names", "a", "must be a list");
}

static void test_quotes_and_nothing(void **state)
{
	(void)state;
	struct node quoted = scalar("retries", "3", 31);
	quoted.is_quoted = true;
	assert_null(check(&quoted, 1));
	assert_has(last_error, "must not be in quotes");
	const struct cdpd_conf *conf = check_one("retries", "");
	assert_non_null(conf); /* `retries:` alone is as if it were not there */
	assert_int_equal(plugin_host()->conf_int(conf, "retries"), 3);
}

static void test_lists(void **state)
{
	(void)state;
	struct node items[] = {scalar("", "x, y", 3), scalar("", "z", 4), scalar("", "u", 5), scalar("", "v", 6)};
	struct node list = map_of(items, 2);
	list.kind = NODE_LIST;
	list.key = STR("names");
	const struct cdpd_conf *conf = check(&list, 1);
	assert_non_null(conf);
	assert_int_equal(plugin_host()->conf_count(conf, "names"), 2);
	assert_true(
	    is_text(plugin_host()->conf_item(conf, "names", 0), "x, y")); /* one item: no splitting of YAML items */
	list = map_of(items, 4);
	list.kind = NODE_LIST;
	list.key = STR("names");
	assert_null(check(&list, 1));
	assert_has(last_error, "must have this many items: 0 to 3");
}

static void test_all_complaints_at_once(void **state)
{
	(void)state;
	struct node nodes[] = {scalar("retries", "x", 2), scalar("colour", "red", 3), scalar("ratio", "2", 0)};
	assert_null(check(nodes, COUNT_OF(nodes)));
	assert_has(last_error, "cdpd.yaml:2: ");
	assert_has(last_error, "cdpd.yaml:3: unknown option 'colour' for all_options, did you mean 'color'?");
	assert_has(last_error, "cdpd.yaml:7: option 'ratio'"); /* made by --set: the instance's line */
}

static void test_secrets(void **state)
{
	(void)state;
	char text[600];
	refused("key", "hunter2", "is a secret");
	assert_null(memmem(last_error.ptr, last_error.len, "hunter2", 7)); /* not shown back */
	refused("key", "env:CDPD_TEST_NO_SUCH", "not set");
	refused("key", "file:/nonexistent/key", "cannot be read");
	refused("key", "file:", "is a secret");
	refused("key", "file:no-such-key-here", "cannot be read"); /* from the working directory */
	assert_int_equal(setenv("CDPD_TEST_KEY", "s3cret", 1), 0);
	const struct cdpd_conf *conf = check_one("key", "env:CDPD_TEST_KEY");
	assert_non_null(conf);
	assert_true(is_text(plugin_host()->conf_text(conf, "key"), "s3cret"));
	put_bytes("key.txt", "from file\n", 10, 0600);
	snprintf(text, sizeof text, "file:%s/key.txt", folder);
	conf = check_one("key", text);
	assert_non_null(conf);
	assert_true(is_text(plugin_host()->conf_text(conf, "key"), "from file"));
}

static void test_asking_for_the_wrong_type_reads_as_absent(void **state)
{
	(void)state;
	const struct cdpd_host *host = plugin_host();
	const struct cdpd_conf *conf = check(NULL, 0);
	assert_int_equal(host->conf_int(conf, "title"), 0);
	assert_int_equal(host->conf_text(conf, "retries").len, 0);
	assert_false(host->conf_has(conf, "no_such"));
}

/* ── a whole config ──────────────────────────────────────────────────────── */

static void test_config_of_the_wrong_kinds(void **state)
{
	(void)state;
	char *errors;
	put_so(SO, "async_only");
	put_so(SO, "crasher");
	put_so(PLUGINS, "campaign");
	struct conf_instance enrichers[] = {
	    {.name = STR("slow"), .plugin = STR("crasher"), .line = 10},
	    {.name = STR("campaign"), .plugin = STR("campaign"), .line = 11},
	    {.name = STR("campaign"), .plugin = STR("campaign"), .line = 12},
	    {.name = STR("Bad Name"), .plugin = STR("campaign"), .line = 13},
	};
	struct conf_instance destinations[] = {{.name = STR("out"), .plugin = STR("crasher"), .line = 20}};
	struct config config = {.file = STR("c.yaml"),
				.plugin_path = str_from(folder),
				.enrichers = enrichers,
				.enricher_count = 4,
				.destinations = destinations,
				.destination_count = 1};
	assert_int_not_equal(plugin_check_config(&config, &errors), OK);
	assert_non_null(strstr(errors, "c.yaml:10: 'crasher' cannot be used as an enricher: it is for feature"));
	assert_non_null(strstr(errors, "c.yaml:12: two enrichers are named 'campaign'"));
	assert_non_null(strstr(errors, "c.yaml:13: the name of an enricher is [a-z]"));
	assert_non_null(strstr(errors, "c.yaml:20: 'crasher' cannot be used as a destination: it is for feature"));
	assert_int_not_equal(errors[strlen(errors) - 1], '\n');
	free(errors);
	config.enrichers = &enrichers[1];
	config.enricher_count = 1;
	config.destination_count = 0;
	assert_int_equal(plugin_check_config(&config, &errors), OK);
	assert_null(errors);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_defaults),
	    TEST(test_given_values),
	    TEST(test_unknown_names),
	    TEST(test_wrong_types_and_ranges),
	    TEST(test_quotes_and_nothing),
	    TEST(test_lists),
	    TEST(test_all_complaints_at_once),
	    TEST(test_secrets),
	    TEST(test_asking_for_the_wrong_type_reads_as_absent),
	    TEST(test_config_of_the_wrong_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
