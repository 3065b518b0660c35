#include "plugin_test.h"

#include "base/clock.h"

static struct arena arena;
static struct conf_instance enrichers[5];
static struct config config;

static int setup(void **state)
{
	(void)state;
	make_folder();
	arena_init(&arena, 4096, 1 << 20);
	static const char *const names[] = {"erring", "chain_a", "chain_b", "after_campaign", "renamer"};
	for (size_t i = 0; i < COUNT_OF(names); i++) put_so(SO, names[i]);
	put_so(PLUGINS, "campaign");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	remove_folder();
	return 0;
}

static int make_chain(const char *const *plugins, size_t count, struct enrich_chain **out)
{
	for (size_t i = 0; i < count; i++) {
		enrichers[i] = (struct conf_instance){
		    .name = str_from(plugins[i]), .plugin = str_from(plugins[i]), .line = (int)i + 1};
	}
	config = (struct config){
	    .file = STR("c.yaml"), .plugin_path = str_from(folder), .enrichers = enrichers, .enricher_count = count};
	return enrich_chain_new(&config, out);
}

static struct enrich_chain *chain_of(const char *const *plugins, size_t count)
{
	struct enrich_chain *chain;
	assert_int_equal(make_chain(plugins, count, &chain), OK);
	return chain;
}

static struct cdpd_event event_with(const char *properties, const char *context)
{
	return (struct cdpd_event){.source_id = STR("web"),
				   .message_id = STR("m1"),
				   .type = EVENT_TRACK,
				   .event = STR("A"),
				   .name = STR_NONE,
				   .category = STR_NONE,
				   .user_id = STR("u"),
				   .anonymous_id = STR_NONE,
				   .previous_id = STR_NONE,
				   .group_id = STR_NONE,
				   .properties = str_from(properties),
				   .traits = STR_NONE,
				   .context = str_from(context),
				   .extra = STR_NONE,
				   .enrichment = STR_NONE,
				   .ip = STR_NONE,
				   .user_agent = STR_NONE};
}

static void assert_enrichment(const struct cdpd_event *event, const char *expected)
{
	char text[1000];
	snprintf(text, sizeof text, "%.*s", STR_ARG(event->enrichment));
	assert_string_equal(text, expected);
}

static const char *const url_context = "{\"page\":{\"url\":\"https:\\/\\/a\\/?utm_source=news&gclid=1\"}}";

static void test_campaign_from_texts_alone(void **state)
{
	(void)state;
	const char *const plugins[] = {"campaign"};
	struct enrich_outcome out;
	struct enrich_chain *chain = chain_of(plugins, 1);
	struct cdpd_event event = event_with("", url_context);
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_false(out.is_dropped);
	assert_enrichment(&event, "{\"campaign\":{\"click_id\":{\"type\":\"gclid\",\"value\":\"1\"},\"source\":"
				  "\"news\"},\"referrer\":{\"medium\":\"direct\"}}");
	struct cdpd_event plain = event_with("{\"x\":1}", "{}"); /* nothing of the event before is left */
	enrich_chain_run(chain, &plain, NULL, &arena, &out);
	assert_enrichment(&plain, "");
	struct cdpd_event broken = event_with("{\"x\":", "nonsense");
	enrich_chain_run(chain, &broken, NULL, &arena, &out);
	assert_enrichment(&broken, "");
	enrich_chain_free(chain);
}

static void test_campaign_from_the_parsed_message(void **state)
{
	(void)state;
	const char *const plugins[] = {"campaign"};
	struct enrich_outcome out;
	struct json_reader *reader;
	struct json root;
	const char *why;
	struct buf text;
	buf_init(&text, 4096);
	assert_int_equal(buf_printf(&text, "{\"type\":\"track\",\"context\":%s}", url_context), OK);
	assert_int_equal(json_reader_new(&reader), OK);
	assert_int_equal(json_parse(reader, buf_str(&text), &root, &why), OK);
	struct enrich_chain *chain = chain_of(plugins, 1);
	struct cdpd_event event = event_with("", url_context);
	enrich_chain_run(chain, &event, &root, &arena, &out);
	assert_enrichment(&event, "{\"campaign\":{\"click_id\":{\"type\":\"gclid\",\"value\":\"1\"},\"source\":"
				  "\"news\"},\"referrer\":{\"medium\":\"direct\"}}");
	enrich_chain_free(chain);
	json_reader_free(reader);
	buf_fini(&text);
}

static void test_order_follows_needs(void **state)
{
	(void)state;
	const char *const plugins[] = {"after_campaign", "erring", "campaign"};
	struct enrich_outcome out;
	struct enrich_chain *chain = chain_of(plugins, 3);
	assert_true(str_eq(chain->items[0].name, STR("erring"))); /* what may keep its place keeps it */
	assert_true(str_eq(chain->items[1].name, STR("campaign")));
	assert_true(str_eq(chain->items[2].name, STR("after_campaign")));
	struct cdpd_event event = event_with("", url_context);
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_has(event.enrichment, "\"after\":{\"seen\":\"news\"}");
	enrich_chain_free(chain);
}

static void test_circles_and_missing_inputs_are_refused(void **state)
{
	(void)state;
	struct enrich_chain *chain;
	char *errors;
	const char *const circle[] = {"campaign", "chain_a", "chain_b"}, *const missing[] = {"after_campaign"};
	assert_int_equal(make_chain(circle, 3, &chain), ERR_INVALID);
	assert_null(chain);
	assert_int_not_equal(plugin_check_config(&config, &errors), OK);
	assert_non_null(strstr(errors, "circle: 'chain_a', 'chain_b'"));
	free(errors);
	assert_int_equal(make_chain(missing, 1, &chain), ERR_INVALID);
	assert_int_not_equal(plugin_check_config(&config, &errors), OK);
	assert_non_null(strstr(
	    errors, "'after_campaign' needs 'enrichment.campaign.source', which no configured enricher provides"));
	free(errors);
}

static void test_uses_sort_where_somebody_provides(void **state)
{
	(void)state;
	const char *const both[] = {"renamer", "erring", "campaign"}, *const alone[] = {"renamer"};
	struct enrich_outcome out;
	struct enrich_chain *chain = chain_of(both, 3);
	assert_true(str_eq(chain->items[2].name, STR("renamer")));
	struct cdpd_event event = event_with("", url_context);
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_has(event.enrichment, "\"renamer\":{\"seen\":\"news\"}");
	enrich_chain_free(chain);
	chain = chain_of(alone, 1);
	event = event_with("", url_context);
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_enrichment(&event, "");
	enrich_chain_free(chain);
}

static struct cdpd_event renamed(struct enrich_chain *chain, const char *properties, enum event_type type)
{
	struct enrich_outcome out;
	struct cdpd_event event = event_with(properties, "{}");
	event.type = type;
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_false(out.is_dropped);
	return event;
}

static void test_an_event_gets_another_name(void **state)
{
	(void)state;
	const char *const plugins[] = {"renamer"};
	static char longest[300];
	struct enrich_chain *chain = chain_of(plugins, 1);
	struct cdpd_event event = renamed(chain, "{\"as\":\"B\"}", EVENT_TRACK);
	assert_true(str_eq(event.event, STR("B")));
	assert_enrichment(&event, "{\"renamed_from\":\"A\",\"renamer\":{\"rc\":0}}");
	event = renamed(chain, "{\"as\":\"A\"}", EVENT_TRACK); /* the same one */
	assert_enrichment(&event, "{\"renamer\":{\"rc\":0}}");
	/* What is taken back is taken back whole. */
	event = renamed(chain, "{\"as\":\"B\",\"fail\":true}", EVENT_TRACK);
	assert_true(str_eq(event.event, STR("A")));
	assert_enrichment(&event, "");
	event = renamed(chain, "{\"as\":\"B\"}", EVENT_PAGE);
	assert_true(str_eq(event.event, STR("A")));
	assert_enrichment(&event, "{\"renamer\":{\"rc\":-2}}");
	assert_int_equal(snprintf(longest, sizeof longest, "{\"as\":\"%0201d\"}", 7), 210);
	event = renamed(chain, longest, EVENT_TRACK);
	assert_enrichment(&event, "{\"renamer\":{\"rc\":-3}}");
	event = renamed(chain, "{\"as\":\"B\\u0000\"}", EVENT_TRACK);
	assert_enrichment(&event, "{\"renamer\":{\"rc\":-2}}");
	event = renamed(chain, "{\"as\":\"\"}", EVENT_TRACK);
	assert_true(str_eq(event.event, STR("A")));
	enrich_chain_free(chain);
}

static int64_t errors_of(const struct enrich_chain *chain, size_t i)
{
	return metric_value(chain->items[i].errors);
}

static void run_erring(struct enrich_chain *chain, const char *what, struct cdpd_event *event,
		       struct enrich_outcome *out)
{
	static char properties[100];
	snprintf(properties, sizeof properties, "{\"do\":\"%s\"}", what);
	*event = event_with(properties, url_context);
	enrich_chain_run(chain, event, NULL, &arena, out);
}

static void test_an_error_costs_only_its_own_output(void **state)
{
	(void)state;
	static const char *const faults[] = {"err", "trespass", "junk", "clash"};
	const char *const plugins[] = {"campaign", "erring"};
	struct enrich_outcome out;
	struct cdpd_event event;
	struct enrich_chain *chain = chain_of(plugins, 2);
	for (size_t i = 0; i < COUNT_OF(faults); i++) {
		int64_t before = errors_of(chain, 1);
		run_erring(chain, faults[i], &event, &out);
		assert_int_equal(errors_of(chain, 1), before + 1); /* the fault fired */
		assert_false(out.is_dropped);
		assert_enrichment(&event, "{\"campaign\":{\"click_id\":{\"type\":\"gclid\",\"value\":\"1\"},\"source\":"
					  "\"news\"},\"referrer\":{\"medium\":\"direct\"}}");
	}
	run_erring(chain, "nothing", &event, &out);
	assert_has(event.enrichment, "\"erring\":{\"mark\":\"here\"}");
	enrich_chain_free(chain);
}

static void test_a_drop_carries_its_reason(void **state)
{
	(void)state;
	const char *const plugins[] = {"erring", "campaign"};
	struct enrich_outcome out;
	struct cdpd_event event;
	struct enrich_chain *chain = chain_of(plugins, 2);
	int64_t seen = metric_value(chain->items[1].events);
	run_erring(chain, "drop", &event, &out);
	assert_true(out.is_dropped);
	assert_true(str_eq(out.enricher, STR("erring")) && str_eq(out.reason, STR("asked to")));
	assert_int_equal(metric_value(chain->items[1].events), seen); /* nobody behind it is asked */
	assert_int_equal(event.enrichment.len, 0);
	enrich_chain_free(chain);
}

static void test_the_breaker_pauses_and_comes_back(void **state)
{
	(void)state;
	const char *const plugins[] = {"erring"};
	struct enrich_outcome out;
	struct cdpd_event event;
	struct enrich_chain *chain = chain_of(plugins, 1);
	struct enricher *enricher = &chain->items[0];
	chain->pause_us = 3600 * US_PER_SECOND;
	int64_t pauses = metric_value(enricher->pauses), skipped = metric_value(enricher->skipped);
	for (int i = 0; i < 99; i++) run_erring(chain, "err", &event, &out);
	run_erring(chain, "nothing", &event, &out); /* one good answer starts the count anew */
	for (int i = 0; i < 99; i++) run_erring(chain, "err", &event, &out);
	assert_int_equal(metric_value(enricher->pauses), pauses);
	run_erring(chain, "err", &event, &out);
	assert_int_equal(metric_value(enricher->pauses), pauses + 1);
	run_erring(chain, "nothing", &event, &out);
	assert_int_equal(metric_value(enricher->skipped), skipped + 1);
	assert_enrichment(&event, "");
	enricher->paused_until_us = clock_mono_us() - 1; /* the pause is over */
	run_erring(chain, "nothing", &event, &out);
	assert_enrichment(&event, "{\"erring\":{\"mark\":\"here\"}}");
	enrich_chain_free(chain);
}

/* bot looks at the address's and the agent's own fields: those of the event's context when it brings them, else the connection's. */
static void test_the_events_own_agent_is_in_its_context(void **state)
{
	(void)state;
	const char *const plugins[] = {"bot"},
			  *const seen = "{\"bot\":{\"is_bot\":true,\"name\":\"curl\",\"reason\":\"declared\"}}";
	struct enrich_outcome out;
	put_so(PLUGINS, "bot");
	struct enrich_chain *chain = chain_of(plugins, 1);
	struct cdpd_event event = event_with("", "{\"userAgent\":\"curl/8\"}");
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_enrichment(&event, seen);
	event = event_with("", "{}");
	event.user_agent = STR("curl/8");
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_enrichment(&event, seen);
	event = event_with("", "{\"userAgent\":7}");
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_enrichment(&event, "");
	enrich_chain_free(chain);
}

static void test_the_example_of_the_guide(void **state)
{
	(void)state;
	const char *const plugins[] = {"testers"};
	struct enrich_outcome out;
	put_so(SO, "testers");
	struct enrich_chain *chain = chain_of(plugins, 1);
	struct cdpd_event event = event_with("", "");
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_enrichment(&event, "");
	event.user_id = STR("test-7");
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_enrichment(&event, "{\"testers\":{\"is_test\":true}}");
	enrich_chain_free(chain);
	struct node drop = scalar("drop", "true", 1), options = map_of(&drop, 1);
	enrichers[0].options = &options;
	assert_int_equal(enrich_chain_new(&config, &chain), OK);
	enrich_chain_run(chain, &event, NULL, &arena, &out);
	assert_true(out.is_dropped && str_eq(out.reason, STR("test account")));
	enrich_chain_free(chain);
}

static void test_no_room_for_the_enrichment(void **state)
{
	(void)state;
	const char *const plugins[] = {"campaign"};
	struct enrich_outcome out;
	struct arena small;
	struct enrich_chain *chain = chain_of(plugins, 1);
	struct cdpd_event event = event_with("", url_context);
	arena_init(&small, 64, 64);
	enrich_chain_run(chain, &event, NULL, &small, &out);
	assert_false(out.is_dropped);
	assert_enrichment(&event, "");
	arena_fini(&small);
	enrich_chain_free(chain);
}

/* ── values ──────────────────────────────────────────────────────────────── */

static int set(struct enrich_values *values, const char *path, const char *text)
{
	struct enrich_value value = {.path = str_from(path), .kind = CDPD_VALUE_STRING, .text = str_from(text)};
	return enrich_values_set(values, &value);
}

static void test_values_become_one_object(void **state)
{
	(void)state;
	struct enrich_values values = {.count = 0};
	struct buf out;
	buf_init(&out, 4096);
	assert_int_equal(set(&values, "b.c.d", "1"), OK);
	assert_int_equal(set(&values, "ab", "2"), OK);
	assert_int_equal(set(&values, "a.z", "3"), OK);
	assert_int_equal(set(&values, "b.c.a", "4"), OK);
	assert_int_equal(set(&values, "a-b", "5"), OK);
	assert_int_equal(set(&values, "b.x", "6"), OK);
	assert_int_equal(set(&values, "a.z", "7\""), OK);
	assert_int_equal(set(&values, "a", "no"), ERR_INVALID);
	assert_int_equal(set(&values, "b.c", "no"), ERR_INVALID);
	assert_int_equal(set(&values, "ab.c", "no"), ERR_INVALID);
	assert_int_equal(enrich_values_write(&values, &out), OK);
	assert_int_equal(buf_putc(&out, '\0'), OK);
	assert_string_equal(
	    buf_str(&out).ptr,
	    "{\"a\":{\"z\":\"7\\\"\"},\"a-b\":\"5\",\"ab\":\"2\",\"b\":{\"c\":{\"a\":\"4\",\"d\":\"1\"},\"x\":\"6\"}}");
	buf_fini(&out);
}

static void test_values_are_bounded(void **state)
{
	(void)state;
	static struct enrich_values values;
	char names[ENRICH_VALUES_MAX + 1][16];
	for (size_t i = 0; i <= ENRICH_VALUES_MAX; i++) {
		snprintf(names[i], sizeof names[i], "v%zu", i);
		assert_int_equal(set(&values, names[i], "x"), i < ENRICH_VALUES_MAX ? OK : ERR_TOO_LARGE);
	}
	static char big[5000];
	memset(big, 'x', 4096);
	for (size_t i = 0; i < 4; i++) assert_int_equal(set(&values, names[i], big), i < 3 ? OK : ERR_TOO_LARGE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_campaign_from_texts_alone),
	    TEST(test_campaign_from_the_parsed_message),
	    TEST(test_order_follows_needs),
	    TEST(test_circles_and_missing_inputs_are_refused),
	    TEST(test_uses_sort_where_somebody_provides),
	    TEST(test_an_event_gets_another_name),
	    TEST(test_an_error_costs_only_its_own_output),
	    TEST(test_a_drop_carries_its_reason),
	    TEST(test_the_breaker_pauses_and_comes_back),
	    TEST(test_the_events_own_agent_is_in_its_context),
	    TEST(test_the_example_of_the_guide),
	    TEST(test_no_room_for_the_enrichment),
	    TEST(test_values_become_one_object),
	    TEST(test_values_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
