#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>

#include "fold/marker.h"
#include "store/test_dir.h"

static int setup(void **state)
{
	static struct test_dir dir;
	dir = test_dir_make();
	*state = dir.path;
	return 0;
}

static int teardown(void **state)
{
	test_tree_remove(*state);
	return 0;
}

/* What the next process finds. The page of the one before is left as its death would leave it. */
static struct marker reopened(const char *path)
{
	struct marker marker;
	assert_int_equal(marker_open(&marker, str_from(path)), OK);
	return marker;
}

/* As the fold's thread dying of a signal of its own leaves it. */
static void crash(struct marker *marker)
{
	marker->page->struck = 1;
}

static void assert_suspect(const struct marker *marker, uint64_t wanted)
{
	uint64_t seq;
	assert_true(marker_suspect(marker, &seq));
	assert_int_equal(seq, wanted);
}

static void assert_no_suspect(const struct marker *marker)
{
	uint64_t seq;
	assert_false(marker_suspect(marker, &seq));
}

static void a_new_marker_suspects_nobody(void **state)
{
	struct marker marker = reopened(*state);
	assert_no_suspect(&marker);
	assert_int_equal(marker_step(&marker, 0), UINT64_MAX);
	marker_close(&marker);
}

static void two_crashes_in_a_row_make_guilty(void **state)
{
	struct marker first = reopened(*state);
	marker_begin(&first, 41, 42);
	marker_end(&first);
	marker_begin(&first, 42, 43);
	crash(&first);
	struct marker second = reopened(*state);
	assert_suspect(&second, 42);
	assert_false(marker_is_guilty(&second, false));
	marker_begin(&second, 42, 43);
	crash(&second);
	struct marker third = reopened(*state);
	assert_suspect(&third, 42);
	assert_true(marker_is_guilty(&third, false));
	marker_begin(&third, 7, 8); /* elsewhere: counted from one again */
	crash(&third);
	struct marker fourth = reopened(*state);
	assert_suspect(&fourth, 7);
	assert_false(marker_is_guilty(&fourth, true));
	marker_close(&first);
	marker_close(&second);
	marker_close(&third);
	marker_close(&fourth);
}

static void kills_need_five(void **state)
{
	for (int death = 1; death <= MARKER_DEATHS_MAX; death++) {
		struct marker dying = reopened(*state);
		marker_begin(&dying, 42, 43);
		struct marker next = reopened(*state);
		assert_suspect(&next, 42);
		assert_int_equal(marker_is_guilty(&next, true), death == MARKER_DEATHS_MAX);
		assert_false(marker_is_guilty(&next, false)); /* an erasure, say */
		marker_close(&next);
		marker_close(&dying);
	}
}

static void a_crash_of_another_thread_says_nothing(void **state)
{
	struct marker first = reopened(*state);
	marker_begin(&first, 42, 43);
	first.page->struck = 2;
	struct marker second = reopened(*state);
	assert_no_suspect(&second);
	marker_close(&first);
	marker_close(&second);
}

static void dying_between_records_blames_nobody(void **state)
{
	struct marker first = reopened(*state);
	marker_begin(&first, 42, 43);
	marker_end(&first);
	crash(&first);
	struct marker second = reopened(*state);
	assert_no_suspect(&second);
	marker_close(&first);
	marker_close(&second);
}

static void a_crashed_transaction_is_cut_until_one_record_is_alone(void **state)
{
	uint64_t from = 1000, to = 51000, steps[] = {781, 12, 1};
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		struct marker dying = reopened(*state);
		marker_begin(&dying, from, to);
		crash(&dying);
		struct marker next = reopened(*state);
		assert_no_suspect(&next);
		assert_int_equal(marker_step(&next, from), steps[i]);
		assert_int_equal(marker_step(&next, to - 1), steps[i]);
		assert_int_equal(marker_step(&next, to), UINT64_MAX);
		to = from + steps[i];
		marker_close(&next);
		marker_close(&dying);
	}
	struct marker last = reopened(*state);
	marker_passed(&last, to);
	assert_int_equal(marker_step(&last, from), 1);
	marker_passed(&last, from + 12);
	assert_int_equal(marker_step(&last, from), UINT64_MAX);
	marker_close(&last);
}

static void one_kill_in_a_transaction_changes_nothing(void **state)
{
	for (int death = 1; death <= MARKER_DEATHS_MAX; death++) {
		struct marker dying = reopened(*state);
		marker_begin(&dying, 100, 1000 + (uint64_t)death); /* ends elsewhere each time */
		struct marker next = reopened(*state);
		assert_no_suspect(&next);
		assert_int_equal(marker_step(&next, 100) == UINT64_MAX, death < MARKER_DEATHS_MAX);
		marker_close(&next);
		marker_close(&dying);
	}
}

static void a_suspect_is_kept_until_it_is_passed(void **state)
{
	struct marker first = reopened(*state);
	marker_begin(&first, 42, 43);
	struct marker second = reopened(*state);
	marker_close(&second); /* a clean stop before it was folded again */
	struct marker third = reopened(*state);
	marker_passed(&third, 42);
	assert_suspect(&third, 42);
	marker_passed(&third, 43);
	struct marker fourth = reopened(*state);
	assert_no_suspect(&fourth);
	marker_close(&first);
	marker_close(&third);
	marker_close(&fourth);
}

static void position_zero_can_be_blamed(void **state)
{
	struct marker first = reopened(*state);
	marker_begin(&first, 0, 1);
	struct marker second = reopened(*state);
	assert_suspect(&second, 0);
	marker_close(&first);
	marker_close(&second);
}

static void a_file_of_other_bytes_starts_anew(void **state)
{
	char path[sizeof(struct test_path)], noise[4096];
	(void)snprintf(path, sizeof path, "%s/fold.attempt", (const char *)*state);
	for (size_t length = 0; length <= sizeof noise; length += 1024) {
		memset(noise, 'x', sizeof noise);
		FILE *file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(noise, 1, length, file), length);
		assert_int_equal(fclose(file), 0);
		struct marker marker = reopened(*state);
		assert_no_suspect(&marker);
		marker_begin(&marker, 5, 6);
		struct marker next = reopened(*state);
		assert_suspect(&next, 5);
		marker_close(&marker);
		marker_close(&next);
	}
}

static void no_folder_is_an_error(void **state)
{
	struct marker marker;
	(void)state;
	assert_int_equal(marker_open(&marker, STR("/nonexistent/folder")), ERR_IO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_new_marker_suspects_nobody),
	    TEST(two_crashes_in_a_row_make_guilty),
	    TEST(kills_need_five),
	    TEST(a_crash_of_another_thread_says_nothing),
	    TEST(dying_between_records_blames_nobody),
	    TEST(a_crashed_transaction_is_cut_until_one_record_is_alone),
	    TEST(one_kill_in_a_transaction_changes_nothing),
	    TEST(a_suspect_is_kept_until_it_is_passed),
	    TEST(position_zero_can_be_blamed),
	    TEST(a_file_of_other_bytes_starts_anew),
	    TEST(no_folder_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
