/* An isolated enricher and what it may do to its process: everybody else's questions are answered. Each fault is seen to have fired. */
#include "plugin_test.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "isolate_rig.h"
#include "plugin/isolate_wire.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER true /* no limit of memory */
#else
#define HAS_SANITIZER false
#endif

static struct rig rig;
static char outside[300];

static int setup(void **state)
{
	(void)state;
	make_folder();
	put_so(SO, "villain");
	put_so(SO, "asker");
	put_so(SO, "exiting_constructor");
	put_so(SO, "crashing_constructor");
	put_so(SO, "crasher");
	put_so(PLUGINS, "campaign");
	rig_init(&rig);
	(void)snprintf(outside, sizeof outside, "%s-outside", folder);
	FILE *file = fopen(outside, "w");
	assert_non_null(file);
	(void)fputs("secret", file);
	(void)fclose(file);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (rig.http) rig_end(&rig);
	(void)unlink(outside);
	remove_folder();
	return 0;
}

static struct conf_instance conf_of(const char *name, const char *plugin)
{
	return (struct conf_instance){.name = str_from(name),
				      .plugin = str_from(plugin),
				      .async = {.deadline_ms = 8000},
				      .isolation = {.is_on = true, .memory = (uint64_t)64 << 20}};
}

static void make_villain(const char *name, const char *mode)
{
	struct node nodes[2] = {scalar("mode", mode, 1), scalar("file", outside, 2)};
	struct node options = map_of(nodes, strcmp(mode, "file") == 0 || strcmp(mode, "write") == 0 ? 1 : 2);
	struct str error = STR_NONE;
	struct conf_instance conf = conf_of(name, "villain");
	/* A path that an option names may be read: those that must fail get it from elsewhere. */
	conf.options = &options;
	if (rig_make(&rig, str_from(folder), &conf, &error)) fail_msg("%.*s", STR_ARG(error));
}

static struct cdpd_event event_named(const char *name)
{
	return (struct cdpd_event){.source_id = STR("web"),
				   .message_id = STR("m"),
				   .type = EVENT_TRACK,
				   .event = str_from(name),
				   .name = STR_NONE,
				   .category = STR_NONE,
				   .user_id = STR("u"),
				   .anonymous_id = STR_NONE,
				   .previous_id = STR_NONE,
				   .group_id = STR_NONE,
				   .properties = STR("{\"a\":1}"),
				   .traits = STR_NONE,
				   .context = STR("{\"page\":{\"url\":\"https://x.y/?utm_source=news\"}}"),
				   .extra = STR_NONE,
				   .enrichment = STR_NONE,
				   .violations = STR_NONE,
				   .ip = STR_NONE,
				   .user_agent = STR_NONE,
				   .country = STR_NONE,
				   .event_time_us = 1,
				   .received_at_us = 2};
}

static void ask(const char *name)
{
	const struct cdpd_event event = event_named(name);
	rig_ask(&rig, &event);
}

static struct ticket_answer answer_of(size_t index)
{
	assert_int_equal(ticket_state(rig.tickets[index]), TICKET_ANSWERED);
	return ticket_answer(rig.tickets[index]);
}

static void assert_fine(size_t index)
{
	struct ticket_answer answer = answer_of(index);
	if (answer.error) fail_msg("question %zu: %d %.*s", index, answer.error, STR_ARG(answer.reason));
	assert_has(answer.patch, "{\"villain\":{\"fine\":true}}");
}

static struct isolate_life life_of_instance(const char *name)
{
	struct isolate_life life;
	assert_true(isolate_life_of(str_from(name), &life));
	return life;
}

/* ── it works ────────────────────────────────────────────────────────────── */

static void test_a_synchronous_enricher_answers_in_batches(void **state)
{
	struct str error;
	struct conf_instance conf = conf_of("utm", "campaign");
	(void)state;
	assert_int_equal(rig_make(&rig, str_from(folder), &conf, &error), OK);
	assert_true(plugin_is_async(&(struct plugin){.table = instance_plugin(rig.instance)}));
	for (size_t i = 0; i < 200; i++) ask("A");
	assert_true(rig_wait(&rig, 200));
	for (size_t i = 0; i < 200; i++) {
		assert_int_equal(answer_of(i).error, CDPD_OK);
		assert_has(answer_of(i).patch, "\"source\":\"news\"");
	}
	assert_int_equal(life_of_instance("utm").starts, 1);
	assert_true(life_of_instance("utm").is_up);
}

static void test_metrics_reach_the_daemon(void **state)
{
	struct buf text;
	(void)state;
	make_villain("counted", "crash");
	for (size_t i = 0; i < 7; i++) ask("A");
	assert_true(rig_wait(&rig, 7));
	buf_init(&text, 8 << 20);
	for (int64_t until = clock_mono_us() + RIG_WAIT_US; clock_mono_us() < until; rig_turn(&rig)) {
		buf_clear(&text);
		assert_int_equal(metric_write_all(&text), OK);
		struct str all = buf_str(&text);
		if (memmem(all.ptr, all.len, "cdpd_plugin_seen_total{instance=\"counted\"} 7\n", 45)) break;
	}
	assert_has(buf_str(&text), "cdpd_plugin_seen_total{instance=\"counted\"} 7\n");
	assert_has(buf_str(&text), "cdpd_plugin_name_seconds_count{instance=\"counted\"} 7\n");
	assert_has(buf_str(&text), "cdpd_isolated_up{enricher=\"counted\"} 1\n");
	buf_fini(&text);
}

static void test_an_asynchronous_enricher_keeps_its_timers_and_threads(void **state)
{
	static const char *const modes[] = {"now", "later", "thread", "twice"};
	(void)state;
	for (size_t m = 0; m < COUNT_OF(modes); m++) {
		struct node nodes[2] = {scalar("mode", modes[m], 1), scalar("delay", "1ms", 2)};
		struct node options = map_of(nodes, 2);
		struct conf_instance conf = conf_of("asker", "asker");
		struct str error;
		conf.options = &options;
		if (rig_make(&rig, str_from(folder), &conf, &error)) fail_msg("%.*s", STR_ARG(error));
		for (size_t i = 0; i < 20; i++) ask("A");
		assert_true(rig_wait(&rig, 20));
		for (size_t i = 0; i < 20; i++) assert_int_equal(answer_of(i).error, CDPD_OK);
		if (strcmp(modes[m], "thread") != 0) assert_has(answer_of(19).patch, "\"said\":\"hello\"");
		assert_int_equal(life_of_instance("asker").deaths, 0);
		rig_end(&rig);
		rig_init(&rig);
	}
}

/* ── faults: all but the culprit are answered ────────────────────────────── */

/* `cause` is what the last death is told to be. */
static void survive(const char *mode, const char *cause)
{
	char name[64];
	(void)snprintf(name, sizeof name, "v-%s", mode);
	make_villain(name, mode);
	ask("A");
	assert_true(rig_wait(&rig, 1));
	for (size_t i = 0; i < 20; i++) ask(i == 11 ? "Bad" : "A");
	assert_true(rig_wait(&rig, 21));
	for (size_t i = 0; i < 21; i++)
		if (i != 12) assert_fine(i);
	struct isolate_life life = life_of_instance(name);
	assert_true(life.deaths >= 2); /* with the others, and alone */
	if (!strstr(life.last_death, cause)) fail_msg("%s: %s", mode, life.last_death);
	assert_int_equal(answer_of(12).error, CDPD_ERR_IO);
	assert_has(answer_of(12).reason, "its process ended");
	ask("A");
	assert_true(rig_wait(&rig, 22));
	assert_fine(21);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), 0); /* one is alive, and none is left to be reaped */
	rig_end(&rig);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void test_crash(void **state)
{
	(void)state;
	survive("crash", HAS_SANITIZER ? "" : "signal 11");
}

static void test_abort(void **state)
{
	(void)state;
	survive("abort", "signal 6");
}

static void test_exit(void **state)
{
	(void)state;
	survive("exit", "exit 7");
}

static void test_hang(void **state)
{
	(void)state;
	survive("hang", "did not return");
}

static void test_spin(void **state)
{
	(void)state;
	survive("spin", "did not return");
}

static void test_scribble(void **state)
{
	(void)state;
	survive("scribble", HAS_SANITIZER ? "" : "signal 11");
}

static void test_garbage_on_the_socket(void **state)
{
	(void)state;
	survive("garbage", "no frame of ours");
}

static void test_a_frame_of_a_gigabyte(void **state)
{
	(void)state;
	survive("huge", "no frame of ours");
}

static void test_a_closed_socket(void **state)
{
	(void)state;
	survive("close", "closed its socket");
}

static void test_a_leak(void **state)
{
	(void)state;
	if (HAS_SANITIZER) return;
	make_villain("leaky", "leak");
	for (size_t i = 0; i < 20; i++) ask(i == 11 ? "Bad" : "A");
	assert_true(rig_wait(&rig, 20));
	assert_int_equal(answer_of(11).error, CDPD_ERR_IO);
	assert_has(answer_of(11).reason, "out of memory");
	for (size_t i = 0; i < 20; i++)
		if (i != 11) assert_fine(i);
	ask("A");
	assert_true(rig_wait(&rig, 21));
	assert_fine(20);
	assert_true(life_of_instance("leaky").deaths >= 1);
	assert_string_equal(life_of_instance("leaky").last_death, "out of memory");
}

static void test_create_that_fails_is_tried_again_with_pauses(void **state)
{
	(void)state;
	make_villain("unwilling", "create");
	for (int64_t until = clock_mono_us() + RIG_WAIT_US;
	     clock_mono_us() < until && life_of_instance("unwilling").deaths < 3;)
		rig_turn(&rig);
	assert_true(life_of_instance("unwilling").deaths >= 3);
	assert_string_equal(life_of_instance("unwilling").last_death, "create failed");
	assert_false(life_of_instance("unwilling").is_up);
}

static void test_a_flood_of_log_lines(void **state)
{
	(void)state;
	make_villain("talker", "chatter");
	ask("Bad");
	ask("A");
	assert_true(rig_wait(&rig, 2));
	assert_int_equal(answer_of(0).error, CDPD_OK);
	assert_fine(1);
	assert_int_equal(life_of_instance("talker").deaths, 0);
}

/* ── what it must not reach ──────────────────────────────────────────────── */

static void refused(const char *mode, int error)
{
	char wanted[64];
	make_villain(mode, mode);
	ask("Bad");
	ask("A");
	assert_true(rig_wait(&rig, 2));
	assert_int_equal(answer_of(0).error, CDPD_OK);
	(void)snprintf(wanted, sizeof wanted, "\"error\":%d,\"result\":-1", error);
	assert_has(answer_of(0).patch, wanted);
	assert_fine(1);
	assert_int_equal(life_of_instance(mode).deaths, 0);
}

static void test_sockets_are_refused(void **state)
{
	(void)state;
	refused("socket", EPERM);
}

static void test_processes_are_refused(void **state)
{
	(void)state;
	refused("fork", EPERM);
}

static void test_signals_to_others_are_refused(void **state)
{
	(void)state;
	refused("kill", EPERM);
}

static void test_signals_by_the_kernel_are_refused(void **state)
{
	(void)state;
	refused("signal", EPERM);
}

static void test_others_keep_their_processors(void **state)
{
	(void)state;
	refused("pin", EPERM);
}

static void read_file(const char *name, const char *mode, bool is_named, struct ticket_answer *answer)
{
	struct node nodes[2] = {scalar("mode", mode, 1), scalar("file", outside, 2)};
	struct node options = map_of(nodes, 2);
	struct conf_instance conf = conf_of(name, "villain");
	struct str error, other = str_from(folder);
	conf.options = &options;
	conf.isolation.read = &other;
	conf.isolation.read_count = 1;
	/* A text without a slash names no path. The process stands where we do. */
	if (!is_named) {
		assert_int_equal(chdir(folder), 0);
		nodes[1].text = str_from(strrchr(outside, '/') + 1);
		assert_int_equal(chdir(".."), 0);
	}
	if (rig_make(&rig, str_from(folder), &conf, &error)) fail_msg("%.*s", STR_ARG(error));
	ask("Bad");
	assert_true(rig_wait(&rig, 1));
	*answer = answer_of(0);
}

static void test_files_outside_are_refused(void **state)
{
	struct ticket_answer answer;
	(void)state;
	assert_int_equal(access(outside, R_OK), 0);
	read_file("nosy", "file", false, &answer);
	assert_has(answer.patch, "\"error\":13,\"result\":-1");
}

static void test_files_that_an_option_names_are_read(void **state)
{
	struct ticket_answer answer;
	(void)state;
	read_file("reader", "file", true, &answer);
	assert_has(answer.patch, "\"error\":0,\"result\":6");
}

static void test_a_slash_names_no_folder(void **state)
{
	(void)state;
	struct node nodes[2] = {scalar("mode", "file", 1), scalar("file", "/", 2)};
	struct node options = map_of(nodes, 2);
	struct conf_instance conf = conf_of("rooted", "villain");
	struct str error;
	conf.options = &options;
	if (rig_make(&rig, str_from(folder), &conf, &error)) fail_msg("%.*s", STR_ARG(error));
	ask("Bad");
	assert_true(rig_wait(&rig, 1));
	assert_has(answer_of(0).patch, "\"error\":13,\"result\":-1");
}

static void test_nothing_is_written(void **state)
{
	struct ticket_answer answer;
	(void)state;
	read_file("writer", "write", true, &answer);
	assert_has(answer.patch, "\"error\":13,\"result\":-1");
}

static void test_an_event_cannot_be_refused_after_the_ack(void **state)
{
	(void)state;
	make_villain("dropper", "drop");
	ask("Bad");
	assert_true(rig_wait(&rig, 1));
	assert_int_equal(answer_of(0).error, CDPD_ERR_UNSUPPORTED);
}

/* ── loading ─────────────────────────────────────────────────────────────── */

static void refused_to_load(const char *plugin, const char *why)
{
	struct conf_instance conf = conf_of("x", plugin);
	struct str error = STR_NONE;
	assert_int_equal(rig_make(&rig, str_from(folder), &conf, &error), ERR_INVALID);
	assert_has(error, why);
}

static void test_a_constructor_hurts_nobody(void **state)
{
	(void)state;
	refused_to_load("exiting_constructor", "ended while it was looked at");
	refused_to_load("crashing_constructor", "ended while it was looked at");
}

static void test_what_is_no_enricher_cannot_be_isolated(void **state)
{
	(void)state;
	refused_to_load("crasher", "it is a feature");
	refused_to_load("nothing", "there is no such file");
}

static void test_its_own_version_of_the_wire_only(void **state)
{
	const uint32_t other[] = {0x63647069u, 99}, strange[] = {1, 1};
	(void)state;
	assert_int_equal(wire_read_hello(str_of(other, sizeof other)), ERR_FORMAT);
	assert_int_equal(wire_read_hello(str_of(strange, sizeof strange)), ERR_INVALID);
	assert_int_equal(wire_read_hello(str_of(other, 4)), ERR_INVALID);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(test_a_synchronous_enricher_answers_in_batches),
	    TEST(test_metrics_reach_the_daemon),
	    TEST(test_an_asynchronous_enricher_keeps_its_timers_and_threads),
	    TEST(test_crash),
	    TEST(test_abort),
	    TEST(test_exit),
	    TEST(test_hang),
	    TEST(test_spin),
	    TEST(test_scribble),
	    TEST(test_garbage_on_the_socket),
	    TEST(test_a_frame_of_a_gigabyte),
	    TEST(test_a_closed_socket),
	    TEST(test_a_leak),
	    TEST(test_create_that_fails_is_tried_again_with_pauses),
	    TEST(test_a_flood_of_log_lines),
	    TEST(test_sockets_are_refused),
	    TEST(test_processes_are_refused),
	    TEST(test_signals_to_others_are_refused),
	    TEST(test_signals_by_the_kernel_are_refused),
	    TEST(test_others_keep_their_processors),
	    TEST(test_files_outside_are_refused),
	    TEST(test_files_that_an_option_names_are_read),
	    TEST(test_a_slash_names_no_folder),
	    TEST(test_nothing_is_written),
	    TEST(test_an_event_cannot_be_refused_after_the_ack),
	    TEST(test_a_constructor_hurts_nobody),
	    TEST(test_what_is_no_enricher_cannot_be_isolated),
	    TEST(test_its_own_version_of_the_wire_only),
#undef TEST
	};
	if (argc >= 2 && strcmp(argv[1], ISOLATE_ARGUMENT) == 0) isolate_child_main(argc - 2, argv + 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
