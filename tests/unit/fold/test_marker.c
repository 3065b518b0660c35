#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>

#include "fold/marker.h"
#include "temp_dir.h"

static int setup(void **state)
{
	static char path[TEMP_DIR_SIZE];
	temp_dir_make(path);
	*state = path;
	return 0;
}

static int teardown(void **state)
{
	temp_dir_remove(*state);
	return 0;
}

/* What the next process finds. The page of the one before is left as its death would leave it. */
static struct marker reopened(const char *path)
{
	struct marker marker;
	assert_int_equal(marker_open(&marker, str_from(path)), OK);
	return marker;
}

static unsigned crashes_at(const struct marker *marker, uint64_t wanted)
{
	uint64_t seq;
	unsigned crashes;
	if (!marker_suspect(marker, &seq, &crashes)) return 0;
	assert_int_equal(seq, wanted);
	return crashes;
}

static void a_new_marker_suspects_nobody(void **state)
{
	struct marker marker = reopened(*state);
	assert_int_equal(crashes_at(&marker, 0), 0);
	marker_close(&marker);
}

static void dying_in_a_record_blames_it(void **state)
{
	struct marker first = reopened(*state);
	marker_begin(&first, 41);
	marker_end(&first);
	marker_begin(&first, 42);
	struct marker second = reopened(*state);
	assert_int_equal(crashes_at(&second, 42), 1);
	marker_begin(&second, 42);
	struct marker third = reopened(*state);
	assert_int_equal(crashes_at(&third, 42), 2);
	marker_begin(&third, 7); /* elsewhere: counted from one again */
	struct marker fourth = reopened(*state);
	assert_int_equal(crashes_at(&fourth, 7), 1);
	marker_close(&first);
	marker_close(&second);
	marker_close(&third);
	marker_close(&fourth);
}

static void dying_between_records_blames_nobody(void **state)
{
	struct marker first = reopened(*state);
	marker_begin(&first, 42);
	marker_end(&first); /* and then a commit, which dies */
	struct marker second = reopened(*state);
	assert_int_equal(crashes_at(&second, 42), 0);
	marker_close(&first);
	marker_close(&second);
}

static void a_suspect_is_kept_until_acquitted(void **state)
{
	struct marker first = reopened(*state);
	marker_begin(&first, 42);
	struct marker second = reopened(*state);
	marker_close(&second); /* a clean stop before it was folded again */
	struct marker third = reopened(*state);
	assert_int_equal(crashes_at(&third, 42), 1);
	marker_acquit(&third);
	struct marker fourth = reopened(*state);
	assert_int_equal(crashes_at(&fourth, 42), 0);
	marker_close(&first);
	marker_close(&third);
	marker_close(&fourth);
}

static void position_zero_can_be_blamed(void **state)
{
	struct marker first = reopened(*state);
	marker_begin(&first, 0);
	struct marker second = reopened(*state);
	assert_int_equal(crashes_at(&second, 0), 1);
	marker_close(&first);
	marker_close(&second);
}

static void a_file_of_other_bytes_starts_anew(void **state)
{
	char path[TEMP_DIR_SIZE + 32], noise[4096];
	(void)snprintf(path, sizeof path, "%s/fold.attempt", (const char *)*state);
	for (size_t length = 0; length <= sizeof noise; length += 1024) {
		memset(noise, 'x', sizeof noise);
		FILE *file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(noise, 1, length, file), length);
		assert_int_equal(fclose(file), 0);
		struct marker marker = reopened(*state);
		assert_int_equal(crashes_at(&marker, 0), 0);
		marker_begin(&marker, 5);
		struct marker next = reopened(*state);
		assert_int_equal(crashes_at(&next, 5), 1);
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
	    TEST(dying_in_a_record_blames_it),
	    TEST(dying_between_records_blames_nobody),
	    TEST(a_suspect_is_kept_until_acquitted),
	    TEST(position_zero_can_be_blamed),
	    TEST(a_file_of_other_bytes_starts_anew),
	    TEST(no_folder_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
