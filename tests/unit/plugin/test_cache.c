/* One question however many ask; what went wrong is never kept. */
#include "plugin/cache.h"

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
static struct cache_flights *flights;
static struct cdpd_cache_slot *slot; /* of the last fetch */
static int fetched, told, last_error, told_at_fetch;
static char last_value[64];

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof folder, "%s/cdpd-cache-XXXXXX", "/tmp");
	fetched = told = last_error = 0;
	slot = NULL;
	if (!mkdtemp(folder) || spaces_open(folder, SPACES_CACHE_DEFAULT, &spaces)) return -1;
	return cache_flights_new(spaces, STR("test"), &flights);
}

static int tear_down(void **state)
{
	char path[128];
	(void)state;
	cache_flights_cancel(flights);
	cache_flights_free(flights);
	spaces_close(spaces);
	(void)snprintf(path, sizeof path, "%s/plugins", folder);
	return store_remove_env(path) || rmdir(folder);
}

static void fetch(void *ctx, struct cdpd_cache_slot *given, struct cdpd_str key)
{
	(void)ctx, (void)key;
	fetched++;
	told_at_fetch = told;
	slot = given;
}

static void tell(void *ctx, int error, struct cdpd_str value)
{
	(void)ctx;
	told++;
	last_error = error;
	memcpy(last_value, value.ptr, value.len);
	last_value[value.len] = '\0';
}

static struct cdpd_str sdk(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static int get_for(const char *key, int64_t ttl_ms, int64_t negative_ms, int64_t stale_ms)
{
	const struct cdpd_cache_request request = {.size = sizeof request,
						   .key = sdk(key),
						   .ttl_ms = ttl_ms,
						   .negative_ttl_ms = negative_ms,
						   .stale_ms = stale_ms,
						   .fetch = fetch};
	return cache_flight_get(flights, &request, tell, NULL);
}

static int get(const char *key)
{
	return get_for(key, 60000, 60000, 60000);
}

static void one_flight_for_all(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) assert_int_equal(get("k"), CDPD_OK);
	assert_int_equal(fetched, 1);
	assert_int_equal(told, 0);
	assert_int_equal(cache_sdk_fill(slot, CDPD_OK, sdk("v")), CDPD_OK);
	assert_int_equal(told, 100);
	assert_string_equal(last_value, "v");
	assert_int_equal(get("k"), CDPD_OK);
	assert_int_equal(fetched, 1);
	assert_int_equal(told, 101);
	assert_int_equal(cache_sdk_fill(slot, CDPD_OK, sdk("again")), CDPD_ERR_INVALID);
	assert_int_equal(get("k"), CDPD_OK);
	assert_string_equal(last_value, "v");
}

static void errors_are_told_and_not_kept(void **state)
{
	(void)state;
	assert_int_equal(get("k"), CDPD_OK);
	assert_int_equal(cache_sdk_fill(slot, CDPD_ERR_IO, sdk("")), CDPD_OK);
	assert_int_equal(last_error, CDPD_ERR_IO);
	assert_int_equal(get("k"), CDPD_OK);
	assert_int_equal(fetched, 2);
	assert_int_equal(cache_sdk_fill(slot, CDPD_ERR_NOT_FOUND, sdk("")), CDPD_OK);
	assert_int_equal(get("k"), CDPD_OK); /* that there is none is an answer */
	assert_int_equal(fetched, 2);
	assert_int_equal(last_error, CDPD_ERR_NOT_FOUND);
	assert_int_equal(get_for("no", 1000, 0, 0), CDPD_OK);
	assert_int_equal(cache_sdk_fill(slot, CDPD_ERR_NOT_FOUND, sdk("")), CDPD_OK);
	assert_int_equal(get_for("no", 1000, 0, 0), CDPD_OK); /* unless nobody wants it kept */
	assert_int_equal(fetched, 4);
}

static void stale_values_serve_while_one_fetches(void **state)
{
	(void)state;
	assert_int_equal(get_for("k", 1, 1, 600000), CDPD_OK);
	assert_int_equal(cache_sdk_fill(slot, CDPD_OK, sdk("old")), CDPD_OK);
	usleep(3000); /* it is stale from here on, however slow the machine */
	for (int i = 0; i < 10; i++) assert_int_equal(get_for("k", 60000, 1, 600000), CDPD_OK);
	assert_int_equal(fetched, 2);
	assert_int_equal(told_at_fetch, 1); /* the asker's ctx was still its own */
	assert_int_equal(told, 11);
	assert_string_equal(last_value, "old");
	assert_int_equal(cache_sdk_fill(slot, CDPD_ERR_IO, sdk("")), CDPD_OK); /* the old one stays */
	assert_int_equal(told, 11);
	assert_int_equal(get_for("k", 60000, 1, 600000), CDPD_OK);
	assert_string_equal(last_value, "old");
	assert_int_equal(cache_sdk_fill(slot, CDPD_OK, sdk("new")), CDPD_OK);
	assert_int_equal(get_for("k", 60000, 1, 600000), CDPD_OK);
	assert_string_equal(last_value, "new");
}

static void a_fetch_that_never_ends_ends(void **state)
{
	(void)state;
	assert_int_equal(get("k"), CDPD_OK);
	struct cdpd_cache_slot *lost = slot;
	cache_flights_expire(flights, clock_mono_us());
	assert_int_equal(told, 0);
	cache_flights_expire(flights, cache_flights_due(flights));
	assert_int_equal(told, 1);
	assert_int_equal(last_error, CDPD_ERR_TIMEOUT);
	assert_int_equal(cache_sdk_fill(lost, CDPD_OK, sdk("late")), CDPD_ERR_INVALID);
	assert_int_equal(get("k"), CDPD_OK);
	assert_int_equal(fetched, 2);
	cache_flights_cancel(flights);
	assert_int_equal(last_error, CDPD_ERR_IO);
	assert_int_equal(cache_sdk_fill(slot, CDPD_OK, sdk("late")), CDPD_ERR_INVALID);
	assert_int_equal(get("k"), CDPD_ERR_INVALID);
}

static void bounds(void **state)
{
	static char key[300], value[SPACE_CACHED_MAX + 2];
	(void)state;
	memset(key, 'k', sizeof key - 1);
	memset(value, 'v', sizeof value - 1);
	assert_int_equal(get(key), CDPD_ERR_TOO_LARGE);
	assert_int_equal(get(""), CDPD_ERR_INVALID);
	assert_int_equal(get("k"), CDPD_OK);
	assert_int_equal(cache_sdk_fill(slot, CDPD_OK, sdk(value)), CDPD_ERR_TOO_LARGE);
	assert_int_equal(last_error, CDPD_ERR_TOO_LARGE);
	for (int i = 0; i < CACHE_FLIGHTS_MAX; i++) {
		(void)snprintf(key, sizeof key, "%d", i);
		assert_int_equal(get(key), CDPD_OK);
	}
	assert_int_equal(get("one more"), CDPD_ERR_BUSY);
	assert_int_equal(get("0"), CDPD_OK); /* but those under way may be joined */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(one_flight_for_all, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(errors_are_told_and_not_kept, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(stale_values_serve_while_one_fetches, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_fetch_that_never_ends_ends, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bounds, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
