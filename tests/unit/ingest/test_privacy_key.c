#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ingest/harness.h"
#include "ingest/privacy_key.h"

static char folder[] = "/tmp/cdpd-key-XXXXXX";
static char file[64];

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder)) return -1;
	(void)snprintf(file, sizeof file, "%s/privacy.key", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)unlink(file);
	return rmdir(folder);
}

static void put(const char *text, mode_t mode)
{
	FILE *f = fopen(file, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(file, mode), 0);
}

#define DIGITS "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void made_once(void **state)
{
	struct privacy_key first = {0}, second = {0};
	struct stat st;
	(void)state;
	assert_int_equal(privacy_key_load(&first, str_from(file)), OK);
	assert_true(first.is_loaded);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(privacy_key_load(&second, str_from(file)), OK);
	assert_memory_equal(first.bytes, second.bytes, PRIVACY_KEY_SIZE);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(privacy_key_load(&second, str_from(file)), OK);
	assert_memory_not_equal(first.bytes, second.bytes, PRIVACY_KEY_SIZE);
}

static void refused(void **state)
{
	struct privacy_key key = {0};
	(void)state;
	put(DIGITS "\n", 0600);
	assert_int_equal(privacy_key_load(&key, str_from(file)), OK);
	assert_int_equal(key.bytes[31], 0x1f);
	static const mode_t open_modes[] = {0644, 0640, 0604, 0660, 0620};
	for (size_t i = 0; i < COUNT_OF(open_modes); i++) {
		struct privacy_key none = {0};
		assert_int_equal(chmod(file, open_modes[i]), 0);
		assert_int_equal(privacy_key_load(&none, str_from(file)), ERR_REFUSED);
		assert_false(none.is_loaded);
	}
	static const char *const bad[] = {"", "secret", DIGITS "00", "z" DIGITS};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct privacy_key none = {0};
		put(bad[i], 0600);
		assert_int_equal(privacy_key_load(&none, str_from(file)), ERR_INVALID);
		assert_false(none.is_loaded);
	}
	assert_int_equal(privacy_key_load(&key, STR("/tmp/no/such/folder/key")), ERR_IO);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(symlink("/dev/zero", file), 0);
	assert_true(privacy_key_load(&key, str_from(file)) != OK);
}

/* A config that needs the key cannot come to life without it. */
static void no_ingest_without_it(void **state)
{
	struct ingest *ingest;
	(void)state;
	(void)unlink(file);
	put("x", 0600);
	test_config.needs_hash_key = true;
	test_config.hash_key_file = str_from(file);
	assert_int_equal(ingest_new(NULL, &test_config, &ingest), ERR_INVALID);
	put(DIGITS, 0600);
	assert_int_equal(ingest_new(NULL, &test_config, &ingest), OK);
	assert_true(ingest->key.is_loaded);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(ingest_prepare(ingest, &test_config), OK); /* it has it */
	ingest_free(ingest);
	test_config.needs_hash_key = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(made_once),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(no_ingest_without_it),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
