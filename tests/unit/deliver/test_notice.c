#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/notice.h"
#include "store/test_dir.h"

#define EPOCH 7

static struct test_dir dir;
static struct cursors *cursors;
static struct arena arena;

static const uint8_t FIRST[NOTICE_ID_SIZE] = {1}, SECOND[NOTICE_ID_SIZE] = {2}, NOBODY[NOTICE_ID_SIZE] = {1, 9};

static int setup(void **state)
{
	(void)state;
	dir = test_dir_make();
	arena_init(&arena, 4096, 0);
	assert_int_equal(cursors_open(str_from(dir.path), EPOCH, 1, &cursors), OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cursors_close(cursors);
	arena_fini(&arena);
	test_dir_remove(&dir);
	return 0;
}

static bool is_redriven;

static void answer(const uint8_t id[NOTICE_ID_SIZE], const char *destination, enum notice_verdict verdict,
		   const char *reason)
{
	struct store_txn *txn;
	const struct notice_answer told = {.destination = str_from(destination),
					   .verdict = verdict,
					   .attempts = 3,
					   .at_us = 1500,
					   .reason = str_from(reason),
					   .is_redriven = is_redriven};
	assert_int_equal(cursors_begin(cursors, &txn), OK);
	assert_int_equal(notices_write(cursors, txn, id, &told), OK);
	assert_int_equal(cursors_commit(cursors, txn), OK);
}

static struct notice_answer *read_back(const uint8_t id[NOTICE_ID_SIZE], size_t want)
{
	struct notice_answer *out;
	size_t count;
	assert_int_equal(notices_get(cursors, id, &arena, &out, &count), OK);
	assert_int_equal(count, want);
	return out;
}

static void expect_text(struct str got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.ptr, want, got.len);
}

static void answers_are_kept_by_notice(void **state)
{
	(void)state;
	answer(SECOND, "crm", NOTICE_TAKEN, "");
	answer(FIRST, "warehouse", NOTICE_TAKEN, "");
	answer(FIRST, "crm", NOTICE_REFUSED, "404: there is no such contact");
	cursors_close(cursors);
	assert_int_equal(cursors_open(str_from(dir.path), EPOCH, 1, &cursors), OK);

	struct notice_answer *got = read_back(FIRST, 2);
	expect_text(got[0].destination, "crm");
	assert_int_equal(got[0].verdict, NOTICE_REFUSED);
	assert_int_equal(got[0].attempts, 3);
	assert_int_equal(got[0].at_us, 1500);
	expect_text(got[0].reason, "404: there is no such contact");
	expect_text(got[1].destination, "warehouse");
	(void)read_back(SECOND, 1);
	(void)read_back(NOBODY, 0);
}

static void a_refusal_stands_until_it_is_taken_back(void **state)
{
	(void)state;
	answer(FIRST, "crm", NOTICE_TAKEN, "");
	answer(FIRST, "crm", NOTICE_REFUSED, "not her");
	answer(FIRST, "crm", NOTICE_TAKEN, ""); /* another id of the same person */
	assert_int_equal(read_back(FIRST, 1)->verdict, NOTICE_REFUSED);
	is_redriven = true;
	answer(FIRST, "crm", NOTICE_TAKEN, "");
	is_redriven = false;
	struct notice_answer *got = read_back(FIRST, 1);
	assert_int_equal(got->verdict, NOTICE_TAKEN);
	expect_text(got->reason, "");
}

static void long_reasons_are_cut(void **state)
{
	char reason[NOTICE_REASON_MAX + 50];
	(void)state;
	memset(reason, 'x', sizeof reason);
	reason[sizeof reason - 1] = '\0';
	answer(FIRST, "crm", NOTICE_REFUSED, reason);
	assert_int_equal(read_back(FIRST, 1)->reason.len, NOTICE_REASON_MAX);
}

static void the_oldest_make_room(void **state)
{
	struct store_txn *txn;
	uint8_t id[NOTICE_ID_SIZE] = {0};
	uint64_t count;
	(void)state;
	assert_int_equal(cursors_begin(cursors, &txn), OK);
	for (uint32_t i = 1; i <= NOTICE_ANSWERS_MAX + 5; i++) {
		const struct notice_answer told = {.destination = STR("crm"), .reason = STR_NONE};
		id[0] = (uint8_t)(i >> 24), id[1] = (uint8_t)(i >> 16), id[2] = (uint8_t)(i >> 8), id[3] = (uint8_t)i;
		assert_int_equal(notices_write(cursors, txn, id, &told), OK);
	}
	assert_int_equal(store_count(txn, cursors_notices(cursors), &count), OK);
	assert_int_equal(cursors_commit(cursors, txn), OK);
	assert_int_equal(count, NOTICE_ANSWERS_MAX);
	memset(id, 0, sizeof id);
	id[3] = 5;
	(void)read_back(id, 0);
	id[3] = 6;
	(void)read_back(id, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(answers_are_kept_by_notice, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_refusal_stands_until_it_is_taken_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(long_reasons_are_cut, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_oldest_make_room, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
