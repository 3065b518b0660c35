#include "base/arena.h"
#include "base/base_test.h"

static void allocations_are_aligned_and_distinct(void **state)
{
	struct arena arena;
	char *last = NULL;
	(void)state;
	arena_init(&arena, 1024, 0);
	for (size_t size = 0; size < 300; size++) {
		char *ptr = arena_alloc(&arena, size);
		assert_non_null(ptr);
		assert_int_equal((uintptr_t)ptr % 16, 0);
		assert_ptr_not_equal(ptr, last);
		memset(ptr, 0xee, size);
		last = ptr;
	}
	arena_fini(&arena);
	assert_int_equal(arena.used, 0);
	arena_fini(&arena);
}

static void zalloc_gives_zeros_after_reuse(void **state)
{
	struct arena arena;
	(void)state;
	arena_init(&arena, 512, 0);
	char *dirty = arena_alloc(&arena, 256);
	memset(dirty, 0xff, 256);
	arena_reset(&arena);
	char *clean = arena_zalloc(&arena, 256);
	assert_ptr_equal(clean, dirty); /* the block was kept */
	for (int i = 0; i < 256; i++) assert_int_equal(clean[i], 0);
	arena_fini(&arena);
}

static void what_is_not_needed_serves_the_next(void **state)
{
	struct arena arena;
	(void)state;
	arena_init(&arena, 1024, 0);
	char *first = arena_alloc(&arena, 500);
	arena_shrink(&arena, first, 500, 33);
	char *second = arena_alloc(&arena, 100);
	assert_ptr_equal(second, first + 48);
	memset(first, 1, 33);
	memset(second, 2, 100);
	assert_int_equal(first[32], 1);
	arena_shrink(&arena, first, 33, 10); /* not the newest: nothing happens */
	assert_ptr_equal(arena_alloc(&arena, 10), second + 112);
	char *large = arena_alloc(&arena, 5000); /* a block of its own */
	arena_shrink(&arena, large, 5000, 20);
	memset(large, 3, 20);
	char *after = arena_alloc(&arena, 100);
	memset(after, 4, 100);
	assert_int_equal(large[19], 3);
	char *empty = arena_alloc(&arena, 64);
	arena_shrink(&arena, empty, 64, 0);
	assert_ptr_equal(arena_alloc(&arena, 1), empty + 16);
	arena_fini(&arena);
}

static void cap_counts_whole_blocks(void **state)
{
	struct arena arena;
	(void)state;
	arena_init(&arena, 4096, 10000);
	size_t got = 0;
	while (arena_alloc(&arena, 100)) got += 100;
	assert_true(arena.used <= 10000);
	assert_true(got > 9000 * 8 / 10);
	assert_null(arena_alloc(&arena, 100));
	assert_null(arena_alloc(&arena, 1 << 20));
	arena_reset(&arena);
	assert_true(arena.used <= 4096);
	assert_non_null(arena_alloc(&arena, 100));
	assert_null(arena_alloc(&arena, 9990));
	arena_fini(&arena);
}

static void cap_smaller_than_a_block_still_serves(void **state)
{
	struct arena arena;
	(void)state;
	arena_init(&arena, 65536, 1000);
	assert_non_null(arena_alloc(&arena, 500));
	assert_null(arena_alloc(&arena, 900));
	assert_true(arena.used <= 1000);
	arena_fini(&arena);
}

static void large_allocation_does_not_waste_the_current_block(void **state)
{
	struct arena arena;
	(void)state;
	arena_init(&arena, 4096, 0);
	char *first = arena_alloc(&arena, 16);
	char *large = arena_alloc(&arena, 100000);
	char *second = arena_alloc(&arena, 16);
	assert_non_null(large);
	memset(large, 1, 100000);
	assert_ptr_equal(second, first + 16);
	arena_reset(&arena);
	assert_int_equal(arena.used, 4096); /* the large block is gone */
	arena_fini(&arena);
}

static void absurd_sizes_are_refused(void **state)
{
	struct arena arena;
	struct str out;
	(void)state;
	arena_init(&arena, 4096, 0);
	assert_null(arena_alloc(&arena, SIZE_MAX));
	assert_null(arena_alloc(&arena, SIZE_MAX - 15));
	assert_null(arena_alloc(&arena, SIZE_MAX - 40));
	assert_null(arena_alloc(&arena, (size_t)PTRDIFF_MAX));
	assert_null(arena_zalloc_array(&arena, SIZE_MAX / 2, 4));
	assert_int_equal(arena_str(&arena, (struct str){"", SIZE_MAX}, &out), ERR_NOMEM);
	assert_non_null(arena_array(&arena, uint64_t, 10));
	arena_fini(&arena);
}

static void str_and_printf_copy_with_a_nul(void **state)
{
	struct arena arena;
	struct str out;
	char text[] = "hello";
	(void)state;
	arena_init(&arena, 256, 512);
	assert_ok(arena_str(&arena, str_of(text, 3), &out));
	text[0] = 'X';
	assert_str(out, "hel");
	assert_int_equal(out.ptr[3], 0);
	assert_ok(arena_str(&arena, STR_NONE, &out));
	assert_int_equal(out.len, 0);
	assert_ok(arena_printf(&arena, &out, "%s:%d", "f", 42));
	assert_str(out, "f:42");
	assert_int_equal(out.ptr[out.len], 0);
	assert_int_equal(arena_printf(&arena, &out, "%600d", 1), ERR_NOMEM);
	assert_str(out, "f:42");
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(allocations_are_aligned_and_distinct),
	    cmocka_unit_test(zalloc_gives_zeros_after_reuse),
	    cmocka_unit_test(what_is_not_needed_serves_the_next),
	    cmocka_unit_test(cap_counts_whole_blocks),
	    cmocka_unit_test(cap_smaller_than_a_block_still_serves),
	    cmocka_unit_test(large_allocation_does_not_waste_the_current_block),
	    cmocka_unit_test(absurd_sizes_are_refused),
	    cmocka_unit_test(str_and_printf_copy_with_a_nul),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
