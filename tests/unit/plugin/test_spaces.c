/* What plugins keep: durable key-values, caches that survive restarts and stay within their bounds. */
#include "plugin/spaces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store/store.h"

static char folder[64];
static struct spaces *spaces;
static struct arena arena;

static void open_with(uint64_t bytes)
{
	assert_int_equal(spaces_open(folder, bytes, &spaces), OK);
}

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof folder, "%s/cdpd-spaces-XXXXXX", "/tmp");
	arena_init(&arena, 4096, 0);
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	char path[128];
	(void)state;
	spaces_close(spaces);
	spaces = NULL;
	arena_fini(&arena);
	(void)snprintf(path, sizeof path, "%s/plugins", folder);
	return store_remove_env(path) || rmdir(folder);
}

static int64_t now_ms(void)
{
	return clock_wall_us() / 1000;
}

static struct str read_kv(uint64_t space, const char *key)
{
	static char value[2000];
	size_t len;
	int rc = kv_get(spaces, space, str_from(key), value, sizeof value, &len);
	return rc == OK ? str_of(value, len) : STR("(none)");
}

#define SAME(text, expected) assert_true(str_eq((text), STR(expected)))

static void key_values_are_durable_and_apart(void **state)
{
	uint64_t a = space_of(STR("a")), b = space_of(STR("b"));
	(void)state;
	open_with(SPACES_CACHE_DEFAULT);
	assert_int_equal(kv_put(spaces, a, STR("k"), STR("one"), 0), OK);
	assert_int_equal(kv_put(spaces, b, STR("k"), STR("two"), 0), OK);
	assert_int_equal(kv_put(spaces, a, STR("gone"), STR("x"), 0), OK);
	assert_int_equal(kv_put(spaces, a, STR("gone"), STR_NONE, 0), OK);
	assert_int_equal(kv_put(spaces, a, STR("short"), STR("x"), 1), OK);
	spaces_close(spaces);
	usleep(5000); /* past the ttl of `short` */
	open_with(SPACES_CACHE_DEFAULT);
	SAME(read_kv(a, "k"), "one");
	SAME(read_kv(b, "k"), "two");
	SAME(read_kv(a, "gone"), "(none)");
	SAME(read_kv(a, "short"), "(none)");
	char half[2];
	size_t len;
	assert_int_equal(kv_get(spaces, a, STR("k"), half, sizeof half, &len), OK);
	assert_int_equal(len, 3);
	assert_memory_equal(half, "on", 2);
}

static void key_values_are_bounded(void **state)
{
	static char big[SPACE_VALUE_MAX + 1];
	char key[SPACE_KEY_MAX + 1];
	(void)state;
	memset(key, 'k', sizeof key);
	open_with(SPACES_CACHE_DEFAULT);
	assert_int_equal(kv_put(spaces, 1, STR("k"), str_of(big, sizeof big), 0), ERR_TOO_LARGE);
	assert_int_equal(kv_put(spaces, 1, str_of(key, sizeof key), STR("v"), 0), ERR_INVALID);
	assert_int_equal(kv_put(spaces, 1, STR_NONE, STR("v"), 0), ERR_INVALID);
	assert_int_equal(kv_put(spaces, 1, str_of(key, SPACE_KEY_MAX), str_of(big, SPACE_VALUE_MAX), 0), OK);
}

static void put(const char *key, const char *value, int64_t fresh, int64_t usable)
{
	const struct cached cached = {
	    .fresh_until = now_ms() + fresh, .usable_until = now_ms() + usable, .value = str_from(value)};
	cached_put(spaces, 7, str_from(key), &cached);
}

static void caches_survive_and_forget(void **state)
{
	struct cached found;
	(void)state;
	open_with(SPACES_CACHE_DEFAULT);
	put("a", "first", 60000, 90000);
	put("a", "second", 60000, 90000);
	put("old", "x", -10, 1);
	assert_int_equal(cached_get(spaces, 7, STR("a"), &arena, &found), OK);
	SAME(found.value, "second");
	spaces_close(spaces);
	usleep(3000);
	open_with(SPACES_CACHE_DEFAULT);
	assert_int_equal(cached_get(spaces, 7, STR("a"), &arena, &found), OK);
	SAME(found.value, "second");
	assert_false(found.is_negative);
	assert_int_equal(cached_get(spaces, 7, STR("old"), &arena, &found), ERR_NOT_FOUND);
	assert_int_equal(cached_get(spaces, 8, STR("a"), &arena, &found), ERR_NOT_FOUND);
	const struct cached none = {
	    .is_negative = true, .fresh_until = now_ms() + 60000, .usable_until = now_ms() + 60000, .value = STR_NONE};
	cached_put(spaces, 7, STR("none"), &none);
	assert_int_equal(spaces_flush(spaces), OK);
	assert_int_equal(cached_get(spaces, 7, STR("none"), &arena, &found), OK);
	assert_true(found.is_negative);
}

/* What ends first goes first; what is over goes in any case. */
static void caches_stay_within_their_bytes(void **state)
{
	static char value[1001];
	struct cached found;
	char key[32];
	(void)state;
	memset(value, 'v', sizeof value - 1);
	open_with(20000);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 100; i++) {
			(void)snprintf(key, sizeof key, "%d-%d", round, i);
			put(key, value, 1000, 100000 + round * 100000 + i);
		}
		assert_int_equal(spaces_flush(spaces), OK);
		assert_true(spaces_cache_bytes(spaces) <= 20000);
		assert_true(spaces_cache_bytes(spaces) > 10000);
	}
	assert_int_equal(kv_put(spaces, 7, STR("kept"), STR("v"), 90000),
			 OK); /* ends before all of them: no way to make room */
	put("last", value, 1000, 900000);
	assert_int_equal(spaces_flush(spaces), OK);
	assert_int_equal(cached_get(spaces, 7, STR("last"), &arena, &found), OK);
	assert_int_equal(cached_get(spaces, 7, STR("4-99"), &arena, &found), OK);
	assert_int_equal(cached_get(spaces, 7, STR("0-0"), &arena, &found), ERR_NOT_FOUND);
	SAME(read_kv(7, "kept"), "v");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(key_values_are_durable_and_apart, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(key_values_are_bounded, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(caches_survive_and_forget, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(caches_stay_within_their_bytes, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
