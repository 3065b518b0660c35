#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/encode.h"
#include "privacy/list.h"
#include "store/test_dir.h"

static struct test_dir dir;
static struct erasure_list *list;
static struct arena arena;

static int set_up(void **state)
{
	(void)state;
	dir = test_dir_make();
	arena_init(&arena, 65536, 0);
	return erasure_list_open(dir.path, &list);
}

static int tear_down(void **state)
{
	(void)state;
	erasure_list_close(list);
	arena_fini(&arena);
	test_dir_remove(&dir);
	return 0;
}

static struct erasure make(uint64_t number)
{
	static struct fragment_id fragments[3];
	struct erasure erasure = {.state = ERASURE_REWRITING,
				  .is_whole = true,
				  .epoch = 11,
				  .seq = number,
				  .requested_us = 22,
				  .folded_us = 33,
				  .done_us = 44,
				  .before_us = 55,
				  .events = 66,
				  .rejects = 77,
				  .changes = 88,
				  .segments = 99,
				  .segments_rewritten = 111,
				  .segments_total = 222,
				  .repeats = 333,
				  .fragments = fragments,
				  .fragment_count = 3,
				  .actor = STR("ops"),
				  .reason = STR("asked to")};
	memset(fragments[1].bytes, 0xab, sizeof fragments[1].bytes);
	put_be64(erasure.receipt, number);
	return erasure;
}

static void what_is_put_is_read_again(void **state)
{
	(void)state;
	struct erasure in = make(7), out;
	assert_int_equal(erasure_list_put(list, &in), OK);
	erasure_list_close(list);
	assert_int_equal(erasure_list_open(dir.path, &list), OK);
	assert_int_equal(erasure_list_get(list, in.receipt, &arena, &out), OK);
	assert_memory_equal(out.fragments, in.fragments, 3 * sizeof *in.fragments);
	assert_true(str_eq(out.actor, in.actor) && str_eq(out.reason, in.reason));
	assert_true(out.state == in.state && out.is_whole && out.epoch == 11 && out.seq == 7 &&
		    out.requested_us == 22 && out.folded_us == 33 && out.done_us == 44 && out.before_us == 55);
	assert_true(out.events == 66 && out.rejects == 77 && out.changes == 88 && out.segments == 99 &&
		    out.segments_rewritten == 111 && out.segments_total == 222 && out.repeats == 333);
	in.state = ERASURE_DONE;
	in.fragment_count = 0;
	assert_int_equal(erasure_list_put(list, &in), OK);
	assert_int_equal(erasure_list_get(list, in.receipt, &arena, &out), OK);
	assert_true(out.state == ERASURE_DONE && out.fragment_count == 0);
	assert_int_equal(erasure_list_remove(list, in.receipt), OK);
	assert_int_equal(erasure_list_remove(list, in.receipt), OK);
	assert_int_equal(erasure_list_get(list, in.receipt, &arena, &out), ERR_NOT_FOUND);
}

static void pages_run_from_the_newest(void **state)
{
	(void)state;
	struct erasure *page, all[10];
	size_t count;
	uint64_t expected = 10;
	assert_int_equal(erasure_list_read(list, NULL, 4, &arena, &page, &count), OK);
	assert_int_equal(count, 0);
	for (uint64_t i = 0; i < 10; i++) all[i] = make(i + 1);
	assert_int_equal(erasure_list_put_all(list, all, 10), OK);
	const uint8_t *below = NULL;
	do {
		assert_int_equal(erasure_list_read(list, below, 4, &arena, &page, &count), OK);
		for (size_t i = 0; i < count; i++) assert_true(page[i].seq == expected--);
		if (count) below = page[count - 1].receipt;
	} while (count == 4);
	assert_int_equal(expected, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_is_put_is_read_again, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(pages_run_from_the_newest, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
