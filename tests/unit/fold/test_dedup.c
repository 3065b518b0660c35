#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fold/dedup.h"
#include "fold/dedup_row.h"
#include "store/test_dir.h"

#define MILLION   1000000u
#define IDS_EACH  ((uint64_t)1 << DEDUP_GENERATION_BITS)
#define WINDOW_US (10 * US_PER_SECOND)

struct world {
	struct test_dir dir;
	struct test_path env_path;
	struct store_env *env;
	struct dedup *dedup;
	struct store_txn *txn;
	uint64_t seq; /* of the last record */
	int64_t t;
};

static void world_open(struct world *world)
{
	const struct store_options options = {.map_bytes = UINT64_C(1) << 34, .max_dbs = 8, .format = 1};
	assert_int_equal(store_open(world->env_path.text, &options, &world->env), OK);
	assert_int_equal(dedup_open(world->env, &world->dedup), OK);
	dedup_configure(world->dedup, WINDOW_US, 100 * MILLION);
	assert_int_equal(dedup_load(world->dedup, NULL), OK);
}

static void world_close(struct world *world)
{
	dedup_close(world->dedup);
	store_close(world->env);
}

static void world_reopen(struct world *world)
{
	world_close(world);
	world_open(world);
}

static int setup(void **state)
{
	static struct world world;
	world = (struct world){.t = 1000 * US_PER_SECOND};
	world.dir = test_dir_make();
	world.env_path = test_dir_path(&world.dir, "profiles");
	world_open(&world);
	*state = &world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	world_close(world);
	test_dir_remove(&world->dir);
	return 0;
}

static void begin(struct world *world)
{
	assert_int_equal(store_begin(world->env, true, &world->txn), OK);
}

static void commit(struct world *world)
{
	assert_int_equal(dedup_flush(world->dedup, world->txn), OK);
	assert_int_equal(store_commit(world->txn), OK);
	dedup_committed(world->dedup);
}

static void roll_back(struct world *world)
{
	store_abort(world->txn);
	assert_int_equal(dedup_aborted(world->dedup), OK);
}

static enum dedup_verdict check_as(struct world *world, const char *source, uint64_t id, uint64_t content,
				   uint64_t *winner)
{
	char text[32];
	enum dedup_verdict verdict;
	(void)snprintf(text, sizeof text, "m-%llu", (unsigned long long)id);
	struct cdpd_event event = {
	    .source_id = str_from(source), .message_id = str_from(text), .canonical_hash = content};
	dedup_advance(world->dedup, world->seq, world->t);
	assert_int_equal(dedup_check(world->dedup, world->txn, &event, world->seq, world->t, &verdict, winner), OK);
	return verdict;
}

static enum dedup_verdict check(struct world *world, uint64_t id, uint64_t *winner)
{
	world->seq++;
	return check_as(world, "web", id, id * 3, winner);
}

static enum dedup_verdict check_now(struct world *world, uint64_t id)
{
	uint64_t winner;
	begin(world);
	enum dedup_verdict verdict = check(world, id, &winner);
	commit(world);
	return verdict;
}

/* `count` new ids from `first`, one record each. */
static void add(struct world *world, uint64_t first, uint64_t count)
{
	uint64_t winner;
	begin(world);
	for (uint64_t id = first; id < first + count; id++) {
		assert_int_equal(check(world, id, &winner), DEDUP_NEW);
	}
	commit(world);
}

static void next_generation(struct world *world)
{
	world->seq = (world->seq / IDS_EACH + 1) * IDS_EACH;
}

static uint64_t rows(struct world *world)
{
	struct store_txn *txn;
	store_db db;
	uint64_t count;
	assert_int_equal(store_db_open(world->env, DEDUP_DB, 0, &db), OK);
	assert_int_equal(store_begin(world->env, false, &txn), OK);
	assert_int_equal(store_count(txn, db, &count), OK);
	store_abort(txn);
	return count;
}

static struct dedup_stats stats(const struct world *world)
{
	struct dedup_stats out;
	dedup_stats(world->dedup, world->t, &out);
	return out;
}

/* ── verdicts ────────────────────────────────────────────────────────────── */

static void a_repeat_is_a_duplicate_and_other_content_a_conflict(void **state)
{
	struct world *world = *state;
	uint64_t winner;
	begin(world);
	world->seq = 7;
	assert_int_equal(check_as(world, "web", 1, 100, &winner), DEDUP_NEW);
	world->seq = 8;
	assert_int_equal(check_as(world, "web", 1, 100, &winner), DEDUP_DUPLICATE);
	assert_int_equal(winner, 7);
	assert_int_equal(check_as(world, "web", 1, 101, &winner), DEDUP_CONFLICT);
	assert_int_equal(winner, 7);
	assert_int_equal(check_as(world, "app", 1, 100, &winner), DEDUP_NEW); /* an id belongs to its source */
	commit(world);
	world->seq = 9;
	begin(world);
	assert_int_equal(check_as(world, "web", 1, 100, &winner), DEDUP_DUPLICATE);
	assert_int_equal(check_as(world, "app", 1, 100, &winner), DEDUP_DUPLICATE);
	assert_int_equal(winner, 8);
	commit(world);
	assert_int_equal(stats(world).ids, 2);
}

static void source_and_id_do_not_run_together(void **state)
{
	struct world *world = *state;
	struct cdpd_event one = {.source_id = STR("a"), .message_id = STR("bc")};
	struct cdpd_event two = {.source_id = STR("ab"), .message_id = STR("c")};
	enum dedup_verdict verdict;
	uint64_t winner;
	begin(world);
	assert_int_equal(dedup_check(world->dedup, world->txn, &one, 1, 0, &verdict, &winner), OK);
	assert_int_equal(dedup_check(world->dedup, world->txn, &two, 2, 0, &verdict, &winner), OK);
	assert_int_equal(verdict, DEDUP_NEW);
	commit(world);
}

static void a_generated_id_is_never_remembered(void **state)
{
	struct world *world = *state;
	struct cdpd_event event = {
	    .source_id = STR("web"), .message_id = STR("made-here"), .flags = EVENT_ID_GENERATED};
	enum dedup_verdict verdict;
	uint64_t winner;
	begin(world);
	for (uint64_t seq = 1; seq < 4; seq++) {
		assert_int_equal(dedup_check(world->dedup, world->txn, &event, seq, 0, &verdict, &winner), OK);
		assert_int_equal(verdict, DEDUP_NEW);
	}
	commit(world);
	assert_int_equal(stats(world).ids, 0);
	assert_int_equal(rows(world), 0);
}

static void an_id_that_ingest_would_not_take_is_invalid(void **state)
{
	struct world *world = *state;
	static const char text[EVENT_ID_MAX + 1];
	struct cdpd_event event = {.source_id = STR("web"), .message_id = {text, sizeof text}};
	enum dedup_verdict verdict;
	uint64_t winner;
	begin(world);
	assert_int_equal(dedup_check(world->dedup, world->txn, &event, 1, 0, &verdict, &winner), ERR_INVALID);
	event.message_id.len = EVENT_ID_MAX;
	assert_int_equal(dedup_check(world->dedup, world->txn, &event, 1, 0, &verdict, &winner), OK);
	commit(world);
}

static void a_million_ids_live_and_after_a_restart(void **state)
{
	struct world *world = *state;
	uint64_t winner;
	for (uint64_t first = 0; first < MILLION; first += 50000) add(world, first, 50000);
	assert_int_equal(stats(world).ids, MILLION);
	assert_int_equal(rows(world), MILLION);
	for (int round = 0; round < 2; round++) {
		begin(world);
		for (uint64_t id = 0; id < MILLION; id += round ? 1 : 7) {
			assert_int_equal(check(world, id, &winner), DEDUP_DUPLICATE);
			assert_int_equal(winner, id + 1);
		}
		roll_back(world);
		world->seq = MILLION;
		world_reopen(world);
		assert_int_equal(stats(world).ids, MILLION);
	}
	assert_int_equal(check_now(world, MILLION), DEDUP_NEW);
}

static void an_empty_one_is_small(void **state)
{
	struct world *world = *state;
	assert_int_equal(stats(world).filter_bytes, 0);
	add(world, 0, 100);
	assert_in_range(stats(world).filter_bytes, 1, 64 * 1024);
}

/* ── forgetting ──────────────────────────────────────────────────────────── */

static void a_generation_is_forgotten_past_the_window(void **state)
{
	struct world *world = *state;
	add(world, 0, 10);
	int64_t last_t = world->t;
	next_generation(world);
	world->t += WINDOW_US; /* exactly the window: still remembered */
	assert_int_equal(dedup_next_due(world->dedup, world->seq), last_t + WINDOW_US + 1);
	assert_int_equal(check_now(world, 3), DEDUP_DUPLICATE);
	world->t += 1;
	assert_int_equal(check_now(world, 3), DEDUP_NEW);
	assert_int_equal(check_now(world, 3), DEDUP_DUPLICATE);
	assert_int_equal(stats(world).ids, 1);
	assert_int_equal(rows(world), 1);
	assert_int_equal(dedup_next_due(world->dedup, world->seq), INT64_MAX);
}

static void the_generation_being_filled_is_kept(void **state)
{
	struct world *world = *state;
	add(world, 0, 10);
	world->t += 100 * WINDOW_US;
	assert_int_equal(dedup_next_due(world->dedup, world->seq + 1), INT64_MAX);
	assert_int_equal(check_now(world, 3), DEDUP_DUPLICATE);
}

static void the_bound_of_ids_forgets_the_oldest(void **state)
{
	struct world *world = *state;
	dedup_configure(world->dedup, WINDOW_US, 250);
	for (uint64_t generation = 0; generation < 5; generation++) {
		add(world, generation * 100, 100);
		next_generation(world);
		world->t += US_PER_SECOND;
	}
	/* 500 ids came: generations 0 to 2 had to go to get below 250 at the next record. */
	assert_int_equal(check_now(world, 450), DEDUP_DUPLICATE);
	assert_int_equal(stats(world).ids, 200);
	assert_int_equal(check_now(world, 399), DEDUP_DUPLICATE);
	assert_int_equal(check_now(world, 299), DEDUP_NEW);
	/* The last forgotten id came at 1002 s, it is 1005 s now: the effective window says so. */
	assert_int_equal(stats(world).window_us, 3 * US_PER_SECOND);
	world_reopen(world);
	assert_int_equal(stats(world).window_us, 3 * US_PER_SECOND);
	assert_int_equal(check_now(world, 298), DEDUP_NEW);
	assert_int_equal(check_now(world, 399), DEDUP_DUPLICATE);
}

static void forgotten_rows_go_in_slices(void **state)
{
	struct world *world = *state;
	add(world, 0, 5000);
	next_generation(world);
	world->t += WINDOW_US + 1;
	begin(world);
	dedup_advance(world->dedup, world->seq, world->t);
	commit(world);
	assert_int_equal(rows(world), 4000);
	assert_int_equal(check_now(world, 4999), DEDUP_NEW); /* forgotten, whether its row is there or not */
	world_reopen(world);
	assert_int_equal(check_now(world, 4998), DEDUP_NEW);
	for (int i = 0; i < 10 && dedup_has_garbage(world->dedup); i++) {
		begin(world);
		commit(world);
	}
	assert_false(dedup_has_garbage(world->dedup));
	assert_int_equal(rows(world), 2);
	assert_int_equal(stats(world).ids, 2);
}

static void sweeping_keeps_up_with_a_steady_stream(void **state)
{
	struct world *world = *state;
	dedup_configure(world->dedup, WINDOW_US, 20000);
	for (uint64_t i = 0; i < 40; i++) {
		add(world, i * 4000, 4000);
		next_generation(world);
	}
	assert_in_range(stats(world).ids, 1, 24000);
	assert_in_range(rows(world), 1, 24000 + 9000);
}

static void a_held_clock_forgets_nothing_by_time(void **state)
{
	struct world *world = *state;
	add(world, 0, 10);
	next_generation(world);
	world->t += 50 * WINDOW_US;
	begin(world);
	dedup_hold(world->dedup, true);
	commit(world);
	assert_int_equal(dedup_next_due(world->dedup, world->seq), INT64_MAX);
	assert_int_equal(check_now(world, 3), DEDUP_DUPLICATE);
	world_reopen(world);
	assert_int_equal(check_now(world, 3), DEDUP_DUPLICATE);
	begin(world);
	dedup_hold(world->dedup, false);
	commit(world);
	assert_int_equal(check_now(world, 3), DEDUP_NEW);
}

static void an_old_event_may_be_a_duplicate(void **state)
{
	struct world *world = *state;
	struct cdpd_event event = {.event_time_us = world->t - WINDOW_US};
	begin(world);
	assert_false(dedup_is_maybe_duplicate(world->dedup, &event, world->t));
	event.event_time_us--;
	assert_true(dedup_is_maybe_duplicate(world->dedup, &event, world->t));
	event.flags = EVENT_ID_GENERATED;
	assert_false(dedup_is_maybe_duplicate(world->dedup, &event, world->t));
	commit(world);
	assert_int_equal(stats(world).maybe_duplicates, 1);
	begin(world);
	event.flags = 0;
	assert_true(dedup_is_maybe_duplicate(world->dedup, &event, world->t));
	roll_back(world);
	assert_int_equal(stats(world).maybe_duplicates, 1);
	world_reopen(world);
	assert_int_equal(stats(world).maybe_duplicates, 1);
}

/* ── transactions that fail ──────────────────────────────────────────────── */

static void an_abort_takes_ids_back(void **state)
{
	struct world *world = *state;
	uint64_t winner;
	add(world, 0, 1000);
	begin(world);
	/* Enough to make the filter's table grow, from rows that are then rolled back. */
	for (uint64_t id = 1000; id < 20000; id++) assert_int_equal(check(world, id, &winner), DEDUP_NEW);
	roll_back(world);
	world->seq = 1000;
	assert_int_equal(stats(world).ids, 1000);
	assert_int_equal(rows(world), 1000);
	begin(world);
	for (uint64_t id = 0; id < 1000; id++) assert_int_equal(check(world, id, &winner), DEDUP_DUPLICATE);
	for (uint64_t id = 1000; id < 20000; id++) assert_int_equal(check(world, id, &winner), DEDUP_NEW);
	for (uint64_t id = 1000; id < 20000; id++) assert_int_equal(check(world, id, &winner), DEDUP_DUPLICATE);
	commit(world);
	assert_int_equal(stats(world).ids, 20000);
}

static void an_abort_takes_forgetting_back(void **state)
{
	struct world *world = *state;
	uint64_t winner;
	for (int i = 0; i < 10; i++) { /* more than a whole table of the filter */
		add(world, (uint64_t)i * 10, 10);
		next_generation(world);
	}
	begin(world);
	world->t += WINDOW_US + 1;
	assert_int_equal(check(world, 3, &winner), DEDUP_NEW);
	roll_back(world);
	world->t -= 1; /* replayed, the clock stands a little earlier */
	assert_int_equal(stats(world).ids, 100);
	begin(world);
	for (uint64_t id = 0; id < 100; id++) assert_int_equal(check(world, id, &winner), DEDUP_DUPLICATE);
	commit(world);
}

static void aborts_again_and_again_do_not_wear_the_filter_out(void **state)
{
	struct world *world = *state;
	uint64_t winner;
	for (int round = 0; round < 50; round++) {
		begin(world);
		for (uint64_t i = 0; i < 3000; i++) {
			uint64_t id = (uint64_t)round * 3000 + i;
			assert_int_equal(check(world, id, &winner), DEDUP_NEW);
		}
		roll_back(world);
	}
	assert_int_equal(stats(world).ids, 0);
	add(world, 0, 3000);
	assert_int_equal(check_now(world, 2999), DEDUP_DUPLICATE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_repeat_is_a_duplicate_and_other_content_a_conflict),
	    TEST(source_and_id_do_not_run_together),
	    TEST(a_generated_id_is_never_remembered),
	    TEST(an_id_that_ingest_would_not_take_is_invalid),
	    TEST(a_million_ids_live_and_after_a_restart),
	    TEST(an_empty_one_is_small),
	    TEST(a_generation_is_forgotten_past_the_window),
	    TEST(the_generation_being_filled_is_kept),
	    TEST(the_bound_of_ids_forgets_the_oldest),
	    TEST(forgotten_rows_go_in_slices),
	    TEST(sweeping_keeps_up_with_a_steady_stream),
	    TEST(a_held_clock_forgets_nothing_by_time),
	    TEST(an_old_event_may_be_a_duplicate),
	    TEST(an_abort_takes_ids_back),
	    TEST(an_abort_takes_forgetting_back),
	    TEST(aborts_again_and_again_do_not_wear_the_filter_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
