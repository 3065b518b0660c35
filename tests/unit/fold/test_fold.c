#include "fold_world.h"

#include "event/position.h"
#include "fold/payload.h"

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof *world);
	world_init(world);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	world_fini(world);
	free(world);
	return 0;
}

static uint64_t verdict_count(const struct world *world, enum outcome_verdict verdict)
{
	uint64_t counts[OUTCOME_VERDICT_COUNT];
	people_verdicts(world->people, counts);
	return counts[verdict];
}

/* ── events in, profiles out ─────────────────────────────────────────────── */

static void events_become_profiles(void **state)
{
	struct world *world = *state;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	uint64_t first = world_send_many(world, 0, 1000, 10);
	world_settle(world);
	for (uint64_t user = 0; user < 10; user++) assert_int_equal(world_count(world, user), 100);
	assert_int_equal(verdict_count(world, OUTCOME_APPLIED), 1000);
	assert_int_equal(world_outcome(world, first).verdict, OUTCOME_APPLIED);
	assert_int_equal(world_outcome(world, first).previous_seq, 0);
	assert_int_equal(world_outcome(world, first + 10).previous_seq, first);
	assert_int_equal(people_applied(world->people), journal_next_seq(world->journal));
	struct fold_status status = world_status(world);
	assert_int_equal(status.applied, journal_next_seq(world->journal));
	assert_int_equal(status.dedup_ids, 1000);
	assert_true(status.is_ready);
	for (int i = 0; i < 15000 && world->commits == 0; i++) sleep_ms(2); /* told after it can be seen */
	assert_true(world->commits > 0);
	world_close(world);
}

static void a_repeat_changes_nothing_and_names_the_winner(void **state)
{
	struct world *world = *state;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	uint64_t winner = world_send(world, 1, 1);
	uint64_t repeat = world_send(world, 1, 1);
	struct sender sender;
	sender_init(&sender, 1);
	struct cdpd_event event = event_make(&sender.arena, 1, 1);
	event.canonical_hash ^= 1;
	sender_event(&sender, &event);
	uint64_t other = sender_send(&sender, world->journal);
	world_settle(world);
	assert_int_equal(world_count(world, 1), 1);
	struct outcome outcome = world_outcome(world, repeat);
	assert_int_equal(outcome.verdict, OUTCOME_DUPLICATE);
	assert_int_equal(outcome.previous_seq, winner);
	outcome = world_outcome(world, other);
	assert_int_equal(outcome.verdict, OUTCOME_CONFLICT);
	assert_int_equal(outcome.previous_seq, winner);
	world_close(world);
}

static void generated_ids_are_not_deduplicated(void **state)
{
	struct world *world = *state;
	struct sender sender;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	sender_init(&sender, 2);
	struct cdpd_event event = event_make(&sender.arena, 1, 1);
	event.flags = EVENT_ID_GENERATED;
	sender_event(&sender, &event);
	sender_event(&sender, &event);
	(void)sender_send(&sender, world->journal);
	world_settle(world);
	assert_int_equal(world_count(world, 1), 2);
	assert_int_equal(world_status(world).dedup_ids, 0);
	world_close(world);
}

static void an_old_event_is_applied_and_marked(void **state)
{
	struct world *world = *state;
	struct sender sender;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	sender_init(&sender, 1);
	struct cdpd_event event = event_make(&sender.arena, 1, 1);
	event.event_time_us -= 30 * US_PER_DAY;
	sender_event(&sender, &event);
	uint64_t seq = sender_send(&sender, world->journal);
	world_settle(world);
	struct outcome outcome = world_outcome(world, seq);
	assert_int_equal(outcome.verdict, OUTCOME_APPLIED);
	assert_int_equal(outcome.reason, OUTCOME_REASON_MAYBE_DUPLICATE);
	assert_int_equal(world_status(world).maybe_duplicates, 1);
	assert_int_equal(world_count(world, 1), 1);
	world_close(world);
}

static void bytes_that_are_no_event_are_refused(void **state)
{
	struct world *world = *state;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	uint64_t bad = world_send_record(world, RECORD_EVENT, STR("\xff\xff\xff\xff not an event"));
	uint64_t empty = world_send_record(world, RECORD_EVENT, STR_NONE);
	uint64_t good = world_send(world, 1, 1);
	world_settle(world);
	assert_int_equal(world->fatal, 0);
	assert_int_equal(world_outcome(world, bad).verdict, OUTCOME_REFUSED);
	assert_int_equal(world_outcome(world, bad).reason, OUTCOME_REASON_UNDECODABLE);
	assert_int_equal(world_outcome(world, empty).verdict, OUTCOME_REFUSED);
	assert_int_equal(world_outcome(world, good).verdict, OUTCOME_APPLIED);
	assert_int_equal(verdict_count(world, OUTCOME_REFUSED), 2);
	world_close(world);
}

static void a_restart_goes_on_where_it_stopped(void **state)
{
	struct world *world = *state;
	uint64_t sent = 0;
	for (int round = 0; round < 4; round++) {
		assert_int_equal(world_open(world), OK);
		world_start(world);
		for (int i = 0; i < 20; i++, sent += 50) (void)world_send_many(world, sent, 50, 7);
		if (round % 2) world_settle(world);
		world_close(world); /* otherwise in the middle of it */
	}
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send_many(world, 0, (size_t)sent, 7); /* all of them again */
	world_settle(world);
	uint64_t total = 0;
	for (uint64_t user = 0; user < 7; user++) total += world_count(world, user);
	assert_int_equal(total, sent);
	assert_int_equal(verdict_count(world, OUTCOME_APPLIED), sent);
	assert_int_equal(verdict_count(world, OUTCOME_DUPLICATE), sent);
	world_close(world);
}

static void a_backlog_is_caught_up(void **state)
{
	struct world *world = *state;
	assert_int_equal(world_open(world), OK);
	for (uint64_t first = 0; first < 40000; first += 5000) (void)world_send_many(world, first, 5000, 9973);
	struct fold_status status = world_status(world);
	assert_int_equal(status.pending, 40001); /* and the definition */
	assert_false(status.is_ready);
	world_start(world);
	world_settle(world);
	assert_int_equal(world_status(world).pending, 0);
	assert_int_equal(verdict_count(world, OUTCOME_APPLIED), 40000);
	assert_int_equal(world_count(world, 0), 5);
	world_close(world);
}

/* ── definitions ─────────────────────────────────────────────────────────── */

/* Of the journal, which is closed. */
static uint64_t world_end(struct world *world)
{
	world_open_journal(world);
	uint64_t end = journal_next_seq(world->journal);
	journal_stop(world->journal);
	journal_close(world->journal);
	return end;
}

static void definitions_are_records_and_appended_when_they_change(void **state)
{
	struct world *world = *state;
	assert_int_equal(world_open(world), OK);
	assert_int_equal(journal_next_seq(world->journal), 2);
	world_start(world);
	(void)world_send(world, 1, 1);
	world_settle(world);
	assert_int_equal(fold_reload(world->fold, &world->config), OK);
	assert_int_equal(journal_next_seq(world->journal), 3); /* nothing changed */
	struct str completed = STR("Order Completed");
	world->features[1] =
	    (struct conf_feature){.name = STR("orders"), .type = STR("count"), .events = &completed, .event_count = 1};
	world->config.feature_count = 2;
	assert_int_equal(fold_reload(world->fold, &world->config), OK);
	assert_int_equal(journal_next_seq(world->journal), 4);
	(void)world_send(world, 1, 2);
	world_settle(world);
	char text[64] = "";
	/* What came after its definition, and by and by what came before. */
	for (int i = 0; i < 30000 && strcmp(text, "2") != 0; i++) {
		world_feature(world, 1, "orders", text, sizeof text);
		assert_true(text[0] == '1' || text[0] == '2');
		sleep_ms(2);
	}
	assert_string_equal(text, "2");
	assert_int_equal(world_count(world, 1), 2);
	world_close(world);
	uint64_t end = world_end(world);
	assert_int_equal(world_open(world), OK);
	assert_int_equal(journal_next_seq(world->journal), end); /* known to be equal: nothing was pending */
	world_close(world);
}

static void a_definition_that_repeats_a_pending_one_changes_nothing(void **state)
{
	struct world *world = *state;
	assert_int_equal(world_open(world), OK);
	(void)world_send(world, 1, 1);
	world_close(world); /* never folded */
	assert_int_equal(world_open(world), OK);
	assert_int_equal(journal_next_seq(world->journal), 3); /* it is there, though not yet folded */
	struct arena arena;
	struct str payload, text = people_definitions_text(world->people);
	struct buf written;
	buf_init(&written, 1 << 16);
	arena_init(&arena, 1 << 14, 0);
	assert_int_equal(text.len, 0);
	assert_int_equal(definitions_write(&world->config, &written), OK);
	assert_int_equal(payload_write_definition(&arena, buf_str(&written), 1, &payload), OK);
	(void)world_send_record(world, RECORD_DEFINITION, payload);
	buf_fini(&written);
	arena_fini(&arena);
	(void)world_send(world, 1, 2);
	world_start(world);
	world_settle(world);
	assert_int_equal(world_count(world, 1), 2); /* counted through: not defined anew in between */
	world_close(world);
}

static void a_definition_nobody_can_fold_stops_the_fold(void **state)
{
	struct world *world = *state;
	struct arena arena;
	struct str payload;
	arena_init(&arena, 1 << 14, 0);
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send(world, 1, 1);
	assert_int_equal(payload_write_definition(&arena, STR("{\"not\":\"definitions\"}"), 1, &payload), OK);
	uint64_t seq = world_send_record(world, RECORD_DEFINITION, payload);
	world_settle(world);
	assert_int_not_equal(world->fatal, OK);
	assert_true(people_applied(world->people) <= seq);
	world_close(world);
	arena_fini(&arena);
}

/* ── refusals ────────────────────────────────────────────────────────────── */

static void kinds_of_a_newer_version_stop_the_fold(void **state)
{
	static const enum record_kind kinds[] = {RECORD_RESOLUTION};
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		struct world world;
		(void)state;
		world_init(&world);
		for (int round = 0; round < 2; round++) {
			assert_int_equal(world_open(&world), OK);
			if (round == 0) {
				(void)world_send(&world, 1, 1);
				(void)world_send_record(&world, kinds[i], STR("from the future"));
				(void)world_send(&world, 1, 2);
			}
			world_start(&world);
			world_settle(&world);
			assert_int_equal(world.fatal, ERR_FORMAT);
			assert_int_equal(world_count(&world, 1), 1); /* what came before stands, nothing after */
			assert_int_equal(people_applied(world.people), 3);
			world_close(&world);
		}
		world_fini(&world);
	}
}

static void acts_are_folded_and_folded_again(void **state)
{
	struct world *world = *state;
	struct test_path profiles = test_dir_path(&world->dir, "profiles");
	struct arena arena;
	struct str payload;
	uint64_t applied = 0;
	struct people_reader *reader;
	struct link_row row;
	assert_int_equal(world_open(world), OK);
	arena_init(&arena, 4096, 0);
	(void)world_send(world, 1, 1);
	(void)world_send(world, 2, 2);
	struct people_act act = {STR("user_id:u1"), STR("user_id:u2"), STR("ops"), STR("a \0 inside")};
	assert_int_equal(payload_write_act(&arena, &act, &payload), OK);
	uint64_t seq = world_send_record(world, RECORD_MERGE, payload);
	world_start(world);
	for (int round = 0; round < 2; round++) {
		world_settle(world);
		assert_int_equal(world->fatal, 0);
		assert_int_equal(people_reader_new(world->people, &reader), OK);
		assert_int_equal(people_read_begin(reader, &applied), OK);
		assert_int_equal(people_find_act(reader, PEOPLE_MERGE, act.a, act.b, seq, &arena, &row), OK);
		assert_true(str_eq(row.reason, STR("unique_conflict")) && str_eq(row.note, act.note));
		people_read_end(reader);
		people_reader_free(reader);
		if (round) break;
		/* The checkpoint is lost: the journal says the same again. */
		world_close(world);
		test_tree_remove(profiles.text);
		assert_int_equal(world_open(world), OK);
		world_start(world);
	}
	arena_fini(&arena);
	world_close(world);
}

static void copy_folder(const char *from, const char *to)
{
	char command[2 * sizeof(struct test_path) + 64];
	(void)snprintf(command, sizeof command, "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
	assert_int_equal(system(command), 0);
}

static void a_checkpoint_ahead_of_the_journal_is_refused(void **state)
{
	struct world *world = *state;
	struct test_path journal = test_dir_path(&world->dir, "journal"), kept = test_dir_path(&world->dir, "kept");
	assert_int_equal(world_open(world), OK);
	(void)world_send(world, 1, 1);
	world_close(world);
	copy_folder(journal.text, kept.text);
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send_many(world, 2, 10, 1);
	world_settle(world);
	world_close(world);
	copy_folder(kept.text, journal.text);
	assert_int_equal(world_open(world), ERR_CORRUPT);
	assert_null(world->fold);
	world_close(world);
}

static void a_foreign_epoch_is_refused(void **state)
{
	struct world *world = *state;
	struct test_path journal = test_dir_path(&world->dir, "journal");
	assert_int_equal(world_open(world), OK);
	world_close(world);
	test_tree_remove(journal.text);
	assert_int_equal(world_open(world), ERR_FOREIGN);
	world_close(world);
}

/* ── time ────────────────────────────────────────────────────────────────── */

#define GENERATION 262144 /* positions whose message ids are forgotten together */

/* Ticks, so that the next record is at `end`. */
static void fill_positions(struct world *world, uint64_t end)
{
	while (journal_next_seq(world->journal) < end) {
		uint64_t left = end - journal_next_seq(world->journal);
		struct sender sender;
		sender_init(&sender, left < 50000 ? (size_t)left : 50000);
		while (sender.count < sender.capacity) sender_add(&sender, RECORD_TICK, STR_NONE);
		(void)sender_send(&sender, world->journal);
	}
}

/* StoredClock: HOLD is the empty message, CONFIRM field 1 with value 1. */
#define HOLD    STR_NONE
#define CONFIRM STR("\x08\x01")

static void a_held_clock_keeps_ids_until_it_is_confirmed(void **state)
{
	struct world *world = *state;
	world->config.dedup_window_us = 200 * US_PER_MS;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	(void)world_send_record(world, RECORD_CLOCK, HOLD);
	(void)world_send(world, 1, 1);
	fill_positions(world, GENERATION);
	sleep_ms(300);
	uint64_t held = world_send(world, 1, 1);
	world_settle(world);
	assert_int_equal(world_outcome(world, held).verdict, OUTCOME_DUPLICATE);
	world_close(world); /* the hold is in the checkpoint */
	assert_int_equal(world_open(world), OK);
	world_start(world);
	held = world_send(world, 1, 1);
	world_settle(world);
	assert_int_equal(world_outcome(world, held).verdict, OUTCOME_DUPLICATE);
	(void)world_send_record(world, RECORD_CLOCK, CONFIRM);
	uint64_t later = world_send(world, 1, 1);
	world_settle(world);
	assert_int_equal(world_outcome(world, later).verdict, OUTCOME_APPLIED);
	assert_int_equal(world_count(world, 1), 2);
	world_close(world);
}

/* Time that stands still until the test lets it pass: how long the machine takes for anything does not matter. */
static _Atomic int64_t clock_skipped;

static int64_t stopped_wall(void *ctx)
{
	return *(const int64_t *)ctx + clock_skipped;
}

static void a_tick_of_time_forgets_ids(void **state)
{
	struct world *world = *state;
	int64_t start = clock_wall_us();
	clock_skipped = 0;
	world->config.dedup_window_us = 100 * US_PER_MS;
	world->clock = (struct clock_source){stopped_wall, stopped_wall, &start};
	assert_int_equal(world_open(world), OK);
	fill_positions(world, GENERATION - 100);
	world_start(world);
	(void)world_send_many(world, 0, 100, 5); /* to the last position of the generation */
	world_settle(world);
	sleep_ms(200); /* of real time: nothing */
	assert_int_equal(journal_next_seq(world->journal), GENERATION);
	assert_int_equal(world_status(world).dedup_ids, 100);
	/* Nothing more is sent: the journal ticks because the fold told it when. */
	clock_skipped = US_PER_SECOND;
	for (int i = 0; i < 15000 && world_status(world).dedup_ids; i++) sleep_ms(2);
	assert_int_equal(world_status(world).dedup_ids, 0);
	assert_true(journal_next_seq(world->journal) > GENERATION);
	world_close(world);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(events_become_profiles),
	    TEST(a_repeat_changes_nothing_and_names_the_winner),
	    TEST(generated_ids_are_not_deduplicated),
	    TEST(an_old_event_is_applied_and_marked),
	    TEST(bytes_that_are_no_event_are_refused),
	    TEST(a_restart_goes_on_where_it_stopped),
	    TEST(a_backlog_is_caught_up),
	    TEST(definitions_are_records_and_appended_when_they_change),
	    TEST(a_definition_that_repeats_a_pending_one_changes_nothing),
	    TEST(a_definition_nobody_can_fold_stops_the_fold),
	    cmocka_unit_test(kinds_of_a_newer_version_stop_the_fold),
	    TEST(acts_are_folded_and_folded_again),
	    TEST(a_checkpoint_ahead_of_the_journal_is_refused),
	    TEST(a_foreign_epoch_is_refused),
	    TEST(a_held_clock_keeps_ids_until_it_is_confirmed),
	    TEST(a_tick_of_time_forgets_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
