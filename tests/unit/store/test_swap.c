/* Putting a copy in the place of an env's content while others read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "store/store.h"
#include "test_dir.h"

static const struct store_options OPTIONS = {.map_bytes = 64 << 20, .max_dbs = 8, .format = 1};
static const _Atomic bool go_on;

struct fixture {
	struct test_dir dir;
	struct test_path path, copy;
	struct store_env *env;
	store_db rows, numbers;
};

static void fixture_open(struct fixture *f)
{
	assert_int_equal(store_open(f->path.text, &OPTIONS, &f->env), OK);
	assert_int_equal(store_db_open(f->env, "rows", 0, &f->rows), OK);
	assert_int_equal(store_db_open(f->env, "numbers", STORE_DB_INTEGER_KEY, &f->numbers), OK);
}

static void fixture_make(struct fixture *f)
{
	f->dir = test_dir_make();
	f->path = test_dir_path(&f->dir, "env");
	f->copy = test_dir_path(&f->dir, "copy");
	fixture_open(f);
}

static void fixture_free(struct fixture *f)
{
	store_close(f->env);
	test_dir_remove(&f->dir);
}

static void put(struct fixture *f, uint64_t from, uint64_t to, const char *value)
{
	struct store_txn *txn;
	assert_int_equal(store_begin(f->env, true, &txn), OK);
	for (uint64_t i = from; i < to; i++) {
		char key[32];
		struct str name = {key, (size_t)snprintf(key, sizeof key, "key-%06llu", (unsigned long long)i)};
		assert_int_equal(store_put(txn, f->rows, name, str_from(value)), OK);
		assert_int_equal(store_put(txn, f->numbers, store_key64(&i), str_from(value)), OK);
	}
	assert_int_equal(store_commit(txn), OK);
}

static void del(struct fixture *f, uint64_t from, uint64_t to)
{
	struct store_txn *txn;
	assert_int_equal(store_begin(f->env, true, &txn), OK);
	for (uint64_t i = from; i < to; i++) {
		char key[32];
		struct str name = {key, (size_t)snprintf(key, sizeof key, "key-%06llu", (unsigned long long)i)};
		assert_int_equal(store_del(txn, f->rows, name), OK);
		assert_int_equal(store_del(txn, f->numbers, store_key64(&i)), OK);
	}
	assert_int_equal(store_commit(txn), OK);
}

static bool file_holds(struct fixture *f, const char *needle)
{
	char path[600];
	(void)snprintf(path, sizeof path, "%s/data.mdb", f->path.text);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	static char bytes[32 << 20];
	size_t len = fread(bytes, 1, sizeof bytes, file);
	assert_true(len > 0 && len < sizeof bytes);
	(void)fclose(file);
	return memmem(bytes, len, needle, strlen(needle)) != NULL;
}

static uint64_t count(struct store_txn *txn, store_db db)
{
	uint64_t n;
	assert_int_equal(store_count(txn, db, &n), OK);
	return n;
}

static void deleted_bytes_are_gone_and_everything_goes_on(void **state)
{
	(void)state;
	struct fixture f;
	struct store_txn *reader;
	struct str value;
	uint64_t seven = 7;
	fixture_make(&f);
	put(&f, 0, 3000, "a value that stays");
	put(&f, 3000, 4000, "the canary in the mine");
	assert_int_equal(store_begin(f.env, false, &reader), OK);
	store_reset(reader);
	del(&f, 3000, 4000);
	assert_true(file_holds(&f, "canary"));
	assert_int_equal(store_copy(f.env, f.copy.text, &go_on), OK);
	assert_int_equal(store_swap_in(f.env, f.copy.text), OK);
	assert_false(file_holds(&f, "canary"));
	assert_int_equal(access(f.copy.text, F_OK), -1);
	/* The slot and the handles from before. */
	assert_int_equal(store_renew(reader), OK);
	assert_true(count(reader, f.rows) == 3000 && count(reader, f.numbers) == 3000);
	assert_int_equal(store_get(reader, f.numbers, store_key64(&seven), &value), OK);
	assert_true(str_eq(value, STR("a value that stays")));
	store_abort(reader);
	put(&f, 5000, 5001, "later");
	store_close(f.env);
	fixture_open(&f);
	assert_int_equal(store_begin(f.env, false, &reader), OK);
	assert_true(count(reader, f.rows) == 3001);
	store_abort(reader);
	fixture_free(&f);
}

struct hammer {
	struct fixture *f;
	_Atomic bool stop;
	_Atomic uint64_t reads;
};

static void *read_on(void *ctx)
{
	struct hammer *hammer = ctx;
	struct store_txn *kept = NULL;
	while (!atomic_load(&hammer->stop)) {
		struct store_txn *txn;
		CHECK(store_begin(hammer->f->env, false, &txn) == OK);
		uint64_t a, b;
		CHECK(store_count(txn, hammer->f->rows, &a) == OK && store_count(txn, hammer->f->numbers, &b) == OK &&
		      a == b);
		if (kept) {
			store_abort(txn); /* one snapshot of an env at a time */
			CHECK(store_renew(kept) == OK);
			CHECK(store_count(kept, hammer->f->rows, &a) == OK);
			store_reset(kept);
		} else {
			kept = txn;
			store_reset(kept);
		}
		atomic_fetch_add(&hammer->reads, 1);
	}
	store_abort(kept);
	return NULL;
}

static void readers_are_not_disturbed(void **state)
{
	(void)state;
	struct fixture f;
	pthread_t threads[3];
	fixture_make(&f);
	struct hammer hammer = {.f = &f};
	put(&f, 0, 200, "v");
	for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, read_on, &hammer), 0);
	for (uint64_t round = 0; round < 30; round++) {
		uint64_t before = atomic_load(&hammer.reads);
		put(&f, 200 + round, 201 + round, "more");
		assert_int_equal(store_copy(f.env, f.copy.text, &go_on), OK);
		assert_int_equal(store_swap_in(f.env, f.copy.text), OK);
		while (atomic_load(&hammer.reads) == before) usleep(1000);
	}
	atomic_store(&hammer.stop, true);
	for (int i = 0; i < 3; i++) (void)pthread_join(threads[i], NULL);
	fixture_free(&f);
}

static void who_keeps_a_snapshot_does_not_hold_up_the_others(void **state)
{
	(void)state;
	struct fixture f;
	struct store_txn *kept, *other;
	fixture_make(&f);
	put(&f, 0, 10, "v");
	assert_int_equal(store_begin(f.env, false, &kept), OK);
	assert_int_equal(store_copy(f.env, f.copy.text, &go_on), OK);
	assert_int_equal(store_swap_in(f.env, f.copy.text), ERR_BUSY);
	assert_int_equal(store_begin(f.env, false, &other), OK);
	assert_true(count(other, f.rows) == 10 && count(kept, f.rows) == 10);
	store_abort(other);
	store_abort(kept);
	assert_int_equal(store_swap_in(f.env, f.copy.text), OK);
	fixture_free(&f);
}

static void a_copy_that_was_stopped_or_is_not_complete_changes_nothing(void **state)
{
	(void)state;
	static const _Atomic bool stop = true;
	struct fixture f;
	fixture_make(&f);
	static char large[4000];
	memset(large, 'x', sizeof large - 1);
	for (uint64_t i = 0; i < 10; i++) put(&f, i * 500, i * 500 + 500, large);
	assert_int_equal(store_copy(f.env, f.copy.text, &stop), ERR_CLOSED);
	assert_int_equal(store_copy(f.env, f.copy.text, &go_on), OK); /* over what was left */
	store_close(f.env);
	assert_int_equal(store_open(f.path.text, &OPTIONS, &f.env), OK);
	assert_int_equal(store_db_open(f.env, "rows", 0, &f.rows), OK);
	assert_int_equal(store_copy(f.env, f.copy.text, &go_on),
			 ERR_FORMAT); /* one database was not opened: it would be lost */
	fixture_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(deleted_bytes_are_gone_and_everything_goes_on),
	    cmocka_unit_test(readers_are_not_disturbed),
	    cmocka_unit_test(who_keeps_a_snapshot_does_not_hold_up_the_others),
	    cmocka_unit_test(a_copy_that_was_stopped_or_is_not_complete_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
