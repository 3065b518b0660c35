/* Writing ahead never touches what was written, whatever the sizes; and it stops at nothing but itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "store/store.h"
#include "test_dir.h"

#define AHEAD (4u << 20)

static struct test_dir dir;
static struct store_env *env;
static store_db db;

static void open_env(uint64_t ahead_bytes)
{
	struct store_options options = {.map_bytes = 1u << 30, .max_dbs = 2, .format = 1, .ahead_bytes = ahead_bytes};
	assert_int_equal(store_open(dir.path, &options, &env), OK);
	assert_int_equal(store_db_open(env, "rows", STORE_DB_INTEGER_KEY, &db), OK);
}

static int set_up(void **state)
{
	(void)state;
	dir = test_dir_make();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	test_dir_remove(&dir);
	return 0;
}

/* Bytes that only row `seq` may hold. */
static void fill(char *value, size_t len, uint64_t seq)
{
	for (size_t i = 0; i < len; i++) value[i] = (char)(1 + (seq * 31 + i) % 255);
}

static size_t length_of(uint64_t seq)
{
	return 1 + (size_t)(seq * 2654435761u % 9000); /* inline values and overflow pages of all fills */
}

static void append(uint64_t from, uint64_t to)
{
	static char value[9001];
	struct store_txn *txn;
	assert_int_equal(store_begin(env, true, &txn), OK);
	for (uint64_t seq = from; seq < to; seq++) {
		fill(value, length_of(seq), seq);
		assert_int_equal(store_append(txn, db, store_key64(&seq), str_of(value, length_of(seq))), OK);
	}
	assert_int_equal(store_commit(txn), OK);
}

static void assert_all_there(uint64_t below)
{
	static char expected[9001];
	struct store_txn *txn;
	assert_int_equal(store_begin(env, false, &txn), OK);
	for (uint64_t seq = 1; seq < below; seq++) {
		struct str value;
		assert_int_equal(store_get(txn, db, store_key64(&seq), &value), OK);
		fill(expected, length_of(seq), seq);
		assert_int_equal(value.len, length_of(seq));
		assert_memory_equal(value.ptr, expected, value.len);
	}
	store_abort(txn);
}

static uint64_t file_bytes(void)
{
	char path[512];
	struct stat st;
	assert_true(snprintf(path, sizeof path, "%s/data.mdb", dir.path) > 0);
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

static void what_was_written_stays(void **state)
{
	(void)state;
	uint64_t next = 1;
	for (int life = 0; life < 4; life++) {
		open_env(AHEAD);
		for (int commit = 0; commit < 60; commit++) { /* small commits and some that outrun the writing ahead */
			uint64_t count = commit % 10 == 9 ? 1500 : (uint64_t)(1 + commit % 7);
			append(next, next + count);
			next += count;
		}
		assert_all_there(next);
		store_close(env);
		open_env(0);
		assert_all_there(next);
		store_close(env);
	}
}

static void the_file_is_ahead_while_open_and_cut_when_closed(void **state)
{
	(void)state;
	open_env(AHEAD);
	append(1, 2000);
	uint64_t used = store_used_bytes(env);
	for (int tries = 0; tries < 5000 && file_bytes() < used + 100000; tries++) {
		struct timespec pause = {.tv_nsec = 1000000};
		(void)nanosleep(&pause, NULL);
	}
	assert_true(file_bytes() >= used + 100000);
	store_close(env);
	assert_true(file_bytes() == used);
	open_env(0);
	assert_all_there(2000);
	store_close(env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_was_written_stays, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(the_file_is_ahead_while_open_and_cut_when_closed, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
