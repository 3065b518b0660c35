#include "journal/journal_world.h"

#include "cdpd/v1/store.pb-c.h"

/* Both clocks stand still until told otherwise. */
static _Atomic int64_t wall, boot;
#define START (INT64_C(1800000000) * US_PER_SECOND)
#define HOUR  (3600 * US_PER_SECOND)

static int64_t fake_wall(void *ctx)
{
	(void)ctx;
	return atomic_load(&wall);
}

static int64_t fake_boot(void *ctx)
{
	(void)ctx;
	return atomic_load(&boot);
}

static void start(void)
{
	world_open(&world);
	journal_set_clock(world.journal, (struct clock_source){fake_wall, fake_boot, NULL});
	assert_int_equal(journal_start(world.journal), OK);
}

static int set_up(void **state)
{
	atomic_store(&wall, START);
	atomic_store(&boot, 1000 * US_PER_SECOND);
	return world_set_up(state);
}

/* Time goes by as it should. */
static void pass(int64_t us)
{
	atomic_fetch_add(&boot, us);
	atomic_fetch_add(&wall, us);
}

static void nudge(void)
{
	journal_set_due(world.journal, INT64_MAX); /* the thread looks at its clock */
}

static struct record last_record(struct arena *arena)
{
	struct record record;
	arena_reset(arena);
	assert_int_equal(journal_get(world.journal, journal_next_seq(world.journal) - 1, arena, &record), OK);
	return record;
}

static void time_never_goes_back(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 4096, 0);
	start();
	append_event(STR("x"));
	assert_true(journal_last_t(world.journal) == START);
	pass(5);
	append_event(STR("x"));
	assert_true(last_record(&arena).t == START + 5);
	atomic_store(&wall, START - HOUR); /* someone set the clock back */
	append_event(STR("x"));
	assert_true(last_record(&arena).t == START + 5);
	world_stop(&world);
	start();
	append_event(STR("x"));
	assert_true(last_record(&arena).t == START + 5);
	assert_false(journal_clock_is_held(world.journal));
	arena_fini(&arena);
}

static void a_tick_comes_when_something_is_due(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 4096, 0);
	start();
	append_event(STR("x"));
	journal_set_due(world.journal, START + 10 * US_PER_SECOND);
	usleep(30000);
	assert_true(journal_next_seq(world.journal) == 2); /* not yet */
	pass(10 * US_PER_SECOND);
	assert_int_equal(journal_wait(world.journal, 2, 20000), OK);
	struct record record = last_record(&arena);
	assert_int_equal(record.kind, RECORD_TICK);
	assert_true(record.t == START + 10 * US_PER_SECOND);
	assert_int_equal(record.payload.len, 0);
	/* One is enough: the reader fires at it. */
	pass(10 * US_PER_SECOND);
	usleep(1200000);
	assert_true(journal_next_seq(world.journal) == 3);
	arena_fini(&arena);
}

static void no_tick_where_a_record_tells_the_time(void **state)
{
	(void)state;
	start();
	pass(10 * US_PER_SECOND);
	append_event(STR("x"));
	journal_set_due(world.journal, START + 5 * US_PER_SECOND);
	usleep(50000);
	assert_true(journal_next_seq(world.journal) == 2);
}

static void ticks_come_at_most_once_a_second(void **state)
{
	(void)state;
	start();
	append_event(STR("x"));
	for (int64_t i = 1; i <= 5; i++) {
		pass(1000); /* a millisecond later the next thing is due */
		journal_set_due(world.journal, atomic_load(&wall));
		assert_int_equal(journal_wait(world.journal, 2, 20000), OK); /* the first is there */
		usleep(20000);
	}
	assert_true(journal_next_seq(world.journal) == 3); /* only the first */
	pass(US_PER_SECOND);
	journal_set_due(world.journal, atomic_load(&wall));
	assert_int_equal(journal_wait(world.journal, 3, 20000), OK);
}

static Cdpd__V1__StoredClock *unpack(struct record record)
{
	assert_int_equal(record.kind, RECORD_CLOCK);
	Cdpd__V1__StoredClock *clock =
	    cdpd__v1__stored_clock__unpack(NULL, record.payload.len, (const uint8_t *)record.payload.ptr);
	assert_non_null(clock);
	return clock;
}

static void assert_hold_at(uint64_t seq, int64_t t, int64_t jump_us)
{
	struct arena arena;
	struct record record;
	arena_init(&arena, 4096, 0);
	assert_int_equal(journal_get(world.journal, seq, &arena, &record), OK);
	Cdpd__V1__StoredClock *clock = unpack(record);
	assert_int_equal(clock->act, CDPD__V1__STORED_CLOCK__ACT__HOLD);
	assert_true(clock->jump_us == jump_us);
	assert_true(record.t == t);
	cdpd__v1__stored_clock__free_unpacked(clock, NULL);
	arena_fini(&arena);
}

static void a_jump_is_held_until_confirmed(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 4096, 0);
	start();
	append_event(STR("before"));
	assert_int_equal(journal_confirm_clock(world.journal, STR("ann")), ERR_NOT_FOUND);
	pass(US_PER_SECOND / 2);
	atomic_fetch_add(&wall, 2 * HOUR);
	assert_true(append_event(STR("after")) == 3); /* the hold stands before it, in the same transaction */
	assert_true(journal_clock_is_held(world.journal));
	assert_hold_at(2, START + US_PER_SECOND / 2, 2 * HOUR);
	assert_true(last_record(&arena).t == START + 2 * HOUR + US_PER_SECOND / 2);
	/* While it is held nothing ticks, and the same jump is not held twice. */
	journal_set_due(world.journal, START + 3 * HOUR);
	pass(2 * HOUR);
	usleep(50000);
	append_event(STR("later"));
	assert_true(journal_next_seq(world.journal) == 5);
	world_stop(&world);
	start();
	assert_true(journal_clock_is_held(world.journal)); /* a restart is no confirmation */
	assert_int_equal(journal_confirm_clock(world.journal, STR("ann")), OK);
	assert_false(journal_clock_is_held(world.journal));
	Cdpd__V1__StoredClock *clock = unpack(last_record(&arena));
	assert_int_equal(clock->act, CDPD__V1__STORED_CLOCK__ACT__CONFIRM);
	assert_string_equal(clock->actor, "ann");
	cdpd__v1__stored_clock__free_unpacked(clock, NULL);
	world_stop(&world);
	start();
	assert_false(journal_clock_is_held(world.journal));
	journal_set_due(world.journal, atomic_load(&wall) + 1000);
	pass(US_PER_SECOND);
	assert_int_equal(journal_wait(world.journal, 6, 5000), OK); /* ticks again */
	assert_int_equal(last_record(&arena).kind, RECORD_TICK);
	arena_fini(&arena);
}

static void a_jump_while_nothing_arrives_is_held_too(void **state)
{
	(void)state;
	start();
	append_event(STR("x"));
	journal_set_due(world.journal, START + HOUR);
	pass(US_PER_SECOND);
	atomic_fetch_add(&wall, 2 * HOUR);
	nudge();
	assert_int_equal(journal_wait(world.journal, 2, 20000), OK);
	assert_true(journal_clock_is_held(world.journal));
	assert_true(journal_next_seq(world.journal) == 3); /* the hold, and no tick with it */
	assert_hold_at(2, START + US_PER_SECOND, 2 * HOUR);
}

static void many_small_steps_are_a_jump(void **state)
{
	(void)state;
	start();
	for (int i = 0; i < 3; i++) {
		atomic_fetch_add(&wall, HOUR / 3);
		append_event(STR("x"));
		assert_false(journal_clock_is_held(world.journal));
	}
	atomic_fetch_add(&wall, 1);
	append_event(STR("x"));
	assert_true(journal_clock_is_held(world.journal));
}

static void downtime_and_silence_are_no_jumps(void **state)
{
	(void)state;
	start();
	append_event(STR("x"));
	pass(48 * HOUR); /* nobody sent anything, the machine slept */
	append_event(STR("x"));
	assert_false(journal_clock_is_held(world.journal));
	world_stop(&world);
	atomic_fetch_add(&wall, 48 * HOUR); /* another boot: the clocks are related in another way */
	atomic_store(&boot, 0);
	start();
	append_event(STR("x"));
	assert_false(journal_clock_is_held(world.journal));
	/* Back and forth again is none either. */
	atomic_fetch_add(&wall, -3 * HOUR);
	append_event(STR("x"));
	atomic_fetch_add(&wall, 3 * HOUR);
	append_event(STR("x"));
	assert_false(journal_clock_is_held(world.journal));
	assert_true(journal_next_seq(world.journal) == 6);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(time_never_goes_back),
	    TEST(a_tick_comes_when_something_is_due),
	    TEST(no_tick_where_a_record_tells_the_time),
	    TEST(ticks_come_at_most_once_a_second),
	    TEST(a_jump_is_held_until_confirmed),
	    TEST(a_jump_while_nothing_arrives_is_held_too),
	    TEST(many_small_steps_are_a_jump),
	    TEST(downtime_and_silence_are_no_jumps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
