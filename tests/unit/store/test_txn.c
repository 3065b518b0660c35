#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/disk_faults.h"
#include "store/store.h"
#include "store/test_dir.h"

static struct test_dir dir;
static struct store_env *env;
static store_db things, numbers;

static void open_env(uint64_t map_bytes)
{
	struct test_path path = test_dir_path(&dir, "env");
	const struct store_options options = {.map_bytes = map_bytes, .max_dbs = 4, .format = 1};
	assert_int_equal(store_open(path.text, &options, &env), OK);
	assert_int_equal(store_db_open(env, "things", 0, &things), OK);
	assert_int_equal(store_db_open(env, "numbers", STORE_DB_INTEGER_KEY, &numbers), OK);
}

static int set_up(void **state)
{
	(void)state;
	disk_faults_clear();
	dir = test_dir_make();
	open_env(1 << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	disk_faults_clear();
	store_close(env);
	test_dir_remove(&dir);
	return 0;
}

static struct store_txn *begin(bool writable)
{
	struct store_txn *txn;
	assert_int_equal(store_begin(env, writable, &txn), OK);
	return txn;
}

static int put_one(const char *key, struct str value)
{
	struct store_txn *txn = begin(true);
	int rc = store_put(txn, things, str_from(key), value);
	int committed = store_commit(txn);
	return rc != OK ? rc : committed;
}

static bool has(const char *key)
{
	struct str value;
	struct store_txn *txn = begin(false);
	int rc = store_get(txn, things, str_from(key), &value);
	store_abort(txn);
	assert_true(rc == OK || rc == ERR_NOT_FOUND);
	return rc == OK;
}

static void an_abort_changes_nothing(void **state)
{
	(void)state;
	struct store_txn *txn = begin(true);
	assert_int_equal(store_put(txn, things, STR("a"), STR("1")), OK);
	store_abort(txn);
	assert_false(has("a"));
	store_abort(NULL);
}

static void deleting_what_is_not_there_does_not_stick(void **state)
{
	(void)state;
	uint64_t count;
	struct store_txn *txn = begin(true);
	assert_int_equal(store_put(txn, things, STR("a"), STR("1")), OK);
	assert_int_equal(store_del(txn, things, STR("b")), ERR_NOT_FOUND);
	assert_int_equal(store_put(txn, things, STR("c"), STR("3")), OK);
	assert_int_equal(store_count(txn, things, &count), OK);
	assert_true(count == 2);
	assert_int_equal(store_del(txn, things, STR("a")), OK);
	assert_int_equal(store_commit(txn), OK);
	assert_true(has("c") && !has("a"));
}

static void an_error_sticks_and_nothing_is_committed(void **state)
{
	(void)state;
	char long_key[600];
	struct str value;
	struct store_cursor *cursor;
	memset(long_key, 'k', sizeof long_key);
	struct store_txn *txn = begin(true);
	assert_int_equal(store_put(txn, things, STR("a"), STR("1")), OK);
	assert_int_equal(store_put(txn, things, (struct str){long_key, sizeof long_key}, STR("1")), ERR_TOO_LARGE);
	assert_int_equal(store_put(txn, things, STR("b"), STR("1")), ERR_TOO_LARGE);
	assert_int_equal(store_get(txn, things, STR("a"), &value), ERR_TOO_LARGE);
	assert_int_equal(store_cursor_open(txn, things, &cursor), ERR_TOO_LARGE);
	assert_int_equal(store_commit(txn), ERR_TOO_LARGE);
	assert_false(has("a"));
	assert_int_equal(put_one("a", STR("1")), OK);
}

static void appends_must_ascend(void **state)
{
	(void)state;
	uint64_t five = 5, four = 4;
	struct store_txn *txn = begin(true);
	assert_int_equal(store_append(txn, numbers, store_key64(&five), STR("5")), OK);
	assert_int_equal(store_append(txn, numbers, store_key64(&four), STR("4")), ERR_EXISTS);
	assert_int_equal(store_commit(txn), ERR_EXISTS);
}

static void integer_keys_are_in_order_of_number(void **state)
{
	(void)state;
	struct store_txn *txn = begin(true);
	static const uint64_t seqs[] = {256, 1, UINT64_MAX, 255, 65536};
	for (size_t i = 0; i < COUNT_OF(seqs); i++)
		assert_int_equal(store_put(txn, numbers, store_key64(&seqs[i]), STR("x")), OK);
	assert_int_equal(store_commit(txn), OK);
	txn = begin(false);
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	uint64_t before = 0, count = 0, seq;
	assert_int_equal(store_cursor_open(txn, numbers, &cursor), OK);
	int rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
	for (; rc == OK; rc = store_cursor_move(cursor, STORE_NEXT, &key, &value), count++) {
		memcpy(&seq, key.ptr, sizeof seq);
		assert_true(seq > before);
		before = seq;
	}
	assert_int_equal(rc, ERR_NOT_FOUND);
	assert_true(count == COUNT_OF(seqs) && before == UINT64_MAX);
	store_cursor_close(cursor);
	store_abort(txn);
}

static void reserved_room_is_filled_in_place(void **state)
{
	(void)state;
	uint64_t seq = 1;
	void *room;
	struct str value;
	struct store_txn *txn = begin(true);
	assert_int_equal(store_reserve(txn, numbers, store_key64(&seq), 5000, true, &room), OK);
	memset(room, 'r', 5000);
	assert_int_equal(store_commit(txn), OK);
	txn = begin(false);
	assert_int_equal(store_get(txn, numbers, store_key64(&seq), &value), OK);
	assert_int_equal(value.len, 5000);
	for (size_t i = 0; i < value.len; i++) assert_true(value.ptr[i] == 'r');
	store_abort(txn);
}

static void cursors_stand_where_they_are_told(void **state)
{
	(void)state;
	struct store_cursor *cursor;
	struct store_txn *txn = begin(true);
	static const char *const keys[] = {"b", "d", "f"};
	for (size_t i = 0; i < COUNT_OF(keys); i++)
		assert_int_equal(store_put(txn, things, str_from(keys[i]), str_from(keys[i])), OK);
	assert_int_equal(store_cursor_open(txn, things, &cursor), OK);
	static const struct {
		enum store_move move;
		const char *key, *found; /* NULL: not found */
	} moves[] = {{STORE_AT, "d", "d"},          {STORE_AT, "c", NULL},  {STORE_AT_OR_AFTER, "c", "d"},
		     {STORE_PREV, "", "b"},         {STORE_PREV, "", NULL}, {STORE_LAST, "", "f"},
		     {STORE_NEXT, "", NULL},        {STORE_FIRST, "", "b"}, {STORE_NEXT, "", "d"},
		     {STORE_AT_OR_AFTER, "g", NULL}};
	for (size_t i = 0; i < COUNT_OF(moves); i++) {
		struct str key = str_from(moves[i].key), value;
		int rc = store_cursor_move(cursor, moves[i].move, &key, &value);
		assert_int_equal(rc, moves[i].found ? OK : ERR_NOT_FOUND);
		if (rc == OK) assert_true(str_eq(key, str_from(moves[i].found)) && str_eq(value, key));
	}
	struct str key = STR("d"), value;
	assert_int_equal(store_cursor_move(cursor, STORE_AT, &key, &value), OK);
	assert_int_equal(store_cursor_del(cursor), OK);
	store_cursor_close(cursor);
	assert_int_equal(store_commit(txn), OK);
	assert_true(has("b") && !has("d") && has("f"));
}

static void values_live_as_long_as_their_transaction(void **state)
{
	(void)state;
	char text[1000];
	struct str value;
	memset(text, 'a', sizeof text);
	assert_int_equal(put_one("key", (struct str){text, sizeof text}), OK);
	struct store_txn *reader = begin(false);
	assert_int_equal(store_get(reader, things, STR("key"), &value), OK);
	for (int i = 0; i < 50; i++) {
		char other[1000];
		memset(other, 'b' + i % 20, sizeof other);
		assert_int_equal(put_one("key", (struct str){other, sizeof other}), OK);
	}
	assert_int_equal(value.len, sizeof text);
	assert_memory_equal(value.ptr, text, sizeof text);
	store_abort(reader);
}

static void a_full_map_refuses_and_goes_on(void **state)
{
	(void)state;
	char text[8000];
	memset(text, 'x', sizeof text);
	assert_int_equal(put_one("kept", STR("1")), OK);
	struct store_txn *txn = begin(true);
	int rc = OK;
	uint64_t seq = 1;
	for (; rc == OK && seq < 1000; seq++)
		rc = store_append(txn, numbers, store_key64(&seq), (struct str){text, sizeof text});
	assert_int_equal(rc, ERR_FULL);
	assert_int_equal(store_commit(txn), ERR_FULL);
	assert_true(has("kept"));
	assert_int_equal(put_one("more", STR("2")), OK);
	txn = begin(false);
	assert_int_equal(store_count(txn, numbers, &seq), OK);
	assert_true(seq == 0);
	store_abort(txn);
}

static void a_full_disk_refuses_and_goes_on(void **state)
{
	(void)state;
	assert_int_equal(put_one("kept", STR("1")), OK);
	atomic_store(&fail_write.error, ENOSPC);
	assert_int_equal(put_one("lost", STR("2")), ERR_FULL);
	assert_true(atomic_load(&fail_write.fired) > 0);
	disk_faults_clear();
	assert_true(has("kept") && !has("lost"));
	assert_int_equal(put_one("more", STR("3")), OK);
	assert_true(has("more"));
}

/* LMDB itself would go on after a failed fsync. */
static void after_a_failed_fsync_nothing_is_written(void **state)
{
	(void)state;
	struct store_txn *txn;
	assert_int_equal(put_one("kept", STR("1")), OK);
	atomic_store(&fail_sync.error, EIO);
	assert_int_equal(put_one("unknown", STR("2")), ERR_PANIC);
	assert_true(atomic_load(&fail_sync.fired) > 0);
	disk_faults_clear();
	assert_int_equal(store_begin(env, true, &txn), ERR_PANIC);
	store_close(env);
	open_env(1 << 20);
	assert_true(has("kept"));
	assert_int_equal(put_one("more", STR("3")), OK);
}

static void after_a_failed_meta_write_nothing_is_written(void **state)
{
	(void)state;
	struct store_txn *txn;
	assert_int_equal(put_one("kept", STR("1")), OK);
	atomic_store(&fail_meta.error, ENOSPC);
	assert_int_equal(put_one("unknown", STR("2")), ERR_PANIC);
	assert_true(atomic_load(&fail_meta.fired) > 0);
	disk_faults_clear();
	assert_int_equal(store_begin(env, true, &txn), ERR_PANIC);
	assert_int_equal(store_begin(env, false, &txn), ERR_PANIC);
	store_close(env);
	open_env(1 << 20);
	assert_true(has("kept"));
}

static void dirty_pages_are_estimated_from_above(void **state)
{
	(void)state;
	char text[1000];
	memset(text, 'x', sizeof text);
	struct str value = {text, sizeof text};
	struct store_txn *txn = begin(true);
	for (uint64_t seq = 1; seq <= 100; seq++)
		assert_int_equal(store_append(txn, numbers, store_key64(&seq), value), OK);
	size_t appended = store_dirty_pages(txn);
	assert_in_range(appended, 25, 40); /* four fit a page */
	for (uint64_t seq = 1; seq <= 100; seq += 10)
		assert_int_equal(store_put(txn, numbers, store_key64(&seq), value), OK);
	assert_in_range(store_dirty_pages(txn) - appended, 10, 20);
	store_abort(txn);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(an_abort_changes_nothing),
	    TEST(deleting_what_is_not_there_does_not_stick),
	    TEST(an_error_sticks_and_nothing_is_committed),
	    TEST(appends_must_ascend),
	    TEST(integer_keys_are_in_order_of_number),
	    TEST(reserved_room_is_filled_in_place),
	    TEST(cursors_stand_where_they_are_told),
	    TEST(values_live_as_long_as_their_transaction),
	    TEST(a_full_map_refuses_and_goes_on),
	    TEST(a_full_disk_refuses_and_goes_on),
	    TEST(after_a_failed_fsync_nothing_is_written),
	    TEST(after_a_failed_meta_write_nothing_is_written),
	    TEST(dirty_pages_are_estimated_from_above),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
