#include "journal/journal_world.h"

#include <sys/stat.h>

#include "store/disk_faults.h"
#include "store/store.h"

static atomic_int no_memory_for; /* that many transactions */

int __wrap_store_begin(struct store_env *env, bool writes, struct store_txn **out);
int __real_store_begin(struct store_env *env, bool writes, struct store_txn **out);

int __wrap_store_begin(struct store_env *env, bool writes, struct store_txn **out)
{
	if (!writes || atomic_load(&no_memory_for) == 0) return __real_store_begin(env, writes, out);
	(void)atomic_fetch_sub(&no_memory_for, 1);
	*out = NULL;
	return ERR_NOMEM;
}

static int set_up(void **state)
{
	atomic_store(&no_memory_for, 0);
	disk_faults_clear();
	return world_set_up(state);
}

static int tear_down(void **state)
{
	disk_faults_clear();
	return world_tear_down(state);
}

static int submit(const char *payload, bool is_urgent)
{
	struct request request;
	request_init(&request, str_from(payload));
	request.append.is_urgent = is_urgent;
	return request_submit_and_wait(&request);
}

static off_t ballast_bytes(void)
{
	struct stat st;
	struct test_path path = test_dir_path(&world.dir, "ballast");
	return stat(path.text, &st) == 0 ? st.st_blocks * 512 : 0;
}

static void a_full_budget_refuses_and_resumes(void **state)
{
	(void)state;
	world_start(&world);
	assert_int_equal(submit("one", false), OK);
	world.conf.disk_free_min = UINT64_MAX;
	journal_set_conf(world.journal, &world.conf);
	assert_int_equal(submit("refused", false), ERR_FULL);
	assert_non_null(journal_refusal(world.journal));
	assert_int_equal(submit("the fold's own", true), OK);
	assert_true(read_all(1, 10, 1000, NULL) == 2); /* reading goes on */
	world.conf.disk_free_min = 1;
	journal_set_conf(world.journal, &world.conf);
	assert_int_equal(submit("two", false), OK);
	assert_null(journal_refusal(world.journal));
	assert_true(journal_next_seq(world.journal) == 4);
}

static void no_space_is_answered_and_passes(void **state)
{
	(void)state;
	struct journal_counters counters;
	world_start(&world);
	assert_int_equal(submit("one", false), OK);
	atomic_store(&fail_write.error, ENOSPC);
	assert_int_equal(submit("lost", false), ERR_FULL);
	assert_true(atomic_load(&fail_write.fired) > 0);
	assert_true(journal_next_seq(world.journal) == 2);
	assert_int_equal(submit("refused at once", false), ERR_FULL);
	assert_string_equal(journal_refusal(world.journal), "the disk is almost full");
	disk_faults_clear();
	EVENTUALLY(submit("two", false) == OK); /* by itself, without a restart */
	assert_null(journal_refusal(world.journal));
	assert_true(journal_next_seq(world.journal) == 3);
	journal_counters(world.journal, &counters);
	assert_true(counters.received == 2); /* what was not taken was not counted */
	assert_true(read_all(1, 10, 1000, NULL) == 2);
}

static void urgent_records_get_the_ballast(void **state)
{
	(void)state;
	world_start(&world);
	assert_true(ballast_bytes() >= (off_t)world.conf.ballast_bytes);
	atomic_store(&fail_write.error, ENOSPC);
	assert_int_equal(submit("urgent", true),
			 ERR_FULL);                       /* the fault stays, so it fails, but the ballast was spent */
	assert_true(atomic_load(&fail_write.fired) >= 2); /* tried again with it */
	assert_int_equal(ballast_bytes(), 0);
	disk_faults_clear();
	EVENTUALLY(ballast_bytes() >= (off_t)world.conf.ballast_bytes); /* made again when there is room */
	assert_int_equal(submit("urgent", true), OK);
}

/* It is the memory that is wanting: the disk is neither said to be full, nor given the ballast. */
static void no_memory_is_not_a_full_disk(void **state)
{
	(void)state;
	world_start(&world);
	atomic_store(&no_memory_for, 2);
	assert_int_equal(submit("lost", false), ERR_NOMEM);
	assert_int_equal(submit("urgent", true), ERR_NOMEM);
	assert_int_equal(atomic_load(&no_memory_for), 0);
	assert_null(journal_refusal(world.journal));
	assert_true(ballast_bytes() >= (off_t)world.conf.ballast_bytes);
	assert_int_equal(submit("one", false), OK);
	assert_true(journal_next_seq(world.journal) == 2);
}

static void the_ballast_is_given_up_when_asked(void **state)
{
	(void)state;
	world_open(&world);
	assert_true(ballast_bytes() >= (off_t)world.conf.ballast_bytes);
	journal_release_ballast(world.journal);
	assert_int_equal(ballast_bytes(), 0);
	journal_release_ballast(world.journal);
	assert_int_equal(journal_start(world.journal), OK);
	EVENTUALLY(ballast_bytes() >= (off_t)world.conf.ballast_bytes);
	world.conf.ballast_bytes *= 2;
	journal_set_conf(world.journal, &world.conf);
	EVENTUALLY(ballast_bytes() >= (off_t)world.conf.ballast_bytes);
	world.conf.ballast_bytes = 0;
	journal_set_conf(world.journal, &world.conf);
	EVENTUALLY(ballast_bytes() == 0);
}

/* A commit that mixes both: the urgent one is kept, the other told to come back. */
static void of_a_mixed_commit_the_urgent_part_survives(void **state)
{
	(void)state;
	struct request plain, urgent, last;
	world_open(&world);
	request_init(&plain, STR("plain"));
	request_init(&urgent, STR("urgent"));
	request_init(&last, STR("plain too"));
	urgent.append.is_urgent = true;
	assert_int_equal(journal_submit(world.journal, &plain.append), OK);
	assert_int_equal(journal_submit(world.journal, &urgent.append), OK);
	assert_int_equal(journal_submit(world.journal, &last.append), OK);
	disk_faults_clear();
	atomic_store(&fail_write_times, 1);
	atomic_store(&fail_write.error, ENOSPC);
	assert_int_equal(journal_start(world.journal), OK);
	EVENTUALLY(atomic_load(&last.is_settled));
	assert_int_equal(atomic_load(&fail_write.fired), 1);
	assert_int_equal(plain.append.status, ERR_FULL);
	assert_int_equal(urgent.append.status, OK);
	assert_int_equal(last.append.status, ERR_FULL);
	assert_true(urgent.append.first_seq == 1 && journal_next_seq(world.journal) == 2);
}

static atomic_int panics;

static void on_panic(void *ctx)
{
	assert_ptr_equal(ctx, &world);
	atomic_fetch_add(&panics, 1);
}

static void after_a_failed_fsync_nothing_is_acknowledged(void **state)
{
	(void)state;
	atomic_store(&panics, 0);
	world_open(&world);
	journal_on_panic(world.journal, on_panic, &world);
	assert_int_equal(journal_start(world.journal), OK);
	assert_int_equal(submit("one", false), OK);
	atomic_store(&fail_sync.error, EIO);
	assert_int_equal(submit("unknown", false), ERR_PANIC);
	/* The journal's own, and perhaps one of the thread that writes ahead. */
	assert_in_range(atomic_load(&fail_sync.fired), 1, 2);
	disk_faults_clear();
	EVENTUALLY(atomic_load(&panics) == 1);
	assert_int_equal(submit("late", false), ERR_PANIC);
	assert_int_equal(submit("late", true), ERR_PANIC);
	assert_non_null(journal_refusal(world.journal));
	assert_int_equal(atomic_load(&fail_sync.fired), 0); /* no second try */
	assert_int_equal(atomic_load(&panics), 1);
	world_restart(&world);
	assert_int_equal(submit("two", false), OK);
	assert_true(read_all(1, 10, 1000, NULL) >= 2);
}

/* The old segment goes on when the next one cannot be made, and nothing is lost when it can. */
static void sealing_waits_for_space(void **state)
{
	(void)state;
	static char payload[50000];
	world_start(&world);
	for (int i = 0; i < 19; i++) append_event((struct str){payload, sizeof payload});
	struct test_path journal = test_dir_path(&world.dir, "journal");
	/* A file in the way of the next one's directory stands for whatever hinders making it. */
	struct test_path obstacle = test_dir_path(&world.dir, "journal/new");
	FILE *file = fopen(obstacle.text, "w");
	assert_true(file && fclose(file) == 0);
	for (int i = 0; i < 10; i++) append_event((struct str){payload, sizeof payload});
	struct stat st;
	assert_int_equal(stat(journal.text, &st), 0);
	assert_int_equal(st.st_nlink, 3); /* one segment still */
	assert_int_equal(unlink(obstacle.text), 0);
	usleep(1100000);
	append_event((struct str){payload, sizeof payload});
	assert_int_equal(stat(journal.text, &st), 0);
	assert_int_equal(st.st_nlink, 4);
	assert_true(read_all(1, 100, 1 << 24, NULL) == 30);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(a_full_budget_refuses_and_resumes),
	    TEST(no_space_is_answered_and_passes),
	    TEST(urgent_records_get_the_ballast),
	    TEST(no_memory_is_not_a_full_disk),
	    TEST(the_ballast_is_given_up_when_asked),
	    TEST(of_a_mixed_commit_the_urgent_part_survives),
	    TEST(after_a_failed_fsync_nothing_is_acknowledged),
	    TEST(sealing_waits_for_space),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
