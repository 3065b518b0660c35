#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store/store.h"
#include "store/test_dir.h"

static struct test_dir dir;
static ino_t synced; /* the last directory */

int __wrap_fsync(int fd);
int __real_fsync(int fd);

int __wrap_fsync(int fd)
{
	struct stat st;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) synced = st.st_ino;
	return __real_fsync(fd);
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

static const struct store_options options = {.map_bytes = 1 << 24, .max_dbs = 4, .format = 3};

static struct store_env *open_env(const char *name, const struct store_options *how)
{
	struct test_path path = test_dir_path(&dir, name);
	struct store_env *env;
	assert_int_equal(store_open(path.text, how, &env), OK);
	assert_string_equal(store_path(env), path.text);
	return env;
}

static void put(struct store_env *env, store_db db, const char *key, const char *value)
{
	struct store_txn *txn;
	assert_int_equal(store_begin(env, true, &txn), OK);
	assert_int_equal(store_put(txn, db, str_from(key), str_from(value)), OK);
	assert_int_equal(store_commit(txn), OK);
}

static void assert_has(struct store_env *env, store_db db, const char *key, const char *value)
{
	struct store_txn *txn;
	struct str got;
	assert_int_equal(store_begin(env, false, &txn), OK);
	assert_int_equal(store_get(txn, db, str_from(key), &got), OK);
	assert_true(str_eq(got, str_from(value)));
	store_abort(txn);
}

static void what_was_committed_is_there_after_reopening(void **state)
{
	(void)state;
	store_db db;
	struct store_env *env = open_env("env", &options);
	assert_int_equal(store_db_open(env, "things", 0, &db), OK);
	put(env, db, "key", "value");
	store_close(env);
	env = open_env("env", &options);
	assert_int_equal(store_db_open(env, "things", 0, &db), OK);
	assert_has(env, db, "key", "value");
	assert_true(store_used_bytes(env) >= 8192);
	store_close(env);
	struct store_options read_only = options;
	read_only.read_only = true;
	env = open_env("env", &read_only);
	assert_int_equal(store_db_open(env, "things", 0, &db), OK);
	assert_has(env, db, "key", "value");
	assert_int_equal(store_db_open(env, "nothing", 0, &db), ERR_NOT_FOUND);
	store_close(env);
}

static void a_directory_is_private(void **state)
{
	(void)state;
	struct stat st;
	struct store_env *env = open_env("env", &options);
	assert_int_equal(stat(store_path(env), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	store_close(env);
}

static void one_process_opens_an_env_once(void **state)
{
	(void)state;
	struct store_env *env = open_env("env", &options), *again;
	struct test_path path = test_dir_path(&dir, "env"), detour = test_dir_path(&dir, "env/../env");
	assert_int_equal(store_open(path.text, &options, &again), ERR_LOCKED);
	assert_null(again);
	assert_int_equal(store_open(detour.text, &options, &again), ERR_LOCKED);
	store_close(env);
	env = open_env("env", &options);
	store_close(env);
}

static void a_future_format_is_refused(void **state)
{
	(void)state;
	struct store_options newer = options;
	newer.format = 4;
	struct store_env *env = open_env("env", &newer), *older;
	store_close(env);
	struct test_path path = test_dir_path(&dir, "env");
	assert_int_equal(store_open(path.text, &options, &older), ERR_FORMAT);
	env = open_env("env", &newer);
	store_close(env);
}

static void what_is_no_env_is_refused(void **state)
{
	(void)state;
	struct store_env *env;
	struct store_options read_only = options;
	read_only.read_only = true;
	struct test_path path = test_dir_path(&dir, "env"), file = test_dir_path(&dir, "env/data.mdb");
	assert_int_equal(store_open(path.text, &read_only, &env), ERR_NOT_FOUND);
	assert_int_equal(mkdir(path.text, 0700), 0);
	FILE *out = fopen(file.text, "w");
	assert_non_null(out);
	assert_int_equal(store_open(path.text, &read_only, &env), ERR_CORRUPT); /* zero bytes */
	for (int i = 0; i < 8192; i++) assert_int_equal(fputc(i % 251, out), i % 251);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(store_open(path.text, &read_only, &env), ERR_CORRUPT);
	assert_int_equal(store_open(path.text, &options, &env), ERR_CORRUPT);
}

/* Children that are started by exec must not be able to write the database. */
static void children_inherit_no_descriptor(void **state)
{
	(void)state;
	store_db db;
	struct store_env *env = open_env("env", &options);
	assert_int_equal(store_db_open(env, "things", 0, &db), OK);
	put(env, db, "key", "value");
	size_t found = 0;
	for (int fd = 3; fd < 256; fd++) {
		char link[64], target[512];
		(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		ssize_t len = readlink(link, target, sizeof target - 1);
		if (len < 0) continue;
		target[len] = '\0';
		if (!strstr(target, dir.path)) continue;
		found++;
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	assert_true(found >= 2); /* data and lock file at least, or this looked at nothing */
	store_close(env);
}

static int lock_in_child(const char *path)
{
	pid_t child = fork();
	if (child == 0) {
		int fd;
		_exit(-store_lock(path, &fd));
	}
	int status;
	assert_true(waitpid(child, &status, 0) == child && WIFEXITED(status));
	return -WEXITSTATUS(status);
}

static void the_second_daemon_is_locked_out(void **state)
{
	(void)state;
	int fd, again;
	assert_int_equal(lock_in_child(dir.path), OK);
	assert_int_equal(store_lock(dir.path, &fd), OK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(lock_in_child(dir.path), ERR_LOCKED);
	assert_int_equal(store_lock(dir.path, &again), ERR_LOCKED);
	assert_int_equal(again, -1);
	store_unlock(fd);
	assert_int_equal(lock_in_child(dir.path), OK);
	struct test_path missing = test_dir_path(&dir, "missing");
	assert_int_equal(store_lock(missing.text, &again), ERR_NOT_FOUND);
}

static void directories_are_made_renamed_and_removed(void **state)
{
	(void)state;
	uint64_t bytes;
	struct store_env *env = open_env("env", &options);
	store_close(env);
	struct test_path from = test_dir_path(&dir, "env"), to = test_dir_path(&dir, "moved");
	struct test_path file = test_dir_path(&dir, "moved/data.mdb");
	assert_int_equal(store_path_bytes(from.text, &bytes), OK);
	assert_true(bytes >= 8192);
	assert_int_equal(store_rename(from.text, to.text), OK);
	assert_int_equal(store_path_bytes(from.text, &bytes), ERR_NOT_FOUND);
	assert_int_equal(store_make_dir(to.text), OK);
	assert_int_equal(store_make_dir(file.text), ERR_IO); /* a file is in the way */
	assert_int_equal(store_remove_env(to.text), OK);
	assert_int_equal(access(to.text, F_OK), -1);
	assert_int_equal(store_remove_env(to.text), OK);
	assert_int_equal(store_fsync_dir(dir.path), OK);
	assert_int_equal(store_fsync_dir(to.text), ERR_NOT_FOUND);
	assert_int_equal(store_free_bytes(dir.path, &bytes), OK);
	assert_true(bytes > 0);
	assert_int_equal(store_free_bytes(to.text, &bytes), ERR_IO);
}

/* Its maker may have died between mkdir and fsync: the next start must not build on it. */
static void a_directory_that_exists_is_made_durable_too(void **state)
{
	(void)state;
	struct stat st;
	struct test_path parent = test_dir_path(&dir, "parent"), child = test_dir_path(&dir, "parent/child");
	assert_int_equal(mkdir(parent.text, 0700), 0);
	assert_int_equal(mkdir(child.text, 0700), 0);
	assert_int_equal(stat(parent.text, &st), 0);
	synced = 0;
	assert_int_equal(store_make_dir(child.text), OK);
	assert_true(synced == st.st_ino);
	assert_int_equal(rmdir(child.text), 0);
	assert_int_equal(rmdir(parent.text), 0);
}

static void a_long_reader_shows_in_the_gauge(void **state)
{
	(void)state;
	store_db db;
	struct store_txn *reader;
	struct str value;
	struct store_env *env = open_env("env", &options);
	assert_int_equal(store_db_open(env, "things", 0, &db), OK);
	put(env, db, "key", "before");
	assert_true(store_reader_lag(env) == 0);
	assert_int_equal(store_begin(env, false, &reader), OK);
	for (int i = 0; i < 5; i++) put(env, db, "key", "after");
	assert_true(store_reader_lag(env) == 5);
	/* Readers never wait, and see what there was when they began. */
	assert_int_equal(store_get(reader, db, STR("key"), &value), OK);
	assert_true(str_eq(value, STR("before")));
	store_reset(reader);
	assert_true(store_reader_lag(env) == 0);
	assert_int_equal(store_renew(reader), OK);
	assert_int_equal(store_get(reader, db, STR("key"), &value), OK);
	assert_true(str_eq(value, STR("after")));
	store_abort(reader);
	store_close(env);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(what_was_committed_is_there_after_reopening),
	    TEST(a_directory_is_private),
	    TEST(one_process_opens_an_env_once),
	    TEST(a_future_format_is_refused),
	    TEST(what_is_no_env_is_refused),
	    TEST(children_inherit_no_descriptor),
	    TEST(the_second_daemon_is_locked_out),
	    TEST(directories_are_made_renamed_and_removed),
	    TEST(a_directory_that_exists_is_made_durable_too),
	    TEST(a_long_reader_shows_in_the_gauge),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
