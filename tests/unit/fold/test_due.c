/* Due times through the whole fold: ticks of the journal bring them, a held clock holds them, many at once are cut into
 * transactions, and a changed definition reaches everybody in the background. */
#include "fold_world.h"

#include "profile/segment.h"

static const struct conf_segment active = {
    .name = STR("active"),
    .condition = STR("{\"name\":\"last_seen\",\"op\":\"within\",\"source\":\"field\",\"value\":86400000000}")};
static const struct conf_segment buyers = {
    .name = STR("buyers"),
    .condition = STR("{\"name\":\"events\",\"op\":\"at_least\",\"source\":\"feature\",\"value\":1}")};

static struct conf_segment segments[2];
static int64_t start;
static _Atomic int64_t skipped, booted;

/* Time stands still until the test lets it pass. */
static int64_t wall(void *ctx)
{
	(void)ctx;
	return start + skipped;
}

static int64_t boot(void *ctx)
{
	(void)ctx;
	return start + booted;
}

static void pass(int64_t us)
{
	booted += us;
	skipped += us;
}

static int setup(void **state)
{
	static struct world world;
	world_init(&world);
	start = clock_wall_us();
	skipped = booted = 0;
	world.clock = (struct clock_source){wall, boot, NULL};
	segments[0] = active;
	segments[1] = buyers;
	world.config.segments = segments;
	world.config.segment_count = 1;
	*state = &world;
	return 0;
}

static int teardown(void **state)
{
	world_fini(*state);
	return 0;
}

static uint64_t members(struct world *world, const char *name)
{
	struct people_reader *reader;
	struct arena arena;
	struct segment_info info = {.members = 0};
	uint64_t applied;
	arena_init(&arena, 4096, 0);
	CHECK(people_reader_new(world->people, &reader) == OK);
	CHECK(people_read_begin(reader, &applied) == OK);
	int rc = people_segment(reader, str_from(name), &arena, &info);
	CHECK(rc == OK || rc == ERR_NOT_FOUND);
	people_read_end(reader);
	people_reader_free(reader);
	arena_fini(&arena);
	return info.members;
}

/* Waits for it: how long the machine takes does not matter. */
static void until_members(struct world *world, const char *name, uint64_t count)
{
	for (int i = 0; i < 15000 && members(world, name) != count && !world->fatal; i++) sleep_ms(2);
	assert_int_equal(world->fatal, 0);
	assert_int_equal(members(world, name), count);
}

static void a_tick_brings_what_is_due(void **state)
{
	struct world *world = *state;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send_many(world, 0, 3, 3);
	world_settle(world);
	assert_int_equal(members(world, "active"), 3);
	uint64_t end = journal_next_seq(world->journal);
	pass(US_PER_DAY / 2);
	(void)world_send(world, 0, 100); /* u0 again, half a day later by the server's clock */
	world_settle(world);
	assert_int_equal(members(world, "active"), 3);
	pass(US_PER_DAY / 2 + 60 * US_PER_SECOND);
	until_members(world, "active", 0); /* its own event time is that of sending: the real clock's */
	assert_true(journal_next_seq(world->journal) > end + 1);
	world_close(world);
}

static void what_is_due_is_not_forgotten_by_a_restart(void **state)
{
	struct world *world = *state;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send_many(world, 0, 5, 5);
	world_settle(world);
	world_close(world);
	pass(2 * US_PER_DAY); /* nobody was there when it came */
	assert_int_equal(world_open(world), OK);
	world_start(world);
	until_members(world, "active", 0);
	world_close(world);
}

static void a_jump_of_the_clock_fires_nothing_until_it_is_confirmed(void **state)
{
	struct world *world = *state;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send_many(world, 0, 4, 4);
	world_settle(world);
	skipped += 30 * US_PER_DAY; /* the wall clock alone */
	(void)world_send(world, 7, 50);
	world_settle(world);
	assert_true(journal_clock_is_held(world->journal));
	assert_int_equal(members(world, "active"), 5); /* u7 as of before the jump */
	world_close(world);                            /* the hold is in the checkpoint */
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send(world, 8, 51);
	world_settle(world);
	assert_int_equal(members(world, "active"), 6);
	assert_int_equal(journal_confirm_clock(world->journal, STR("tester")), OK);
	until_members(world, "active", 0);
	world_close(world);
}

static void many_at_once_are_cut_into_transactions(void **state)
{
	struct world *world = *state;
	const size_t people = 60000;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	for (uint64_t first = 0; first < people; first += 20000) (void)world_send_many(world, first, 20000, people);
	world_settle(world);
	assert_int_equal(members(world, "active"), people);
	uint64_t commits = world->commits;
	pass(2 * US_PER_DAY);
	uint64_t seq = world_send(world, 1, 1000000);
	world_settle(world);
	until_members(world, "active", 0);
	assert_true(world->commits > commits + 1);
	assert_int_equal(people_applied(world->people) > seq, true);
	assert_int_equal(world_outcome(world, seq).verdict,
			 OUTCOME_APPLIED); /* once, behind all that was due before it */
	assert_int_equal(world_count(world, 1), 2);
	world_close(world);
}

static void a_new_segment_reaches_everybody_without_an_event(void **state)
{
	struct world *world = *state;
	struct segment_progress progress;
	const size_t people = 40000; /* more than one record's share */
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send_many(world, 0, people, people);
	world_settle(world);
	world->config.segment_count = 2;
	assert_int_equal(fold_reload(world->fold, &world->config), OK);
	for (int i = 0; i < 10000 && members(world, "buyers") < people; i++) {
		pass(US_PER_SECOND); /* ticks, nothing else */
		sleep_ms(2);
	}
	assert_int_equal(members(world, "buyers"), people);
	for (int i = 0; i < 10000; i++) {
		people_segment_progress(world->people, &progress);
		if (!progress.scan_seq) break;
		pass(US_PER_SECOND);
		sleep_ms(2);
	}
	assert_int_equal(progress.scan_seq, 0);
	assert_int_equal(progress.scan_permille, 1000);
	assert_int_equal(progress.defined, 2);
	world_close(world);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_tick_brings_what_is_due),
	    TEST(what_is_due_is_not_forgotten_by_a_restart),
	    TEST(a_jump_of_the_clock_fires_nothing_until_it_is_confirmed),
	    TEST(many_at_once_are_cut_into_transactions),
	    TEST(a_new_segment_reaches_everybody_without_an_event),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
