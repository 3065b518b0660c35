#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "journal/meta.h"

static struct journal_meta full_meta(void)
{
	struct journal_meta meta = {
	    .epoch = 1,
	    .first_seq = 2,
	    .next_seq = 3,
	    .next_reject_id = 4,
	    .reject_bytes = 5,
	    .last_t = -6,
	    .created_t = 7,
	    .clock_jump_us = 8,
	    .is_clock_held = true,
	    .definition_seq = 9,
	    .counters = {.received = 10, .rejected = 11, .rejects_not_kept = 12},
	};
	memset(meta.definition_hash, 0xab, sizeof meta.definition_hash);
	for (uint64_t i = 0; i < PROBLEM_COUNT; i++) meta.counters.rejected_by[i] = 100 + i;
	return meta;
}

static void every_field_comes_back(void **state)
{
	(void)state;
	uint8_t bytes[META_SIZE_MAX];
	struct journal_meta meta = full_meta(), back;
	size_t len = meta_encode(&meta, bytes);
	assert_int_equal(meta_decode(str_of(bytes, len), &back), OK);
	assert_true(back.epoch == 1 && back.first_seq == 2 && back.next_seq == 3 && back.next_reject_id == 4);
	assert_true(back.reject_bytes == 5 && back.last_t == -6 && back.created_t == 7 && back.clock_jump_us == 8);
	assert_true(back.is_clock_held && back.definition_seq == 9);
	assert_memory_equal(back.definition_hash, meta.definition_hash, sizeof back.definition_hash);
	assert_memory_equal(&back.counters, &meta.counters, sizeof back.counters);
}

static void damage_and_the_future_are_refused(void **state)
{
	(void)state;
	uint8_t bytes[META_SIZE_MAX];
	struct journal_meta meta = full_meta(), back;
	size_t len = meta_encode(&meta, bytes);
	for (size_t at = 0; at < len; at++) {
		bytes[at] ^= 1;
		assert_int_equal(meta_decode(str_of(bytes, len), &back), ERR_CORRUPT);
		bytes[at] ^= 1;
	}
	for (size_t cut = 0; cut < len; cut++) assert_int_equal(meta_decode(str_of(bytes, cut), &back), ERR_CORRUPT);
	bytes[4] = META_FORMAT + 1;
	uint32_t crc = crc32c(0, bytes + 4, len - 4);
	memcpy(bytes, &crc, sizeof crc);
	assert_int_equal(meta_decode(str_of(bytes, len), &back), ERR_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_field_comes_back),
	    cmocka_unit_test(damage_and_the_future_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
