#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "store/test_dir.h"
#include "training/sorter.h"

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return random_state >> 33;
}

/* `count` pairs with runs of `run`: all come back, in order. */
static void sort(size_t count, size_t run)
{
	struct test_dir dir = test_dir_make();
	struct test_path path = test_dir_path(&dir, "order");
	struct sorter *sorter;
	uint64_t seq, sum = 0, got = 0, last_seq = 0;
	int64_t at, last = INT64_MIN;
	assert_int_equal(sorter_new(path.text, run, &sorter), OK);
	for (size_t i = 0; i < count; i++) {
		sum += i * i;
		assert_int_equal(sorter_add(sorter, (int64_t)(next_random() % (count / 2 + 1)) - 50, i), OK);
	}
	assert_int_equal(sorter_start(sorter), OK);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(sorter_next(sorter, &at, &seq), OK);
		assert_true(at > last || (at == last && seq > last_seq));
		last = at;
		last_seq = seq;
		got += seq * seq;
	}
	assert_int_equal(sorter_next(sorter, &at, &seq), ERR_NOT_FOUND);
	assert_int_equal(got, sum);
	sorter_free(sorter);
	test_dir_remove(&dir);
}

static void any_number_of_pairs_comes_back_sorted(void **state)
{
	(void)state;
	static const size_t counts[] = {0, 1, 2, 9, 10, 11, 99, 100, 101, 1000, 20000};
	for (size_t i = 0; i < COUNT_OF(counts); i++) {
		sort(counts[i], 10);
		sort(counts[i], 7000);
		sort(counts[i], SORTER_RUN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(any_number_of_pairs_comes_back_sorted)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
