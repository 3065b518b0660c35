#include "api/api_test.h"

#include "api/internal.h"
#include "api/openapi.h"

struct seen {
	size_t count, ingest, scoped, person;
};

/* Whatever is public is named here; everything else must say which scope or key it takes. */
static const char *const PUBLIC[] = {"/healthz",
				     "/readyz",
				     "/metrics",
				     "/openapi.yaml",
				     "/v1/projects/{key}/settings",
				     "/v1/m",
				     "/r/{token}",
				     "/v1/forms/{name}",
				     "/v1/forms/{name}/results" /* when the form says so */,
				     "/v1/hooks/{source}" /* its plugin says who may */};

static bool is_public(const char *path)
{
	for (size_t i = 0; i < COUNT_OF(PUBLIC); i++)
		if (strcmp(path, PUBLIC[i]) == 0) return true;
	return false;
}

static void check_route(void *ctx, const struct route *route)
{
	struct seen *seen = ctx;
	enum scope scope;
	seen->count++;
	assert_non_null(route->scope);
	assert_non_null(route->handler);
	char entry[128];
	(void)snprintf(entry, sizeof entry, "\n  %s:", route->path);
	if (!has_text(str_of(openapi_yaml, openapi_yaml_len), entry))
		fail_msg("%s is not in docs/openapi.yaml", route->path);
	if (strcmp(route->scope, "write_key") == 0) {
		seen->ingest++;
		assert_int_equal(route->cors, CORS_INGEST);
	} else if (strcmp(route->scope, "person") == 0) {
		seen->person++;
		assert_int_equal(route->cors, CORS_PERSON);
	} else if (strcmp(route->scope, "amp") == 0) {
		assert_int_equal(route->cors, CORS_NONE); /* its own rules: core/api/amp.c */
	} else if (!*route->scope) {
		if (!is_public(route->path)) fail_msg("%s has no scope", route->path);
	} else {
		seen->scoped++;
		if (!scope_from_name(str_from(route->scope), &scope))
			fail_msg("%s: unknown scope %s", route->path, route->scope);
		assert_int_equal(route->cors, CORS_NONE);
		/* api.md: who may see what. */
		bool is_act =
		    strcmp(route->path, "/v1/profiles/merge") == 0 || strcmp(route->path, "/v1/profiles/unmerge") == 0;
		if (strncmp(route->path, "/v1/profiles", 12) == 0) {
			bool is_export = strstr(route->path, "/export") != NULL;
			enum scope expected = route->methods == HTTP_DELETE ? SCOPE_ERASE
					      : is_export                   ? SCOPE_EXPORT
					      : is_act                      ? SCOPE_MERGE
									    : SCOPE_PROFILES_READ;
			if (strcmp(route->path, "/v1/profiles/{ref}/traits") == 0 && route->methods == HTTP_POST)
				expected = SCOPE_TRAITS_WRITE;
			assert_int_equal(scope, expected);
		}
		if (strncmp(route->path, "/v1/erasures", 12) == 0) assert_int_equal(scope, SCOPE_ERASE);
		if (strncmp(route->path, "/v1/suppressions", 16) == 0) assert_int_equal(scope, SCOPE_ERASE);
		if (strncmp(route->path, "/v1/subscriptions", 17) == 0) assert_int_equal(scope, SCOPE_CHANGES_READ);
		if (strncmp(route->path, "/v1/snapshot", 12) == 0) assert_int_equal(scope, SCOPE_CHANGES_READ);
		if (strncmp(route->path, "/v1/changes", 11) == 0) assert_int_equal(scope, SCOPE_CHANGES_READ);
	}
	bool is_admin_path = strncmp(route->path, "/v1/admin/", 10) == 0;
	if (is_admin_path) assert_string_equal(route->scope, "admin");
	assert_int_equal(route->admin_only, is_admin_path || strcmp(route->path, "/metrics") == 0);
}

static void every_route_is_documented_and_names_who_may_use_it(void **state)
{
	(void)state;
	struct api api = {0};
	struct router *router;
	struct seen seen = {0};
	assert_int_equal(router_new(&router), OK);
	assert_int_equal(api_register(&api, router), OK);
	router_each(router, check_route, &seen);
	assert_true(seen.ingest >= 8);
	assert_true(seen.scoped >= 16);
	assert_true(seen.person >= 4);
	router_free(router);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_route_is_documented_and_names_who_may_use_it)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
