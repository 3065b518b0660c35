/* Every shape in which a private address comes is refused, unless it was allowed. */
#include "plugin/http_guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool lets(const struct http_guard *guard, const char *host, const char *address)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
		return http_guard_lets(guard, str_from(host), (const struct sockaddr *)&v4);
	assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
	return http_guard_lets(guard, str_from(host), (const struct sockaddr *)&v6);
}

static void only_the_public_internet(void **state)
{
	static const char *const closed[] = {"127.0.0.1",
					     "127.1.2.3",
					     "0.0.0.0",
					     "10.0.0.1",
					     "172.16.0.1",
					     "172.31.255.255",
					     "192.168.1.1",
					     "169.254.169.254",
					     "100.64.0.1",
					     "192.0.0.1",
					     "192.0.2.1",
					     "198.18.0.1",
					     "198.51.100.1",
					     "203.0.113.9",
					     "224.0.0.1",
					     "240.0.0.1",
					     "255.255.255.255",
					     "::",
					     "::1",
					     "::ffff:127.0.0.1",
					     "::ffff:10.0.0.1",
					     "::ffff:169.254.169.254",
					     "::127.0.0.1",
					     "64:ff9b::7f00:1",
					     "64:ff9b::a9fe:a9fe",
					     "64:ff9b:1::1",
					     "fc00::1",
					     "fd12:3456::1",
					     "fe80::1",
					     "fec0::1",
					     "ff02::1",
					     "2001:db8::1",
					     "2001::1",
					     "2002:7f00:1::",
					     "100::1",
					     "3fff::1"};
	static const char *const open[] = {"8.8.8.8",        "1.1.1.1",         "172.15.0.1",      "172.32.0.1",
					   "9.255.0.1",      "100.128.0.1",     "2606:4700::1111", "2a00:1450::1",
					   "::ffff:8.8.8.8", "64:ff9b::808:808"};
	const struct http_guard none = {0};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(closed); i++)
		if (lets(&none, "example.org", closed[i])) fail_msg("%s was let through", closed[i]);
	for (size_t i = 0; i < COUNT_OF(open); i++)
		if (!lets(&none, "example.org", open[i])) fail_msg("%s was refused", open[i]);
}

static void what_is_allowed_is_all_that_opens(void **state)
{
	struct str texts[] = {STR("127.0.0.0/8"), STR("fd00::/8"), STR("api.internal"), STR("10.1.2.3")}, bad;
	struct http_guard guard;
	struct arena arena;
	(void)state;
	arena_init(&arena, 1024, 0);
	assert_int_equal(http_guard_make(&arena, texts, COUNT_OF(texts), &guard, &bad), OK);
	assert_true(lets(&guard, "x", "127.9.9.9") && lets(&guard, "x", "fd99::1") && lets(&guard, "x", "10.1.2.3"));
	assert_true(lets(&guard, "api.internal", "192.168.0.9") && lets(&guard, "API.internal", "192.168.0.9"));
	assert_false(lets(&guard, "x", "10.1.2.4"));
	assert_false(lets(&guard, "x", "192.168.0.9"));
	assert_false(lets(&guard, "my-api.internal", "192.168.0.9"));
	assert_false(lets(&guard, "x", "169.254.169.254"));
	arena_fini(&arena);
}

static void what_is_neither_is_named(void **state)
{
	struct str texts[] = {STR("10.0.0.0/33"), STR("1.2.3"), STR(""), STR("a b"), STR("::1/129"), STR("http://x")},
		   bad;
	struct http_guard guard;
	struct arena arena;
	(void)state;
	arena_init(&arena, 1024, 0);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		assert_int_equal(http_guard_make(&arena, &texts[i], 1, &guard, &bad), ERR_INVALID);
		assert_true(str_eq(bad, texts[i]));
	}
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_the_public_internet),
	    cmocka_unit_test(what_is_allowed_is_all_that_opens),
	    cmocka_unit_test(what_is_neither_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
