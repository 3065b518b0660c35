/* Sealed segments are written anew with some payloads replaced. */
#include "journal_world.h"

#include <stdio.h>
#include <string.h>

#include "journal/rewrite.h"
#include "journal/state.h"

static atomic_bool go_on;

static int replace_odd(void *ctx, const struct record *record, struct journal_replacement *out)
{
	uint64_t *count = ctx;
	if (record->kind != RECORD_EVENT || record->seq % 2 == 0) return OK;
	*out = (struct journal_replacement){true, RECORD_FLAG_ERASED, STR("husk")};
	++*count;
	return OK;
}

static int keep_rejects(void *ctx, const struct journal_reject_row *row, bool *goes)
{
	(void)ctx;
	*goes = str_eq(row->reject.detail, STR("goes"));
	return OK;
}

static uint64_t write_events(uint64_t count)
{
	char payload[900];
	uint64_t last = 0;
	for (uint64_t i = 0; i < count; i++) last = append_event(numbered_payload(payload, sizeof payload, i));
	return last;
}

static void check_rewritten(const struct record *record)
{
	bool is_odd = record->seq % 2;
	assert_int_equal(record->kind, is_odd ? RECORD_ERASED_EVENT : RECORD_EVENT);
	if (is_odd)
		assert_true(str_eq(record->payload, STR("husk")));
	else
		assert_true(payload_number(record->payload) == record->seq - 1);
}

static int rewrite(uint64_t first, uint64_t *count)
{
	const struct journal_rewriter rewriter = {replace_odd, keep_rejects, count, &go_on};
	*count = 0;
	return journal_rewrite(world.journal, first, &rewriter);
}

static void records_are_replaced_in_their_place(void **state)
{
	(void)state;
	uint64_t count, first, end;
	world_start(&world);
	uint64_t last = write_events(100);
	assert_int_equal(journal_segment(world.journal, last, &first, &end), OK);
	assert_true(first == 1 && end == UINT64_MAX);
	assert_int_equal(journal_seal(world.journal, last, &go_on), OK);
	assert_int_equal(journal_segment(world.journal, last, &first, &end), OK);
	assert_true(first == 1 && end == last + 1);
	assert_int_equal(rewrite(first, &count), OK);
	assert_int_equal(count, 50);
	assert_true(journal_rewritten_are_gone(world.journal));
	assert_true(read_all(1, 17, 1 << 20, check_rewritten) == 100);
	assert_int_equal(rewrite(first, &count), OK);
	assert_int_equal(count, 0); /* husks are no events */
	struct journal_counters before, after;
	journal_counters(world.journal, &before);
	world_restart(&world);
	journal_counters(world.journal, &after);
	assert_true(before.received == after.received);
	assert_true(read_all(1, 17, 1 << 20, check_rewritten) == 100);
	assert_true(append_event(STR("goes on")) == last + 1);
}

static int look(void *ctx, const struct journal_reject_row *row)
{
	++*(uint64_t *)ctx;
	assert_true(str_eq(row->reject.detail, STR("stays")));
	return 0;
}

static void rejects_go_with_their_reader(void **state)
{
	(void)state;
	static const struct journal_reject rejects[] = {
	    {.reason = PROBLEM_UNKNOWN_TYPE,
	     .detail = STR("stays"),
	     .source_id = STR("s"),
	     .message_id = STR("1"),
	     .pointer = STR(""),
	     .excerpt = STR("")},
	    {.reason = PROBLEM_UNKNOWN_TYPE,
	     .detail = STR("goes"),
	     .source_id = STR("s"),
	     .message_id = STR("2"),
	     .pointer = STR(""),
	     .excerpt = STR("")},
	};
	struct request request;
	uint64_t count, seen = 0;
	world_start(&world);
	request_init(&request, STR("event"));
	request.append.rejects = rejects;
	request.append.reject_count = 2;
	assert_int_equal(request_submit_and_wait(&request), OK);
	assert_int_equal(journal_seal(world.journal, 1, &go_on), OK);
	assert_int_equal(rewrite(1, &count), OK);
	assert_int_equal(journal_rejects(world.journal, 0, look, &seen), OK);
	assert_int_equal(seen, 1);
	struct journal_counters counters;
	journal_counters(world.journal, &counters);
	assert_int_equal(counters.rejected, 2);
}

static void a_reader_of_the_old_one_finishes_on_it(void **state)
{
	(void)state;
	uint64_t count;
	struct segment *held;
	struct store_txn *txn;
	struct str value;
	uint64_t one = 1;
	world_start(&world);
	(void)write_events(20);
	assert_int_equal(journal_seal(world.journal, 20, &go_on), OK);
	assert_int_equal(segment_acquire(&world.journal->segments, 1, &held), OK);
	assert_int_equal(store_begin(held->env, false, &txn), OK);
	assert_int_equal(rewrite(1, &count), OK);
	assert_false(journal_rewritten_are_gone(world.journal));
	assert_int_equal(store_get(txn, held->records, store_key64(&one), &value), OK);
	assert_true(value.len > 900);
	store_abort(txn);
	segment_release(&world.journal->segments, held);
	assert_true(journal_rewritten_are_gone(world.journal));
	assert_true(read_all(1, 100, 1 << 20, check_rewritten) == 20);
}

static int fail_at_seven(void *ctx, const struct record *record, struct journal_replacement *out)
{
	(void)ctx, (void)out;
	return record->seq == 7 ? ERR_FULL : OK;
}

static void check_whole(const struct record *record)
{
	assert_int_equal(record->kind, RECORD_EVENT);
}

static void a_failure_changes_nothing(void **state)
{
	(void)state;
	const struct journal_rewriter rewriter = {fail_at_seven, keep_rejects, NULL, &go_on};
	world_start(&world);
	(void)write_events(20);
	assert_int_equal(journal_seal(world.journal, 20, &go_on), OK);
	assert_int_equal(journal_rewrite(world.journal, 1, &rewriter), ERR_FULL);
	assert_true(read_all(1, 100, 1 << 20, check_whole) == 20);
	struct test_path left = test_dir_path(&world.dir, "journal/rewritten");
	assert_int_equal(access(left.text, F_OK), -1);
	assert_int_equal(journal_rewrite(world.journal, 2, &rewriter), ERR_GONE); /* no segment begins there */
}

/* Every state on disk between the first write and the last deletion. */
static void a_start_ends_what_was_cut_off(void **state)
{
	(void)state;
	struct test_path segment = test_dir_path(&world.dir, "journal/00000000000000000001");
	struct test_path old = test_dir_path(&world.dir, "journal/00000000000000000001.old");
	struct test_path fresh = test_dir_path(&world.dir, "journal/rewritten");
	world_start(&world);
	(void)write_events(20);
	assert_int_equal(journal_seal(world.journal, 20, &go_on), OK);
	world_stop(&world);
	/* Half written. */
	assert_int_equal(store_make_dir(fresh.text), OK);
	world_start(&world);
	assert_int_equal(access(fresh.text, F_OK), -1);
	world_stop(&world);
	/* Between the two renames. */
	assert_int_equal(rename(segment.text, old.text), 0);
	assert_int_equal(store_make_dir(fresh.text), OK);
	world_start(&world);
	assert_true(read_all(1, 100, 1 << 20, check_whole) == 20);
	assert_int_equal(access(old.text, F_OK), -1);
	world_stop(&world);
	/* Exchanged, the old one not deleted. */
	assert_int_equal(store_make_dir(old.text), OK);
	world_start(&world);
	assert_true(read_all(1, 100, 1 << 20, check_whole) == 20);
	assert_int_equal(access(old.text, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WORLD_TEST(records_are_replaced_in_their_place),    WORLD_TEST(rejects_go_with_their_reader),
	    WORLD_TEST(a_reader_of_the_old_one_finishes_on_it), WORLD_TEST(a_failure_changes_nothing),
	    WORLD_TEST(a_start_ends_what_was_cut_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
