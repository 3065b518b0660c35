#include "api/api_test.h"

#include "api/auth.h"
#include "base/clock.h"

static char folder[256];

static int setup(void **state)
{
	(void)state;
	make_temp_dir(folder);
	return 0;
}

static int teardown(void **state)
{
	char path[512];
	(void)state;
	(void)snprintf(path, sizeof path, "%s/tokens.yaml", folder);
	(void)unlink(path);
	return rmdir(folder);
}

static int load_with(const char *text, bool is_loopback, struct token_set **set, char **errors)
{
	static char path[512];
	static struct conf_listener listener;
	static struct str keys[] = {STR("some-key")};
	static struct conf_source source = {.write_keys = keys, .write_key_count = 1};
	write_file(folder, "tokens.yaml", 0600, text);
	(void)snprintf(path, sizeof path, "%s/tokens.yaml", folder);
	listener = (struct conf_listener){.host = STR("192.0.2.1"), .is_loopback = is_loopback};
	struct config config = {.file = STR("cdpd.yaml"),
				.tokens_file = str_from(path),
				.listeners = &listener,
				.listener_count = 1,
				.sources = &source,
				.source_count = 1};
	return token_set_load(&config, set, errors);
}

static const char TOKENS[] = "tokens:\n"
			     "  - name: reader\n"
			     "    token: secret-of-the-reader\n"
			     "    scopes: [profiles:read, changes:read]\n"
			     "  - {name: ops, token: secret-of-ops, scopes: [admin]}\n"
			     "  - {name: old, token: secret-of-old, scopes: [admin], expires: 2026-01-01T00:00:00Z}\n";

static void tokens_have_the_scopes_that_the_file_names(void **state)
{
	(void)state;
	struct token_set *set;
	char *errors;
	const struct token *token;
	assert_int_equal(load_with(TOKENS, true, &set, &errors), OK);
	assert_int_equal(token_set_count(set), 3);
	int64_t now = 1767225600 * US_PER_SECOND; /* 2026-01-01: the moment in which `old` ends */
	assert_int_equal(token_check(set, STR("secret-of-the-reader"), SCOPE_PROFILES_READ, now, &token), TOKEN_OK);
	assert_true(str_eq(token_name(token), STR("reader")));
	assert_int_equal(token_check(set, STR("secret-of-the-reader"), SCOPE_CHANGES_READ, now, &token), TOKEN_OK);
	assert_int_equal(token_check(set, STR("secret-of-the-reader"), SCOPE_ADMIN, now, &token), TOKEN_LACKS_SCOPE);
	assert_int_equal(token_check(set, STR("secret-of-ops"), SCOPE_ADMIN, now, &token), TOKEN_OK);
	assert_int_equal(token_check(set, STR("secret-of-ops"), SCOPE_PROFILES_READ, now, &token), TOKEN_LACKS_SCOPE);
	assert_int_equal(token_check(set, STR("secret-of-old"), SCOPE_ADMIN, now - 1, &token), TOKEN_OK);
	assert_int_equal(token_check(set, STR("secret-of-old"), SCOPE_ADMIN, now, &token), TOKEN_EXPIRED);
	token_set_free(set);
}

static void what_is_no_token_is_unknown(void **state)
{
	(void)state;
	struct token_set *set;
	char *errors;
	const struct token *token;
	const struct str wrong[] = {STR(""), STR("secret-of-op"), STR("secret-of-opss"), STR("Secret-of-ops"),
				    STR("ops")};
	assert_int_equal(load_with(TOKENS, true, &set, &errors), OK);
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		assert_int_equal(token_check(set, wrong[i], SCOPE_ADMIN, 0, &token), TOKEN_UNKNOWN);
	token_set_free(set);
}

static void without_a_file_there_are_no_tokens(void **state)
{
	(void)state;
	struct token_set *set;
	char *errors;
	const struct token *token;
	struct config config = {.file = STR("cdpd.yaml"), .tokens_file = STR_NONE};
	assert_int_equal(token_set_load(&config, &set, &errors), OK);
	assert_int_equal(token_check(set, STR("anything"), SCOPE_ADMIN, 0, &token), TOKEN_UNKNOWN);
	token_set_free(set);
}

static void bad_files_are_refused_with_line_and_reason(void **state)
{
	(void)state;
	static const struct {
		const char *text, *complaint;
	} bad[] = {
	    {"tokens:\n  - {name: a, token: 12345678, scopes: [profils:read]}\n",
	     "tokens.yaml:2: unknown scope 'profils:read'"},
	    {"tokens:\n  - {name: a, token: short, scopes: [admin]}\n", "tokens.yaml:2: a token must be text"},
	    {"tokens:\n  - {name: a, token: \"with a space\", scopes: [admin]}\n", "printable"},
	    {"tokens:\n  - {token: 12345678, scopes: [admin]}\n", "no name"},
	    {"tokens:\n  - {name: a, scopes: [admin]}\n", "no token"},
	    {"tokens:\n  - {name: a, token: 12345678}\n", "no scopes for 'a'"},
	    {"tokens:\n  - {name: a, token: 12345678, scopes: admin}\n", "must be a list"},
	    {"tokens:\n  - {name: a, token: 12345678, scopes: [admin], expires: soon}\n", "expires"},
	    {"tokens:\n  - {name: a, token: 12345678, scopes: [admin], scope: x}\n", "unknown key"},
	    {"tokens:\n  - {name: a, token: 12345678, scopes: [admin]}\n  - {name: b, token: 12345678, scopes: "
	     "[admin]}\n",
	     "twice"},
	    {"token: []\n", "tokens.yaml:1: unknown key"},
	    {"[]\n", "list 'tokens' is expected"},
	    {"tokens: [\n", "tokens.yaml:"},
	};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct token_set *set = NULL;
		char *errors = NULL;
		assert_int_equal(load_with(bad[i].text, true, &set, &errors), ERR_INVALID);
		assert_non_null(errors);
		if (!strstr(errors, bad[i].complaint)) fail_msg("%s: got %s", bad[i].complaint, errors);
		assert_null(strstr(errors, "12345678"));
		free(errors);
	}
}

static void a_missing_file_is_refused(void **state)
{
	(void)state;
	struct token_set *set;
	char *errors;
	struct config config = {.file = STR("cdpd.yaml"), .tokens_file = STR("/nonexistent/tokens.yaml")};
	assert_int_not_equal(token_set_load(&config, &set, &errors), OK);
	assert_non_null(errors);
	free(errors);
}

static void demo_credentials_stay_on_loopback(void **state)
{
	(void)state;
	static const char demo[] = "tokens:\n  - {name: demo, token: demo-read-token, scopes: [\"profiles:read\"]}\n";
	struct token_set *set;
	char *errors;
	assert_int_equal(load_with(demo, true, &set, &errors), OK);
	token_set_free(set);
	assert_int_equal(load_with(demo, false, &set, &errors), ERR_REFUSED);
	assert_non_null(strstr(errors, "demo- tokens"));
	free(errors);
	assert_int_equal(load_with(TOKENS, false, &set, &errors), OK);
	token_set_free(set);
}

static void demo_write_keys_stay_on_loopback_too(void **state)
{
	(void)state;
	struct token_set *set;
	char *errors;
	struct str keys[] = {STR("mine"), STR("demo-write-key")};
	struct conf_source source = {.write_keys = keys, .write_key_count = 2};
	struct conf_listener listeners[] = {{.host = STR("127.0.0.1"), .is_loopback = true}, {.host = STR("0.0.0.0")}};
	struct config config = {.file = STR("cdpd.yaml"),
				.tokens_file = STR_NONE,
				.listeners = listeners,
				.listener_count = 2,
				.sources = &source,
				.source_count = 1};
	assert_int_equal(token_set_load(&config, &set, &errors), ERR_REFUSED);
	free(errors);
	listeners[1] = (struct conf_listener){.unix_path = STR("/run/cdpd.sock"), .host = STR_NONE};
	assert_int_equal(token_set_load(&config, &set, &errors), OK);
	token_set_free(set);
}

static void bearer_is_read_strictly(void **state)
{
	(void)state;
	assert_true(str_eq(bearer_secret(STR("Bearer abc")), STR("abc")));
	assert_true(str_eq(bearer_secret(STR("bearer  abc ")), STR("abc")));
	assert_int_equal(bearer_secret(STR("Bearer")).len, 0);
	assert_int_equal(bearer_secret(STR("Bearer ")).len, 0);
	assert_int_equal(bearer_secret(STR("Basic abc")).len, 0);
	assert_int_equal(bearer_secret(STR("Bearerabc")).len, 0);
	assert_int_equal(bearer_secret(STR("")).len, 0);
}

static void scope_names_go_both_ways(void **state)
{
	(void)state;
	enum scope scope;
	for (unsigned bit = SCOPE_PROFILES_READ; bit <= SCOPE_ADMIN; bit <<= 1) {
		const char *name = scope_name((enum scope)bit);
		assert_true(*name);
		assert_true(scope_from_name(str_from(name), &scope));
		assert_int_equal(scope, bit);
	}
	assert_string_equal(scope_name(SCOPE_NONE), "");
	assert_false(scope_from_name(STR(""), &scope));
	assert_false(scope_from_name(STR("everything"), &scope));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(tokens_have_the_scopes_that_the_file_names, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_token_is_unknown, setup, teardown),
	    cmocka_unit_test_setup_teardown(without_a_file_there_are_no_tokens, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_files_are_refused_with_line_and_reason, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_missing_file_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(demo_credentials_stay_on_loopback, setup, teardown),
	    cmocka_unit_test_setup_teardown(demo_write_keys_stay_on_loopback_too, setup, teardown),
	    cmocka_unit_test(bearer_is_read_strictly),
	    cmocka_unit_test(scope_names_go_both_ways),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
