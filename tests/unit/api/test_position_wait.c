#include "api/api_world.h"

static struct world world;

static int setup(void **state)
{
	(void)state;
	world_start(&world, "20s");
	return 0;
}

static int setup_impatient(void **state)
{
	(void)state;
	world_start(&world, "50ms");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_stop(&world);
	return 0;
}

static int send_waiting_read(const char *path, const char *position)
{
	char full[256];
	int fd = client_connect(&world);
	(void)snprintf(full, sizeof full, "%s?min_position=%s", path, position);
	client_send(fd, "GET", full, "Connection: close\r\nAuthorization: Bearer " READER "\r\n", NULL);
	return fd;
}

static void a_read_waits_for_the_fold(void **state)
{
	(void)state;
	static const char *const paths[] = {"/v1/profiles/user_id:u1", "/v1/profiles/user_id:u1/events",
					    "/v1/profiles/user_id:u1/traits"};
	char position[128];
	int fds[COUNT_OF(paths)];
	struct reply reply;
	track(&world, "{\"batch\":[{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"A\"}]}", position);
	for (size_t i = 0; i < COUNT_OF(paths); i++) fds[i] = send_waiting_read(paths[i], position);
	assert_false(client_has_answer(fds[0], 100));
	world_fold(&world);
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		client_receive(fds[i], &reply);
		assert_int_equal(reply.status, 200);
		assert_true(has_text(reply.body, "\"id\"") || has_text(reply.body, "\"events\""));
		reply_free(&reply);
		close(fds[i]);
	}
}

static void the_wait_has_a_bound(void **state)
{
	(void)state;
	char position[128];
	struct reply reply;
	track(&world, "{\"batch\":[{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"A\"}]}", position);
	int64_t before = clock_mono_us();
	reply = ask_after(&world, "/v1/profiles/user_id:u1", READER, position);
	assert_int_equal(reply.status, 503);
	assert_true(has_text(reply.body, "not_yet_applied") && has_text(reply.head, "Retry-After"));
	assert_true(clock_mono_us() - before >= 50 * US_PER_MS);
	reply_free(&reply);
}

/* Its memory must go with it: AddressSanitizer watches, and the fold wakes what is left. */
static void a_client_that_leaves_takes_its_wait_along(void **state)
{
	(void)state;
	char position[128];
	struct reply reply;
	track(&world, "{\"batch\":[{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"A\"}]}", position);
	for (int i = 0; i < 10; i++) {
		const struct linger at_once = {.l_onoff = 1};
		int fd = send_waiting_read("/v1/profiles/user_id:u1", position);
		assert_false(client_has_answer(fd, 10));
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
		close(fd);
	}
	int fd = send_waiting_read("/v1/profiles/user_id:u1", position);
	world_fold(&world);
	client_receive(fd, &reply);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
	close(fd);
}

/* The daemon stops with reads waiting: nothing is touched afterwards. */
static void stopping_drops_the_waits(void **state)
{
	(void)state;
	char position[128];
	track(&world, "{\"batch\":[{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"A\"}]}", position);
	int fd = send_waiting_read("/v1/profiles/user_id:u1", position);
	assert_false(client_has_answer(fd, 50));
	close(client_connect(&world));
	(void)fd; /* open until the process ends */
}

static void only_positions_of_this_journal_count(void **state)
{
	(void)state;
	char text[POSITION_TEXT_SIZE];
	uint64_t epoch = journal_epoch(world.journal);
	struct reply reply;
	const struct {
		enum position_feed feed;
		uint64_t epoch;
		int status;
		const char *code;
	} cases[] = {
	    {POSITION_JOURNAL, epoch + 1, 410, "gone"},
	    {POSITION_CHANGES, epoch, 400, "invalid_parameter"},
	    {POSITION_EVENTS, epoch, 400, "invalid_parameter"},
	};
	world_fold(&world);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		position_format(cases[i].feed, (struct position){cases[i].epoch, 0}, text);
		reply = ask_after(&world, "/v1/profiles/user_id:u1", READER, text);
		assert_int_equal(reply.status, cases[i].status);
		assert_true(has_text(reply.body, cases[i].code));
		reply_free(&reply);
	}
	reply = ask_after(&world, "/v1/profiles/user_id:u1", READER, "garbage");
	assert_int_equal(reply.status, 400);
	reply_free(&reply);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_read_waits_for_the_fold, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_wait_has_a_bound, setup_impatient, teardown),
	    cmocka_unit_test_setup_teardown(a_client_that_leaves_takes_its_wait_along, setup, teardown),
	    cmocka_unit_test_setup_teardown(stopping_drops_the_waits, setup, teardown),
	    cmocka_unit_test_setup_teardown(only_positions_of_this_journal_count, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
