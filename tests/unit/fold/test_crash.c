#include "fold_world.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "event/event.h"
#include "fold/marker.h"
#include "profile/backfill.h"

#define ROUNDS     20
#define USERS      13
#define BATCH      60
#define MAGIC_TEXT "boom"

struct shared { /* survives the children */
	_Atomic uint64_t next_id, commits, folds_started;
	_Atomic int starts_behind;
};

static struct shared *shared;

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof *world);
	world_init(world);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	memset(shared, 0, sizeof *shared);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	world_fini(world);
	free(world);
	CHECK(munmap(shared, sizeof *shared) == 0);
	return 0;
}

static uint32_t random_below(uint32_t bound)
{
	uint32_t value;
	random_bytes(&value, sizeof value);
	return value % bound;
}

static void in_child(struct world *world, void (*run)(struct world *world))
{
	const struct rlimit none = {0, 0};
	(void)setrlimit(RLIMIT_CORE, &none);
	CHECK(freopen("/dev/null", "w", stderr)); /* the crash it dies of is wanted */
	run(world);
	_exit(0);
}

static pid_t start_child(struct world *world, void (*run)(struct world *world))
{
	(void)fflush(NULL);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) in_child(world, run);
	return child;
}

static int wait_child(pid_t child)
{
	int status;
	CHECK(waitpid(child, &status, 0) == child);
	return status;
}

/* ── killed at random moments ────────────────────────────────────────────── */

static void count_commit(struct world *world, uint64_t applied)
{
	(void)world;
	(void)applied;
	shared->commits++;
}

/* New ids and, in between, ids that were sent before. */
static void send_some(struct world *world)
{
	struct sender sender;
	uint64_t first = shared->next_id;
	sender_init(&sender, BATCH);
	for (uint64_t i = 0; i < BATCH; i++) {
		uint64_t id = i % 3 == 2 && first > 0 ? random_below((uint32_t)first) : first + i;
		struct cdpd_event event = event_make(&sender.arena, id % USERS, id);
		sender_event(&sender, &event);
	}
	(void)sender_send(&sender, world->journal);
	shared->next_id = first + BATCH;
}

static void fold_and_send_for_ever(struct world *world)
{
	world->on_commit = count_commit;
	CHECK(world_open(world) == OK);
	struct fold_status status = world_status(world);
	if (status.pending > 1) shared->starts_behind++;
	world_start(world);
	shared->folds_started++;
	for (;;) send_some(world);
}

static uint64_t distinct_ids_in_journal(struct world *world)
{
	struct journal_batch batch;
	struct arena arena;
	uint64_t distinct = 0, seq = journal_first_seq(world->journal);
	uint8_t *seen = calloc(shared->next_id + BATCH, 1);
	CHECK(seen);
	journal_batch_init(&batch);
	arena_init(&arena, 1 << 14, 0);
	while (journal_read(world->journal, seq, 1000, 1 << 20, &batch) == OK) {
		for (size_t i = 0; i < batch.count; i++) {
			struct cdpd_event event;
			uint64_t id;
			seq = batch.records[i].seq + 1;
			if (batch.records[i].kind != RECORD_EVENT) continue;
			arena_reset(&arena);
			CHECK(event_decode(batch.records[i].payload, &arena, &event) == OK);
			struct str digits = {event.message_id.ptr + 1, event.message_id.len - 1};
			CHECK(str_to_u64(digits, &id) == OK && id < shared->next_id + BATCH);
			distinct += !seen[id];
			seen[id] = 1;
		}
	}
	journal_batch_fini(&batch);
	arena_fini(&arena);
	free(seen);
	return distinct;
}

static void killed_anywhere_each_event_counts_once(void **state)
{
	struct world *world = *state;
	int killed = 0;
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t starts = shared->folds_started;
		pid_t child = start_child(world, fold_and_send_for_ever);
		/* Now and then while it starts, mostly once it folds. */
		for (int i = 0; i < 20000 && round % 5 && shared->folds_started == starts; i++) sleep_ms(1);
		sleep_ms((long)random_below(120));
		CHECK(kill(child, SIGKILL) == 0);
		int status = wait_child(child);
		killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	}
	assert_int_equal(killed, ROUNDS);
	assert_true(shared->commits > 0);       /* it did fold */
	assert_true(shared->starts_behind > 0); /* and died with work undone */

	assert_int_equal(world_open(world), OK);
	world_start(world);
	world_settle(world);
	assert_int_equal(world->fatal, OK);
	uint64_t distinct = distinct_ids_in_journal(world), counted = 0, verdicts[OUTCOME_VERDICT_COUNT];
	for (uint64_t user = 0; user < USERS; user++) counted += world_count(world, user);
	people_verdicts(world->people, verdicts);
	assert_true(distinct > 0);
	assert_int_equal(verdicts[OUTCOME_QUARANTINED], 0); /* kills are no fault of a record */
	assert_int_equal(counted, distinct);
	assert_int_equal(verdicts[OUTCOME_APPLIED], counted);
	world_close(world);
}

/* ── a record that crashes the fold ──────────────────────────────────────── */

static uint32_t trap_init(void *bytes)
{
	memset(bytes, 0, 8);
	return 8;
}

static int trap_add(void *bytes, uint32_t *len, const struct cdpd_feature_input *input)
{
	uint64_t count;
	(void)len;
	if (str_eq(str_of(input->text.ptr, input->text.len), STR(MAGIC_TEXT))) abort();
	memcpy(&count, bytes, sizeof count);
	count++;
	memcpy(bytes, &count, sizeof count);
	return 0;
}

static int trap_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	uint64_t a, b;
	(void)len;
	(void)other_len;
	memcpy(&a, into, sizeof a);
	memcpy(&b, other, sizeof b);
	a += b;
	memcpy(into, &a, sizeof a);
	return 0;
}

static int trap_read(const void *bytes, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	uint64_t count;
	(void)len;
	(void)now_us;
	memcpy(&count, bytes, sizeof count);
	int written = snprintf(json, json_size, "%llu", (unsigned long long)count);
	return written < 0 || (uint32_t)written >= json_size ? -1 : written;
}

static const struct cdpd_feature_type trap = {.size = sizeof trap,
					      .state_version = 1,
					      .max_state = 8,
					      .exact = true,
					      .needs_field = true,
					      .init = trap_init,
					      .add = trap_add,
					      .merge = trap_merge,
					      .read = trap_read};

/* The poison is taken, and only strikes when the commit reads the value: with all of the transaction in hand. */
static int late_add(void *bytes, uint32_t *len, const struct cdpd_feature_input *input)
{
	uint64_t count;
	(void)len;
	memcpy(&count, bytes, sizeof count);
	count += str_eq(str_of(input->text.ptr, input->text.len), STR(MAGIC_TEXT)) ? 1000000 : 1;
	memcpy(bytes, &count, sizeof count);
	return 0;
}

static volatile char *forbidden;

static int late_read(const void *bytes, uint32_t len, int64_t now_us, char *json, uint32_t json_size)
{
	uint64_t count;
	memcpy(&count, bytes, sizeof count);
	if (count >= 1000000) *forbidden = 1; /* a wild pointer, unlike the other trap */
	return trap_read(bytes, len, now_us, json, json_size);
}

static const struct cdpd_feature_type late_trap = {.size = sizeof late_trap,
						   .state_version = 1,
						   .max_state = 8,
						   .exact = true,
						   .needs_field = true,
						   .init = trap_init,
						   .add = late_add,
						   .merge = trap_merge,
						   .read = late_read};

static void fold_all(struct world *world)
{
	CHECK(world_open(world) == OK);
	world_start(world);
	world_settle(world);
	world_close(world);
}

static void send_around(struct world *world, uint64_t poisoned_from, uint64_t poisoned_to, uint64_t count)
{
	struct sender sender;
	sender_init(&sender, (size_t)count);
	for (uint64_t id = 0; id < count; id++) {
		struct cdpd_event event = event_make(&sender.arena, id % 3, id);
		bool is_bad = id >= poisoned_from && id < poisoned_to;
		event.properties = is_bad ? STR("{\"note\":\"" MAGIC_TEXT "\"}") : STR("{\"note\":\"fine\"}");
		sender_event(&sender, &event);
	}
	(void)sender_send(&sender, world->journal);
}

static void use_trap(struct world *world, struct str type)
{
	static bool is_registered;
	if (!is_registered) {
		assert_int_equal(feature_type_register(STR("trap"), &trap), OK);
		assert_int_equal(feature_type_register(STR("late_trap"), &late_trap), OK);
	}
	is_registered = true;
	if (!forbidden) forbidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(forbidden != MAP_FAILED);
	world->features[1] = (struct conf_feature){.name = STR("notes"), .type = type, .field = STR("properties.note")};
	world->config.feature_count = 2;
}

/* Sanitizers turn a wild pointer into an exit with a report. */
static bool dies(struct world *world)
{
	int status = wait_child(start_child(world, fold_all));
	if (WIFSIGNALED(status)) assert_true(WTERMSIG(status) == SIGABRT || WTERMSIG(status) == SIGSEGV);
	return status != 0;
}

static void prepare_poison(struct world *world)
{
	CHECK(world_open(world) == OK);
	send_around(world, 100, 102, 200);
	world_close(world);
}

static size_t quarantines_naming(struct world *world, struct str plugin)
{
	struct journal_batch batch;
	size_t found = 0;
	journal_batch_init(&batch);
	assert_int_equal(journal_read(world->journal, journal_first_seq(world->journal), 1000, 1 << 20, &batch), OK);
	for (size_t i = 0; i < batch.count; i++) {
		struct str payload = batch.records[i].payload;
		if (batch.records[i].kind != RECORD_QUARANTINE) continue;
		found += memmem(payload.ptr, payload.len, plugin.ptr, plugin.len) != NULL;
	}
	journal_batch_fini(&batch);
	return found;
}

static void a_crashing_record_is_quarantined_and_its_neighbours_applied(void **state)
{
	struct world *world = *state;
	use_trap(world, STR("trap"));
	assert_int_equal(wait_child(start_child(world, prepare_poison)), 0);
	int deaths = 0;
	while (dies(world)) assert_in_range(++deaths, 1, 6);
	assert_int_equal(deaths, 2 * MARKER_CRASHES_MAX); /* two poisoned records, two crashes each */

	assert_int_equal(world_open(world), OK);
	world_start(world);
	world_settle(world);
	uint64_t verdicts[OUTCOME_VERDICT_COUNT], counted = 0;
	people_verdicts(world->people, verdicts);
	assert_int_equal(verdicts[OUTCOME_APPLIED], 198);
	assert_int_equal(verdicts[OUTCOME_QUARANTINED], 2);
	for (uint64_t user = 0; user < 3; user++) counted += world_count(world, user);
	assert_int_equal(counted, 198);
	uint64_t first = 2; /* behind the definition */
	assert_int_equal(world_outcome(world, first + 99).verdict, OUTCOME_APPLIED);
	assert_int_equal(world_outcome(world, first + 100).verdict, OUTCOME_QUARANTINED);
	assert_int_equal(world_outcome(world, first + 100).reason, OUTCOME_REASON_CRASHED);
	assert_int_equal(world_outcome(world, first + 101).verdict, OUTCOME_QUARANTINED);
	assert_int_equal(world_outcome(world, first + 102).verdict, OUTCOME_APPLIED);
	assert_true(journal_is_quarantined(world->journal, first + 100));
	assert_int_equal(quarantines_naming(world, STR("trap")), 2);
	world_close(world);
}

static void a_rebuild_leaves_the_quarantined_record_out(void **state)
{
	struct world *world = *state;
	struct test_path profiles = test_dir_path(&world->dir, "profiles");
	a_crashing_record_is_quarantined_and_its_neighbours_applied(state);
	test_tree_remove(profiles.text);
	assert_false(dies(world));
	assert_int_equal(world_open(world), OK);
	uint64_t verdicts[OUTCOME_VERDICT_COUNT];
	people_verdicts(world->people, verdicts);
	assert_int_equal(verdicts[OUTCOME_APPLIED], 198);
	assert_int_equal(verdicts[OUTCOME_QUARANTINED], 2);
	world_close(world);
}

static void fold_without_trap(struct world *world)
{
	world->config.feature_count = 1;
	CHECK(world_open(world) == OK);
	send_around(world, 100, 101, 200);
	world_start(world);
	world_settle(world);
	world_close(world);
}

static void fold_until_complete(struct world *world)
{
	struct backfill_progress progress;
	CHECK(world_open(world) == OK);
	world_start(world);
	world_settle(world); /* the definition */
	do {
		sleep_ms(2);
		people_backfill_progress(world->people, &progress);
	} while (progress.features);
	world_close(world);
}

/* The old event is left out; nobody who comes while it is counted is blamed. */
static void a_new_feature_that_crashes_on_an_old_event_leaves_it_out(void **state)
{
	struct world *world = *state;
	use_trap(world, STR("trap"));
	assert_int_equal(wait_child(start_child(world, fold_without_trap)), 0);
	int deaths = 0;
	while (wait_child(start_child(world, fold_until_complete)) != 0) assert_in_range(++deaths, 1, 6);
	assert_int_equal(deaths, MARKER_CRASHES_MAX);
	world->config.feature_count = 2;
	assert_int_equal(world_open(world), OK);
	uint64_t verdicts[OUTCOME_VERDICT_COUNT], notes = 0;
	char text[64];
	people_verdicts(world->people, verdicts);
	assert_int_equal(verdicts[OUTCOME_APPLIED], 200);
	assert_int_equal(verdicts[OUTCOME_QUARANTINED], 0);
	for (uint64_t user = 0; user < 3; user++) {
		world_feature(world, user, "notes", text, sizeof text);
		notes += strtoull(text, NULL, 10);
	}
	assert_int_equal(notes, 199);
	assert_true(journal_is_quarantined(world->journal, 2 + 100));
	assert_int_equal(quarantines_naming(world, STR("trap")), 1);
	world_close(world);
}

static void prepare_late_poison(struct world *world)
{
	CHECK(world_open(world) == OK);
	send_around(world, 1700, 1701, 2000);
	world_close(world);
}

static void a_record_that_crashes_the_commit_is_found_among_many(void **state)
{
	struct world *world = *state;
	use_trap(world, STR("late_trap"));
	assert_int_equal(wait_child(start_child(world, prepare_late_poison)), 0);
	int deaths = 0;
	while (dies(world)) assert_in_range(++deaths, 1, 8);
	assert_in_range(deaths, 3, 8); /* whole, a part of it, and twice alone */

	assert_int_equal(world_open(world), OK);
	world_start(world);
	world_settle(world);
	uint64_t verdicts[OUTCOME_VERDICT_COUNT];
	people_verdicts(world->people, verdicts);
	assert_int_equal(verdicts[OUTCOME_APPLIED], 1999);
	assert_int_equal(verdicts[OUTCOME_QUARANTINED], 1);
	assert_int_equal(world_outcome(world, 2 + 1700).verdict, OUTCOME_QUARANTINED);
	world_close(world);
}

static void die_after_commit(struct world *world, uint64_t applied)
{
	(void)world;
	(void)applied;
	(void)raise(SIGKILL);
}

static void send_and_die_in_commit(struct world *world)
{
	world->on_commit = die_after_commit;
	CHECK(world_open(world) == OK);
	(void)world_send(world, 1, shared->next_id++);
	world_start(world);
	sleep_ms(60000);
}

static void dying_outside_of_a_record_blames_none(void **state)
{
	struct world *world = *state;
	for (int round = 0; round < 4; round++) {
		int status = wait_child(start_child(world, send_and_die_in_commit));
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
	}
	assert_int_equal(world_open(world), OK);
	world_start(world);
	world_settle(world);
	assert_int_equal(world_count(world, 1), 4);
	uint64_t verdicts[OUTCOME_VERDICT_COUNT];
	people_verdicts(world->people, verdicts);
	assert_int_equal(verdicts[OUTCOME_QUARANTINED], 0);
	world_close(world);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(killed_anywhere_each_event_counts_once),
	    TEST(a_crashing_record_is_quarantined_and_its_neighbours_applied),
	    TEST(a_rebuild_leaves_the_quarantined_record_out),
	    TEST(a_new_feature_that_crashes_on_an_old_event_leaves_it_out),
	    TEST(a_record_that_crashes_the_commit_is_found_among_many),
	    TEST(dying_outside_of_a_record_blames_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
