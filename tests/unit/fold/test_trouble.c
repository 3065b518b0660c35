#include "fold_world.h"

#include <stdatomic.h>

/* How often each is to fail, and with what; counted down as it does. */
static _Atomic int commit_failures, apply_failures, failure, releases;

int __wrap_people_commit(struct people *people, uint64_t next_seq, int64_t t);
int __real_people_commit(struct people *people, uint64_t next_seq, int64_t t);
int __wrap_people_apply(struct people *people, const struct cdpd_event *event, uint64_t seq, int64_t t,
			struct apply_result *out);
int __real_people_apply(struct people *people, const struct cdpd_event *event, uint64_t seq, int64_t t,
			struct apply_result *out);
void __wrap_journal_release_ballast(struct journal *journal);
void __real_journal_release_ballast(struct journal *journal);

static bool is_to_fail(_Atomic int *left)
{
	if (atomic_load(left) <= 0) return false;
	atomic_fetch_sub(left, 1);
	return true;
}

int __wrap_people_commit(struct people *people, uint64_t next_seq, int64_t t)
{
	if (!is_to_fail(&commit_failures)) return __real_people_commit(people, next_seq, t);
	people_abort(people); /* the transaction is gone either way */
	return failure;
}

int __wrap_people_apply(struct people *people, const struct cdpd_event *event, uint64_t seq, int64_t t,
			struct apply_result *out)
{
	/* In the middle, so that there is something to take back. */
	if (seq % 100 == 50 && is_to_fail(&apply_failures)) return failure;
	return __real_people_apply(people, event, seq, t, out);
}

void __wrap_journal_release_ballast(struct journal *journal)
{
	atomic_fetch_add(&releases, 1);
	__real_journal_release_ballast(journal);
}

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof *world);
	world_init(world);
	commit_failures = apply_failures = failure = releases = 0;
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

static void assert_each_counted_once(struct world *world, uint64_t events)
{
	uint64_t verdicts[OUTCOME_VERDICT_COUNT], counted = 0;
	people_verdicts(world->people, verdicts);
	for (uint64_t user = 0; user < 10; user++) counted += world_count(world, user);
	assert_int_equal(counted, events);
	assert_int_equal(verdicts[OUTCOME_APPLIED], events);
	assert_int_equal(verdicts[OUTCOME_DUPLICATE], 0);
	assert_int_equal(world_status(world).dedup_ids, events);
}

static void run_through(struct world *world)
{
	assert_int_equal(world_open(world), OK);
	for (uint64_t first = 0; first < 1000; first += 100) (void)world_send_many(world, first, 100, 10);
	world_start(world);
	world_settle(world);
	assert_int_equal(commit_failures, 0); /* they did happen */
	assert_int_equal(apply_failures, 0);
}

static void a_full_disk_loses_nothing(void **state)
{
	struct world *world = *state;
	failure = ERR_FULL;
	commit_failures = 2;
	run_through(world);
	assert_int_equal(world->fatal, OK);
	assert_int_equal(releases, 2);
	assert_each_counted_once(world, 1000);
	world_close(world);
}

static void no_memory_in_the_middle_takes_all_back(void **state)
{
	struct world *world = *state;
	failure = ERR_NOMEM;
	apply_failures = 2;
	run_through(world);
	assert_int_equal(world->fatal, OK);
	assert_int_equal(releases, 0);
	assert_each_counted_once(world, 1000);
	world_close(world);
}

static void a_restart_finds_it_all_again(void **state)
{
	struct world *world = *state;
	failure = ERR_FULL;
	apply_failures = 1;
	run_through(world);
	world_close(world);
	assert_int_equal(world_open(world), OK);
	world_start(world);
	world_settle(world);
	assert_each_counted_once(world, 1000);
	world_close(world);
}

static void a_stop_ends_the_waiting(void **state)
{
	struct world *world = *state;
	failure = ERR_FULL;
	commit_failures = 1000000;
	assert_int_equal(world_open(world), OK);
	(void)world_send_many(world, 0, 10, 10);
	world_start(world);
	while (releases == 0) sleep_ms(1);
	world_close(world);
	commit_failures = 0;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	world_settle(world);
	assert_each_counted_once(world, 10);
	world_close(world);
}

static void ends_with(struct world *world, int status)
{
	failure = status;
	commit_failures = 1;
	assert_int_equal(world_open(world), OK);
	(void)world_send_many(world, 0, 10, 10);
	world_start(world);
	world_settle(world);
	assert_int_equal(commit_failures, 0);
	assert_int_equal(world->fatal, status);
	assert_int_equal(world->commits, 0);
	world_close(world);
}

static void a_panic_ends_the_daemon(void **state)
{
	ends_with(*state, ERR_PANIC);
}

static void corruption_ends_the_daemon(void **state)
{
	ends_with(*state, ERR_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_full_disk_loses_nothing),    TEST(no_memory_in_the_middle_takes_all_back),
	    TEST(a_restart_finds_it_all_again), TEST(a_stop_ends_the_waiting),
	    TEST(a_panic_ends_the_daemon),      TEST(corruption_ends_the_daemon),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
