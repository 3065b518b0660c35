/* New features through the whole fold: ticks alone let them count what was there, cut into transactions, over restarts, damage and crashes,
 * and a rebuild comes to the same. */
#include "fold_world.h"

#include <stdlib.h>

#include "profile/backfill.h"
#include "profile/segment.h"

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
	world.config.journal.segment_bytes = 1 << 20;
	*state = &world;
	return 0;
}

static int teardown(void **state)
{
	world_fini(*state);
	return 0;
}

static void add_feature(struct world *world, const char *name)
{
	world->features[world->config.feature_count++] =
	    (struct conf_feature){.name = str_from(name), .type = STR("count"), .field = STR_NONE, .key = STR_NONE};
	if (world->fold) assert_int_equal(fold_reload(world->fold, &world->config), OK);
}

static struct backfill_progress progress_of(struct world *world)
{
	struct backfill_progress progress;
	people_backfill_progress(world->people, &progress);
	return progress;
}

static uint64_t count_of(struct world *world, uint64_t user, const char *name)
{
	char text[64];
	world_feature(world, user, name, text, sizeof text);
	return strtoull(text, NULL, 10);
}

/* Ticks, nothing else, until nothing is left to count; the definition is folded. */
static void until_complete(struct world *world)
{
	for (int i = 0; i < 60000 && !world->fatal; i++) {
		if (progress_of(world).features == 0) return;
		pass(US_PER_SECOND);
		sleep_ms(1);
	}
	fail_msg("the new feature did not come to an end");
}

static void ticks_alone_let_a_new_feature_count_what_was_there(void **state)
{
	struct world *world = *state;
	const uint64_t users = 100, events = 25000; /* more than one tick's share */
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send_many(world, 0, events, users);
	world_settle(world);
	add_feature(world, "late");
	world_settle(world);
	assert_int_equal(progress_of(world).features, 1);
	assert_int_equal(progress_of(world).next, 1);
	assert_int_equal(count_of(world, 7, "late"), 0);
	pass(US_PER_SECOND);
	for (int i = 0; i < 60000 && progress_of(world).next < 5000; i++) sleep_ms(1);
	assert_int_not_equal(progress_of(world).features, 0); /* a second does not bring it all */
	assert_true(progress_of(world).permille < 1000);
	(void)world_send_many(world, events, users, users); /* and live */
	world_settle(world);
	until_complete(world);
	for (uint64_t user = 0; user < users; user++)
		assert_int_equal(count_of(world, user, "late"), events / users + 1);
	assert_int_equal(progress_of(world).permille, 1000);
	world_close(world);
}

static void restarts_neither_lose_nor_repeat_anything(void **state)
{
	struct world *world = *state;
	const uint64_t users = 50, events = 20000;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send_many(world, 0, events, users);
	world_settle(world);
	add_feature(world, "late");
	world_settle(world);
	for (int i = 0; i < 12; i++) {
		pass(US_PER_SECOND / 10);
		(void)world_send_many(world, events + (uint64_t)i, 1, users);
		world_settle(world);
		world_close(world);
		assert_int_equal(world_open(world), OK);
		world_start(world);
		if (i == 5) add_feature(world, "later"); /* while the first is at work */
	}
	world_settle(world);
	until_complete(world);
	for (uint64_t user = 0; user < users; user++) {
		assert_int_equal(count_of(world, user, "late"), count_of(world, user, "events"));
		assert_int_equal(count_of(world, user, "later"), count_of(world, user, "events"));
	}
	world_close(world);
}

/* profiles/ is thrown away: the journal alone says everything. */
static void rebuild(struct world *world)
{
	struct test_path profiles = test_dir_path(&world->dir, "profiles");
	world_close(world);
	assert_int_equal(store_remove_env(profiles.text), OK);
	assert_int_equal(world_open(world), OK);
	world_start(world);
	world_settle(world);
}

static const struct conf_segment busy = {
    .name = STR("busy"),
    .condition = STR("{\"name\":\"late\",\"op\":\"at_least\",\"source\":\"feature\",\"value\":100}")};

static uint64_t members(struct world *world, const char *name)
{
	struct people_reader *reader;
	struct segment_info info;
	struct arena arena;
	uint64_t applied;
	arena_init(&arena, 4096, 0);
	CHECK(people_reader_new(world->people, &reader) == OK);
	CHECK(people_read_begin(reader, &applied) == OK);
	uint64_t count = people_segment(reader, str_from(name), &arena, &info) == OK ? info.members : UINT64_MAX;
	people_read_end(reader);
	people_reader_free(reader);
	arena_fini(&arena);
	return count;
}

static void a_rebuild_changes_nobody(void **state)
{
	struct world *world = *state;
	static struct conf_segment segments[1];
	const uint64_t users = 40;
	segments[0] = busy;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send_many(world, 0, 4000, users);
	world_settle(world);
	world->config.segments = segments;
	world->config.segment_count = 1;
	add_feature(world, "late");
	world_settle(world);
	for (uint64_t i = 0; i < 200; i++) {
		if (i % 10 == 0) pass(7001);
		(void)world_send(world, i % 7, 4000 + i);
	}
	world_settle(world);
	/* Where it stands in the middle is a matter of records too: all of them are there again. */
	struct backfill_progress before = progress_of(world);
	uint64_t live[40], total = 0, again = 0;
	for (uint64_t user = 0; user < users; user++) total += live[user] = count_of(world, user, "late");
	assert_int_equal(before.features, 1);
	assert_true(before.next > 1 && total > 200);
	assert_int_equal(members(world, "busy"), 0); /* waits */
	rebuild(world);
	struct backfill_progress after = progress_of(world);
	assert_int_equal(after.next, before.next);
	for (uint64_t user = 0; user < users; user++) {
		assert_int_equal(count_of(world, user, "late"), live[user]);
		again += live[user];
	}
	assert_int_equal(again, total);
	until_complete(world);
	for (int i = 0; i < 60000 && members(world, "busy") != users; i++) {
		pass(US_PER_SECOND);
		sleep_ms(1);
	}
	assert_int_equal(members(world, "busy"), users);
	for (uint64_t user = 0; user < users; user++) live[user] = count_of(world, user, "late");
	rebuild(world);
	until_complete(world);
	for (uint64_t user = 0; user < users; user++) {
		assert_int_equal(count_of(world, user, "late"), live[user]);
		assert_int_equal(live[user], count_of(world, user, "events"));
	}
	world_close(world);
}

/* Retention took the beginning; what is still to be counted it leaves alone. */
static void retention_waits_for_what_is_being_counted(void **state)
{
	struct world *world = *state;
	const uint64_t users = 10;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	uint64_t sent = 0;
	for (; sent < 20000; sent += 2000) (void)world_send_many(world, sent, 2000, users);
	world_settle(world);
	uint64_t end = journal_next_seq(world->journal);
	add_feature(world, "late");
	world_settle(world);
	/* Everything is too old at once. */
	world->config.journal.retention_us = US_PER_SECOND;
	world->config.journal.segment_age_us = US_PER_SECOND;
	journal_set_conf(world->journal, &world->config.journal);
	assert_int_equal(progress_of(world).next, 1);
	for (int i = 0; i < 5; i++) {
		pass(US_PER_SECOND / 50); /* 200 positions, and no tick */
		(void)world_send(world, 0, sent++);
		world_settle(world);
	}
	assert_true(journal_first_seq(world->journal) <= progress_of(world).next);
	until_complete(world);
	for (uint64_t user = 0; user < users; user++)
		assert_int_equal(count_of(world, user, "late"), count_of(world, user, "events"));
	for (int i = 0; i < 60000 && journal_first_seq(world->journal) < end; i++) {
		pass(US_PER_SECOND);
		sleep_ms(1);
	}
	assert_true(journal_first_seq(world->journal) >= end);
	/* Another one finds the rest alone, and people stay who they are. */
	add_feature(world, "later");
	world_settle(world);
	until_complete(world);
	for (uint64_t user = 0; user < users; user++) {
		assert_true(count_of(world, user, "later") <= 5);
		assert_true(count_of(world, user, "late") >= 2000);
	}
	world_close(world);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(ticks_alone_let_a_new_feature_count_what_was_there),
	    TEST(restarts_neither_lose_nor_repeat_anything),
	    TEST(a_rebuild_changes_nobody),
	    TEST(retention_waits_for_what_is_being_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
