/* The asking thread over a real journal and fold: everybody is asked, each answer is a record that counts once, and nothing that a plugin does or does not do
 * leaves an event waiting for ever. */
#include "fold/fold_world.h"

#include "base/metric.h"
#include "config/tree.h"
#include "enrich/enrichers.h"
#include "plugin/plugin.h"
#include "profile/awaits.h"

static struct world *world;
static struct enrichers *enrichers;
static struct node options[2], map;
static struct conf_instance instance;
static struct conf_condition where_said = {.field = {"enrichment.asker.said", 21}, .has_exists = true, .exists = true};

static void wake(struct world *of, uint64_t applied)
{
	(void)of, (void)applied;
	if (enrichers) enrichers_wake(enrichers);
}

static void set_mode(const char *mode, const char *until)
{
	options[0] = (struct node){.kind = NODE_SCALAR, .key = STR("mode"), .text = str_from(mode), .line = 1};
	options[1] = (struct node){.kind = NODE_SCALAR, .key = STR("until"), .text = str_from(until), .line = 1};
	options[0].next = &options[1];
	map = (struct node){.kind = NODE_MAP, .children = options, .child_count = 2, .line = 1};
	instance = (struct conf_instance){
	    .name = STR("asker"),
	    .plugin = STR("asker"),
	    .options = &map,
	    .purpose = STR_NONE,
	    .async = {.deadline_ms = 200, .max_wait_us = US_PER_DAY, .concurrency = 4, .http_connections = 1},
	    .line = 1};
}

static int setup(void **state)
{
	char *errors;
	(void)state;
	world = calloc(1, sizeof *world);
	world_init(world);
	world->features[1] = world->features[0];
	world->features[1].name = STR("said");
	world->features[1].where = &where_said;
	world->features[1].where_count = 1;
	world->config.feature_count = 2;
	world->config.file = STR("c.yaml");
	world->config.plugin_path = STR(SO);
	world->config.enrichers = &instance;
	world->config.enricher_count = 1;
	world->on_commit = wake;
	set_mode("now", "0");
	assert_int_equal(plugin_register_async(&world->config, async_plugin_register, &errors), OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_fini(world);
	free(world);
	return 0;
}

static void open_all(void)
{
	assert_int_equal(world_open(world), OK);
	assert_int_equal(enrichers_new(world->journal, world->people, NULL, &world->config, &enrichers), OK);
	world_start(world);
	assert_int_equal(enrichers_start(enrichers), OK);
}

static void close_all(void)
{
	struct enrichers *ending = enrichers;
	fold_stop(world->fold);
	enrichers_stop(ending);
	enrichers = NULL;
	enrichers_free(ending);
	world_close(world);
}

static uint64_t waiting(void)
{
	struct people_reader *reader;
	uint64_t applied, count;
	CHECK(people_reader_new(world->people, &reader) == OK);
	CHECK(people_read_begin(reader, &applied) == OK);
	CHECK(people_await_count(reader, &count) == OK);
	people_read_end(reader);
	people_reader_free(reader);
	return count;
}

/* Until nobody waits any more; a minute at most. */
static void settle(void)
{
	for (int i = 0; i < 30000; i++) {
		world_settle(world);
		if (waiting() == 0) return;
		sleep_ms(2);
	}
	CHECK(!"somebody waits for ever");
}

static uint64_t said(uint64_t user)
{
	char text[64];
	world_feature(world, user, "said", text, sizeof text);
	return strtoull(text, NULL, 10);
}

static int64_t told(const char *metric)
{
	return metric_value(metric_get(METRIC_COUNTER, metric, "enricher=\"asker\"", ""));
}

static void everybody_is_asked_once(void **state)
{
	(void)state;
	open_all();
	int64_t asked = told("cdpd_enricher_events_total"), answered = told("cdpd_enricher_answers_total");
	(void)world_send_many(world, 1, 500, 5);
	settle();
	for (uint64_t user = 0; user < 5; user++) assert_int_equal(said(user), 100);
	assert_int_equal(told("cdpd_enricher_events_total") - asked, 500);
	assert_int_equal(told("cdpd_enricher_answers_total") - answered, 500);
	/* Answers are in the journal: nobody is asked again after a restart. */
	close_all();
	open_all();
	asked = told("cdpd_enricher_events_total");
	(void)world_send(world, 1, 1000);
	settle();
	assert_int_equal(told("cdpd_enricher_events_total") - asked, 1);
	assert_int_equal(said(1), 101);
	close_all();
}

static void those_that_are_not_answered_go_on_without(void **state)
{
	(void)state;
	set_mode("never", "0");
	open_all();
	int64_t given_up = told("cdpd_enricher_given_up_total"), late = told("cdpd_enricher_timeouts_total");
	(void)world_send_many(world, 1, 6, 1);
	settle();
	assert_int_equal(told("cdpd_enricher_given_up_total") - given_up, 6);
	assert_int_equal(told("cdpd_enricher_timeouts_total") - late, 6);
	assert_int_equal(world_count(world, 0), 6);
	assert_int_equal(said(0), 0);
	close_all();
}

static void a_failing_one_is_paused_and_its_events_wait(void **state)
{
	(void)state;
	set_mode("error", "12"); /* more than the breaker takes, then it behaves */
	open_all();
	int64_t pauses = told("cdpd_enricher_pauses_total"), given_up = told("cdpd_enricher_given_up_total");
	(void)world_send_many(world, 1, 60, 1);
	settle();
	int64_t without = told("cdpd_enricher_given_up_total") - given_up;
	assert_true(told("cdpd_enricher_pauses_total") - pauses >= 1);
	assert_int_equal(without, 12);
	assert_int_equal(said(0), 48);
	close_all();
}

static void closed_ones_are_asked_again(void **state)
{
	(void)state;
	set_mode("error", "5");
	instance.async.fail = ENRICH_FAIL_CLOSED;
	open_all();
	int64_t given_up = told("cdpd_enricher_given_up_total");
	(void)world_send_many(world, 1, 20, 1);
	settle();
	assert_int_equal(told("cdpd_enricher_given_up_total"), given_up);
	assert_int_equal(said(0), 20);
	close_all();
}

static void what_one_left_the_next_is_asked(void **state)
{
	(void)state;
	set_mode("never", "0");
	instance.async.deadline_ms = 600000;
	open_all();
	(void)world_send_many(world, 1, 3, 1);
	world_settle(world);
	for (int i = 0; i < 30000 && told("cdpd_enricher_events_total") == 0; i++) sleep_ms(2);
	assert_int_equal(waiting(), 3);
	set_mode("now", "0");
	assert_int_equal(enrichers_reload(enrichers, &world->config), OK);
	settle();
	assert_int_equal(said(0), 3);
	close_all();
}

static void those_of_a_removed_one_go_on(void **state)
{
	(void)state;
	set_mode("never", "0");
	instance.async.deadline_ms = 600000;
	open_all();
	(void)world_send_many(world, 1, 3, 1);
	world_settle(world);
	assert_int_equal(waiting(), 3);
	world->config.enricher_count = 0;
	assert_int_equal(enrichers_reload(enrichers, &world->config), OK);
	settle();
	assert_int_equal(world_count(world, 0), 3);
	assert_int_equal(said(0), 0);
	close_all();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(everybody_is_asked_once),
	    TEST(those_that_are_not_answered_go_on_without),
	    TEST(a_failing_one_is_paused_and_its_events_wait),
	    TEST(closed_ones_are_asked_again),
	    TEST(what_one_left_the_next_is_asked),
	    TEST(those_of_a_removed_one_go_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
