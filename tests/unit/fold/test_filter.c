#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "fold/filter.h"

#define MILLION 1000000u

static const struct hash_key key = {"0123456789abcdef"};

static uint64_t id_hash(uint64_t id)
{
	return hash64(&key, &id, sizeof id);
}

struct seen {
	uint32_t wanted;
	unsigned hits, calls;
};

static int note(void *ctx, uint32_t generation)
{
	struct seen *seen = ctx;
	seen->calls++;
	if (generation == seen->wanted) seen->hits++;
	return 0;
}

static bool holds(const struct filter *filter, uint64_t id, uint32_t generation)
{
	struct seen seen = {.wanted = generation};
	assert_int_equal(filter_find(filter, id_hash(id), note, &seen), 0);
	return seen.hits > 0;
}

static unsigned candidates(const struct filter *filter, uint64_t id)
{
	struct seen seen = {.wanted = UINT32_MAX};
	assert_int_equal(filter_find(filter, id_hash(id), note, &seen), 0);
	return seen.calls;
}

static uint32_t generation_of(uint64_t id)
{
	return (uint32_t)(id >> 14); /* 61 generations of a million ids: eight tables */
}

static void fill(struct filter *filter, uint64_t count)
{
	for (uint64_t id = 0; id < count; id++) {
		uint32_t generation = generation_of(id);
		int rc = filter_add(filter, generation, id_hash(id));
		if (rc == ERR_TOO_LARGE) { /* what dedup does, from rows instead of from numbers */
			uint64_t first = (uint64_t)generation / FILTER_TABLE_GENERATIONS * FILTER_TABLE_GENERATIONS
					 << 14;
			assert_int_equal(filter_remake(filter, generation, filter_larger(filter, generation)), OK);
			for (uint64_t again = first; again <= id; again++) {
				assert_int_equal(filter_add(filter, generation_of(again), id_hash(again)), OK);
			}
			rc = OK;
		}
		assert_int_equal(rc, OK);
	}
}

static void a_million_ids_are_all_found(void **state)
{
	(void)state;
	struct filter filter;
	filter_init(&filter);
	fill(&filter, MILLION);
	for (uint64_t id = 0; id < MILLION; id++) assert_true(holds(&filter, id, generation_of(id)));
	filter_fini(&filter);
}

static void few_strangers_look_known(void **state)
{
	(void)state;
	struct filter filter;
	unsigned wrong = 0;
	filter_init(&filter);
	fill(&filter, MILLION);
	for (uint64_t id = MILLION; id < 2 * MILLION; id++) wrong += candidates(&filter, id);
	/* About 8 tables * 16 entries / 2^29 each: 0.24 expected in a million. */
	assert_in_range(wrong, 0, 20);
	filter_fini(&filter);
}

static void a_table_fills_to_the_last_id(void **state)
{
	(void)state;
	struct filter filter;
	filter_init(&filter);
	assert_int_equal(filter_remake(&filter, 3, FILTER_TABLE_IDS), OK);
	for (uint64_t id = 0; id < FILTER_TABLE_IDS; id++) assert_int_equal(filter_add(&filter, 3, id_hash(id)), OK);
	assert_int_equal(filter_add(&filter, 3, id_hash(FILTER_TABLE_IDS)), ERR_TOO_LARGE);
	for (uint64_t id = 0; id < FILTER_TABLE_IDS; id++) assert_true(holds(&filter, id, 3));
	/* 4.7 bytes an id, as the design's figure says. */
	assert_in_range(filter_bytes(&filter), FILTER_TABLE_IDS * 4, FILTER_TABLE_IDS * 48 / 10);
	filter_fini(&filter);
}

static void the_empty_filter_is_small_and_grows(void **state)
{
	(void)state;
	struct filter filter;
	filter_init(&filter);
	assert_int_equal(filter_bytes(&filter), 0);
	assert_int_equal(candidates(&filter, 1), 0);
	assert_int_equal(filter_add(&filter, 0, id_hash(1)), OK);
	assert_in_range(filter_bytes(&filter), 1, 64 * 1024);
	fill(&filter, 40000);
	assert_in_range(filter_bytes(&filter), 40000 * 4, 2 * 1024 * 1024);
	filter_fini(&filter);
}

static void a_removed_id_is_gone_and_its_neighbours_stay(void **state)
{
	(void)state;
	struct filter filter;
	filter_init(&filter);
	assert_int_equal(filter_remake(&filter, 0, 4096), OK);
	for (uint64_t id = 0; id < 4096; id++) assert_int_equal(filter_add(&filter, 0, id_hash(id)), OK);
	for (uint64_t id = 0; id < 4096; id += 3) filter_remove(&filter, 0, id_hash(id));
	for (uint64_t id = 0; id < 4096; id++) assert_int_equal(holds(&filter, id, 0), id % 3 != 0);
	/* Removed again, and one that was never there: nothing happens. */
	filter_remove(&filter, 0, id_hash(0));
	filter_remove(&filter, 7, id_hash(99999));
	filter_remove(&filter, 800, id_hash(1));
	assert_true(holds(&filter, 1, 0));
	filter_fini(&filter);
}

static void old_tables_are_given_back_whole(void **state)
{
	(void)state;
	struct filter filter;
	filter_init(&filter);
	fill(&filter, MILLION);
	size_t before = filter_bytes(&filter);
	filter_drop_below(&filter, 7); /* the first table still holds generation 7 */
	assert_int_equal(filter_bytes(&filter), before);
	filter_drop_below(&filter, 24);
	assert_true(filter_bytes(&filter) < before * 3 / 4);
	assert_false(holds(&filter, 0, 0));
	for (uint64_t id = 24u << 14; id < MILLION; id++) assert_true(holds(&filter, id, generation_of(id)));
	filter_fini(&filter);
}

static int stop_at_once(void *ctx, uint32_t generation)
{
	(void)generation;
	++*(int *)ctx;
	return 42;
}

static void the_newest_generation_is_asked_first(void **state)
{
	(void)state;
	struct filter filter;
	int calls = 0;
	filter_init(&filter);
	assert_int_equal(filter_add(&filter, 1, id_hash(5)), OK);
	assert_int_equal(filter_add(&filter, 100, id_hash(5)), OK);
	assert_int_equal(candidates(&filter, 5), 2);
	assert_int_equal(filter_find(&filter, id_hash(5), stop_at_once, &calls), 42);
	assert_int_equal(calls, 1);
	filter_drop_below(&filter, 100);
	assert_true(holds(&filter, 5, 100));
	filter_fini(&filter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_million_ids_are_all_found),
	    cmocka_unit_test(few_strangers_look_known),
	    cmocka_unit_test(a_table_fills_to_the_last_id),
	    cmocka_unit_test(the_empty_filter_is_small_and_grows),
	    cmocka_unit_test(a_removed_id_is_gone_and_its_neighbours_stay),
	    cmocka_unit_test(old_tables_are_given_back_whole),
	    cmocka_unit_test(the_newest_generation_is_asked_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
