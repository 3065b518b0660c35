#include "api/api_world.h"

static struct world world;

/* Two persons, folded; whether the fold goes on is the test's. */
static void start(const char *wait)
{
	char position[128];
	world_start(&world, wait);
	world_fold(&world);
	track(&world,
	      "{\"batch\":[{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"A\"},"
	      "{\"type\":\"track\",\"anonymousId\":\"a1\",\"event\":\"A\"}]}",
	      position);
	struct reply reply = ask_after(&world, "/v1/profiles/user_id:u1", READER, position);
	while (reply.status == 503) { /* the wait is as short as the test wants it */
		reply_free(&reply);
		reply = ask_after(&world, "/v1/profiles/user_id:u1", READER, position);
	}
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
}

static void hold_the_fold(void)
{
	fold_stop(world.fold);
	world.is_folding = false;
}

static int setup(void **state)
{
	(void)state;
	start("20s");
	return 0;
}

static int setup_impatient(void **state)
{
	(void)state;
	start("50ms");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_stop(&world);
	return 0;
}

#define PAIR "{\"a\":\"user_id:u1\",\"b\":\"anonymous_id:a1\",\"reason\":\"they called\"}"

static void expect(const char *path, const char *token, const char *body, int status, const char *text)
{
	struct reply reply = ask(&world, "POST", path, token, body);
	if (reply.status != status || !has_text(reply.body, text))
		fail_msg("%s %s: %d %.*s", path, body, reply.status, STR_ARG(reply.body));
	reply_free(&reply);
}

static void only_the_scope_merge_may(void **state)
{
	(void)state;
	static const char *const paths[] = {"/v1/profiles/merge", "/v1/profiles/unmerge",
					    "/v1/profiles/merge?dry_run=1"};
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		expect(paths[i], NULL, PAIR, 401, "unauthorized");
		expect(paths[i], READER, PAIR, 403, "forbidden");
		expect(paths[i], ADMIN, PAIR, 403, "forbidden"); /* no scope implies another */
	}
}

static void merge_and_unmerge_answer_what_came_of_them(void **state)
{
	(void)state;
	uint64_t next = journal_next_seq(world.journal);
	expect("/v1/profiles/merge?dry_run=1", MERGER, PAIR, 200, "\"allowed\":true");
	assert_int_equal(journal_next_seq(world.journal), next);
	expect("/v1/profiles/merge", MERGER, PAIR, 200, "\"merged\"");
	assert_int_equal(journal_next_seq(world.journal), next + 1);
	expect("/v1/profiles/merge", MERGER, PAIR, 200, "\"already_one\"");
	expect("/v1/profiles/unmerge", MERGER, PAIR, 200, "\"unmerged\"");
	expect("/v1/profiles/unmerge", MERGER, PAIR, 409, "\"not_joined\"");
	struct reply reply = ask(&world, "GET", "/v1/profiles/user_id:u1/history", READER, NULL);
	assert_true(has_text(reply.body, "\"actor\":\"merger\",\"note\":\"they called\""));
	assert_true(has_text(reply.body, "\"cannotLink\":true"));
	reply_free(&reply);
}

static void bad_bodies_are_refused_and_nothing_is_written(void **state)
{
	(void)state;
	uint64_t next = journal_next_seq(world.journal);
	static const struct {
		const char *path, *body;
		int status;
		const char *text;
	} cases[] = {
	    {"merge", "", 400, "invalid_json"},
	    {"merge", "[]", 400, "/a"},
	    {"merge", "{\"a\":7,\"b\":\"user_id:u1\"}", 400, "/a"},
	    {"merge", "{\"a\":\"user_id:u1\"}", 400, "/b"},
	    {"merge", "{\"a\":\"user_id:u1\",\"b\":\"anonymous_id:a1\",\"reason\":7}", 400, "/reason"},
	    {"merge", "{\"a\":\"user_id:u1\",\"b\":\"nobody\"}", 400, "invalid_parameter"},
	    {"merge", "{\"a\":\"user_id:u1\",\"b\":\"id:xyz\"}", 400, "invalid_parameter"},
	    {"merge", "{\"a\":\"user_id:u1\",\"b\":\"user_id:u1\"}", 400, "same identifier"},
	    {"unmerge", "{\"a\":\"user_id:u1\",\"b\":\"user_id:u9\"}", 404, "\"pointer\":\"/b\""},
	    {"unmerge?dry_run=1", "{\"a\":\"user_id:u1\",\"b\":\"user_id:u9\"}", 404, "not_found"},
	    {"unmerge?dry_run=perhaps", PAIR, 400, "dry_run"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char path[64];
		(void)snprintf(path, sizeof path, "/v1/profiles/%s", cases[i].path);
		expect(path, MERGER, cases[i].body, cases[i].status, cases[i].text);
	}
	assert_int_equal(journal_next_seq(world.journal), next);
}

/* It is durable: what is not decided in time is told so, and is not an error. */
static void a_late_fold_is_pending(void **state)
{
	(void)state;
	uint64_t next = journal_next_seq(world.journal);
	hold_the_fold();
	expect("/v1/profiles/merge", MERGER, PAIR, 202, "\"pending\"");
	assert_int_equal(journal_next_seq(world.journal), next + 1);
}

static void a_client_that_leaves_takes_its_wait_along(void **state)
{
	(void)state;
	uint64_t next = journal_next_seq(world.journal);
	hold_the_fold();
	for (uint64_t i = 0; i < 5; i++) {
		const struct linger at_once = {.l_onoff = 1};
		int fd = client_connect(&world);
		client_send(fd, "POST", "/v1/profiles/merge",
			    "Connection: close\r\nAuthorization: Bearer " MERGER "\r\n", PAIR);
		while (journal_next_seq(world.journal) < next + i + 1) assert_false(client_has_answer(fd, 5));
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(only_the_scope_merge_may, setup, teardown),
	    cmocka_unit_test_setup_teardown(merge_and_unmerge_answer_what_came_of_them, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_bodies_are_refused_and_nothing_is_written, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_late_fold_is_pending, setup_impatient, teardown),
	    cmocka_unit_test_setup_teardown(a_client_that_leaves_takes_its_wait_along, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
