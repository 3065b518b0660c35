#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/router.h"

static void handler(struct http_request *request, void *ctx)
{
	(void)request, (void)ctx;
}

static struct router *router;

static void add(unsigned methods, const char *path, enum cors_class cors, bool admin_only)
{
	struct route route = {
	    .methods = methods, .path = path, .cors = cors, .admin_only = admin_only, .handler = handler};
	assert_int_equal(router_add(router, &route), OK);
}

static int setup(void **state)
{
	(void)state;
	assert_int_equal(router_new(&router), OK);
	add(HTTP_POST, "/v1/track", CORS_INGEST, false);
	add(HTTP_GET, "/", CORS_NONE, false);
	add(HTTP_GET, "/v1/profiles/{ref}", CORS_NONE, false);
	add(HTTP_DELETE, "/v1/profiles/{ref}", CORS_NONE, false);
	add(HTTP_POST, "/v1/profiles/lookup", CORS_NONE, false);
	add(HTTP_GET, "/v1/profiles/{ref}/events", CORS_NONE, false);
	add(HTTP_GET | HTTP_PUT, "/v1/{a}/x/{b}/", CORS_PERSON, false);
	add(HTTP_GET, "/metrics", CORS_NONE, true);
	add(HTTP_GET, "/healthz", CORS_NONE, false);
	add(HTTP_POST, "/healthz", CORS_NONE, true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	router_free(router);
	return 0;
}

static struct route_match match(unsigned method, const char *path, bool is_admin)
{
	struct route_match out;
	router_match(router, str_from(path), method, is_admin, &out);
	return out;
}

static const char *path_of(unsigned method, const char *path)
{
	struct route_match got = match(method, path, false);
	return got.route ? got.route->path : "";
}

static void finds_literal_paths(void **state)
{
	(void)state;
	assert_string_equal(path_of(HTTP_POST, "/v1/track"), "/v1/track");
	assert_string_equal(path_of(HTTP_POST, "/v1/track/"), "/v1/track");
	assert_string_equal(path_of(HTTP_GET, "/"), "/");
	assert_string_equal(path_of(HTTP_POST, "/v1/track//"), "");
	assert_string_equal(path_of(HTTP_POST, "/v1//track"), "");
	assert_string_equal(path_of(HTTP_POST, "/V1/track"), "");
	assert_string_equal(path_of(HTTP_POST, "/v1/trac"), "");
	assert_string_equal(path_of(HTTP_POST, ""), "");
	assert_string_equal(path_of(HTTP_OPTIONS, "*"), "");
}

static void captures_segments(void **state)
{
	(void)state;
	const char *path = "/v1/one/x/two%20three/";
	struct route_match got = match(HTTP_PUT, path, false);
	assert_non_null(got.route);
	assert_int_equal(got.param_count, 2);
	assert_true(str_eq(text_at(path, got.params[0]), STR("one")));
	assert_true(str_eq(text_at(path, got.params[1]), STR("two%20three")));
	assert_string_equal(path_of(HTTP_GET, "/v1/profiles/a/events"), "/v1/profiles/{ref}/events");
	assert_string_equal(path_of(HTTP_GET, "/v1/profiles//events"), "");
	assert_string_equal(path_of(HTTP_GET, "/v1/profiles/"), "");
	assert_string_equal(path_of(HTTP_GET, "/v1/profiles/a/b"), "");
	assert_int_equal(match(HTTP_GET, "/v1/profiles/a/b", false).param_count, 0);
}

static void prefers_literals_but_not_against_the_method(void **state)
{
	(void)state;
	assert_string_equal(path_of(HTTP_POST, "/v1/profiles/lookup"), "/v1/profiles/lookup");
	assert_string_equal(path_of(HTTP_GET, "/v1/profiles/lookup"), "/v1/profiles/{ref}");
}

static void tells_what_is_allowed(void **state)
{
	char text[METHODS_TEXT_SIZE];
	(void)state;
	struct route_match got = match(HTTP_GET, "/v1/track", false);
	assert_null(got.route);
	assert_int_equal(got.allowed, HTTP_POST | HTTP_OPTIONS);
	assert_int_equal(got.cors, CORS_INGEST);
	got = match(HTTP_PUT, "/v1/profiles/a", false);
	assert_true(str_eq(methods_text(got.allowed, text), STR("GET, HEAD, DELETE, OPTIONS")));
	got = match(HTTP_PUT, "/v1/profiles/lookup", false);
	assert_true(str_eq(methods_text(got.allowed, text), STR("GET, HEAD, POST, DELETE, OPTIONS")));
	assert_int_equal(match(HTTP_GET, "/nowhere", false).allowed, 0);
}

static void adds_head_and_options(void **state)
{
	(void)state;
	assert_string_equal(path_of(HTTP_HEAD, "/healthz"), "/healthz");
	assert_string_equal(path_of(HTTP_HEAD, "/v1/track"), "");
	struct route_match got = match(HTTP_OPTIONS, "/v1/track", false);
	assert_null(got.route);
	assert_true(got.allowed & HTTP_OPTIONS);
}

static void hides_admin_routes(void **state)
{
	(void)state;
	assert_int_equal(match(HTTP_GET, "/metrics", false).allowed, 0);
	assert_non_null(match(HTTP_GET, "/metrics", true).route);
	assert_int_equal(match(HTTP_POST, "/healthz", false).allowed, HTTP_GET | HTTP_HEAD | HTTP_OPTIONS);
	assert_non_null(match(HTTP_POST, "/healthz", true).route);
}

static void refuses_the_same_route_twice(void **state)
{
	struct route route = {.methods = HTTP_GET | HTTP_POST, .path = "/v1/track/", .handler = handler};
	(void)state;
	assert_int_equal(router_add(router, &route), ERR_EXISTS);
}

static void count_route(void *ctx, const struct route *route)
{
	(void)route;
	++*(int *)ctx;
}

static void walks_in_order(void **state)
{
	int count = 0;
	(void)state;
	router_each(router, count_route, &count);
	assert_int_equal(count, 10);
}

static void survives_many_segments(void **state)
{
	char path[64];
	size_t len = 0;
	(void)state;
	for (int i = 0; i < ROUTE_PARAMS_MAX + 1; i++) {
		memcpy(path + len, "/{a}", 4);
		len += 4;
	}
	path[len] = '\0';
	add(HTTP_GET, path, CORS_NONE, false);
	assert_null(match(HTTP_GET, "/1/2/3/4/5/6/7/8/9", false).route);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_literal_paths),
	    cmocka_unit_test(captures_segments),
	    cmocka_unit_test(prefers_literals_but_not_against_the_method),
	    cmocka_unit_test(tells_what_is_allowed),
	    cmocka_unit_test(adds_head_and_options),
	    cmocka_unit_test(hides_admin_routes),
	    cmocka_unit_test(refuses_the_same_route_twice),
	    cmocka_unit_test(walks_in_order),
	    cmocka_unit_test(survives_many_segments),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
