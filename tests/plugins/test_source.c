/* Source plugins behind their queues, without a daemon: what waits is bounded, what hangs is left alone, what ends is told. */
#include "plugin_test.h"

#include <time.h>

#include "base/clock.h"
#include "plugin/source.h"

static struct loop *loop;
static struct sources *sources;
static struct conf_source conf;
static struct config config;
static struct node refuse, map;
static size_t returned;

static void configure(const char *refuses, uint32_t deadline_ms, uint32_t queue)
{
	refuse = scalar("refuse", refuses, 3);
	map = map_of(&refuse, 1);
	conf = (struct conf_source){.id = STR("hook"),
				    .kind = SOURCE_WEBHOOK,
				    .hook = {.plugin = STR("hooked"),
					     .options = &map,
					     .deadline_ms = deadline_ms,
					     .queue = queue,
					     .http_connections = 1,
					     .line = 2}};
	config = (struct config){
	    .file = STR("c.yaml"), .plugin_path = str_from(folder), .sources = &conf, .source_count = 1};
}

static int setup(void **state)
{
	(void)state;
	make_folder();
	put_so(SO, "hooked");
	returned = 0;
	return loop_new(&loop);
}

static int teardown(void **state)
{
	(void)state;
	sources_stop(sources);
	sources_free(sources);
	loop_free(loop);
	remove_folder();
	return 0;
}

static void on_done(struct errand *errand)
{
	(void)errand;
	returned++;
	loop_stop(loop);
}

static struct errand *make(const char *body)
{
	struct errand *errand;
	const struct decoding_request request = {.method = STR("POST"),
						 .path = STR("/v1/hooks/hook"),
						 .query = STR(""),
						 .body = str_from(body),
						 .client_ip = STR("203.0.113.1"),
						 .received_us = clock_wall_us()};
	assert_int_equal(errand_new(&errand), OK);
	assert_int_equal(decoding_begin(&errand->decode, &request, 10, 1000), OK);
	errand->loop = loop;
	errand->done = on_done;
	return errand;
}

static int submit(struct errand *errand)
{
	return sources_submit(sources, STR("hook"), errand);
}

static void pause_ms(long ms)
{
	const struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	(void)nanosleep(&span, NULL);
}

/* Until the queue takes it and it came back. */
static void ask(const char *body, int wanted)
{
	struct errand *errand = make(body);
	int rc = ERR_AGAIN;
	for (int i = 0; i < 6000 && (rc = submit(errand)) != OK; i++) pause_ms(10);
	assert_int_equal(rc, OK);
	loop_run(loop);
	assert_int_equal(errand->status, OK);
	assert_int_equal(errand->decode.error, wanted);
	errand_free(errand);
}

static void test_requests_come_back(void **state)
{
	struct source_terms terms;
	(void)state;
	configure("false", 60000, 4);
	assert_int_equal(sources_new(NULL, &config, &sources), OK);
	assert_true(sources_find(sources, STR("hook"), &terms));
	assert_int_equal(terms.deadline_ms, 60000);
	assert_false(sources_find(sources, STR("hoo"), &terms));
	struct errand *errand = make("{\"type\":\"track\"}");
	assert_int_equal(sources_submit(sources, STR("other"), errand), ERR_NOT_FOUND);
	assert_int_equal(submit(errand), OK);
	loop_run(loop);
	assert_int_equal(errand->status, OK);
	assert_int_equal(errand->decode.event_count, 1);
	assert_false(errand_abandon(errand, true)); /* it is back */
	errand_free(errand);
	ask("fail", CDPD_ERR_IO);
}

static void test_a_queue_is_bounded_and_left_alone_while_it_hangs(void **state)
{
	(void)state;
	configure("false", 50, 2);
	assert_int_equal(sources_new(NULL, &config, &sources), OK);
	ask("get", CDPD_OK);
	struct errand *hanging = make("hang 2000"), *waiting = make("many 1"), *third = make("many 1");
	assert_int_equal(submit(hanging), OK);
	assert_int_equal(submit(waiting), OK);
	int rc;
	while ((rc = submit(third)) == ERR_BUSY) pause_ms(5); /* there is no room, and then it is seen to hang */
	assert_int_equal(rc, ERR_TIMEOUT);
	assert_true(errand_abandon(hanging, true)); /* gone with that */
	loop_run(loop);                             /* the one that waited was asked when the call came back */
	assert_int_equal(returned, 2);
	assert_int_equal(waiting->status, OK);
	errand_free(waiting);
	errand_free(third);
	ask("many 1", CDPD_OK);
}

static void test_what_waits_is_told_of_the_end(void **state)
{
	(void)state;
	configure("false", 60000, 4);
	assert_int_equal(sources_new(NULL, &config, &sources), OK);
	ask("get", CDPD_OK);
	struct errand *first = make("hang 200"), *second = make("many 1");
	assert_int_equal(submit(first), OK);
	assert_int_equal(submit(second), OK);
	sources_stop(sources);
	while (returned < 3) loop_run(loop);
	assert_true(first->status == OK || first->status == ERR_CLOSED); /* it may not have begun */
	assert_int_equal(second->status, ERR_CLOSED);
	assert_int_equal(submit(second), ERR_NOT_FOUND);
	errand_free(first);
	errand_free(second);
}

static void test_a_reload_takes_what_changed(void **state)
{
	struct source_terms terms;
	(void)state;
	configure("false", 60000, 4);
	assert_int_equal(sources_new(NULL, &config, &sources), OK);
	ask("get", CDPD_OK);
	configure("false", 30000, 8); /* the same instance */
	assert_int_equal(sources_reload(sources, &config), OK);
	assert_true(sources_find(sources, STR("hook"), &terms));
	assert_int_equal(terms.deadline_ms, 30000);
	ask("get", CDPD_OK);
	configure("true", 30000, 8); /* create fails from now on */
	assert_int_equal(sources_reload(sources, &config), OK);
	struct errand *errand = make("get");
	int rc = OK;
	for (int i = 0; i < 6000 && (rc = submit(errand)) == OK; i++) { /* before the first try, it waits for it */
		loop_run(loop);
		assert_int_equal(errand->status, ERR_CLOSED);
	}
	assert_int_equal(rc, ERR_AGAIN);
	errand_free(errand);
	configure("maybe", 30000, 8);
	assert_int_equal(sources_reload(sources, &config), ERR_INVALID);
	config.source_count = 0;
	assert_int_equal(sources_reload(sources, &config), OK);
	assert_false(sources_find(sources, STR("hook"), &terms));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_requests_come_back),
	    TEST(test_a_queue_is_bounded_and_left_alone_while_it_hangs),
	    TEST(test_what_waits_is_told_of_the_end),
	    TEST(test_a_reload_takes_what_changed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
