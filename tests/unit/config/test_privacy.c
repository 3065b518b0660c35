#include <sys/stat.h>

#include "config/config_file.h"

static int setup(void **state)
{
	(void)state;
	return config_folder_make("privacy.key");
}

/* The key of pseudonyms lies with the data unless told otherwise. */
static const char *with_store(const char *text)
{
	static char whole[8192];
	(void)snprintf(whole, sizeof whole, "store: {path: %s}\n%s", config_folder.path, text);
	return whole;
}

static const struct config *loaded(const char *text)
{
	return config_loaded(with_store(text));
}

static void refused(const char *text, const char *wanted)
{
	config_refused(with_store(text), wanted);
}

static enum privacy_act act_at(const struct privacy_rules *rules, const char *a, const char *b)
{
	const struct privacy_rule *rule = rules ? privacy_find(&rules->root, str_from(a)) : NULL;
	if (rule && b) rule = privacy_find(rule, str_from(b));
	return rule ? rule->act : PRIVACY_KEEP;
}

#define SOURCES \
	"sources:\n" \
	"  - {id: a, kind: server, write_keys: [ka]}\n" \
	"  - id: b\n" \
	"    kind: browser\n" \
	"    write_keys: [kb]\n" \
	"    privacy: {drop: [traits.email], truncate_ip: false}\n" \
	"  - {id: c, kind: server, write_keys: [kc], privacy: {truncate_ip: true}}\n"

static void nothing(void **state)
{
	const struct config *c = loaded("sources: [{id: a, kind: server, write_keys: [ka]}]\n");
	(void)state;
	assert_null(c->rules);
	assert_null(c->sources[0].rules);
	assert_false(c->has_privacy || c->needs_hash_key);
	assert_true(c->hash_key_file.len > 0);
	config_unref(c);
}

static void for_everybody_and_for_one(void **state)
{
	const struct config *c = loaded("privacy: {pseudonymize: [userId, traits.email], drop: "
					"[\"properties.products[].note\"], truncate_ip: true}\n" SOURCES);
	const struct privacy_rules *a = c->sources[0].rules, *b = c->sources[1].rules;
	(void)state;
	assert_int_equal(act_at(a, "userId", NULL), PRIVACY_PSEUDONYM);
	assert_int_equal(act_at(a, "previousId", NULL), PRIVACY_PSEUDONYM);
	assert_int_equal(act_at(a, "traits", "email"), PRIVACY_PSEUDONYM);
	assert_int_equal(act_at(a, "context", "ip"), PRIVACY_TRUNCATE);
	assert_int_equal(a->ip, PRIVACY_TRUNCATE);
	assert_int_equal(act_at(b, "traits", "email"), PRIVACY_DROP); /* the stricter counts */
	assert_int_equal(b->ip, PRIVACY_KEEP);
	const struct privacy_rule *context = privacy_find(&b->root, STR("context"));
	assert_int_equal(privacy_find(privacy_find(context, STR("traits")), STR("email"))->act, PRIVACY_DROP);
	const struct privacy_rule *products = privacy_find(privacy_find(&a->root, STR("properties")), STR("products"));
	assert_int_equal(privacy_find(products, STR("note"))->act, PRIVACY_DROP);
	assert_true(c->needs_hash_key && c->has_privacy);
	config_unref(c);

	c = loaded(SOURCES);
	assert_null(c->sources[0].rules);
	assert_int_equal(act_at(c->sources[1].rules, "traits", "email"), PRIVACY_DROP);
	assert_int_equal(c->sources[2].rules->ip, PRIVACY_TRUNCATE);
	assert_true(c->has_privacy && !c->needs_hash_key);
	config_unref(c);
}

static void bad_paths(void **state)
{
	static const char *const bad[] = {"email",         "traits",          "traits.",         "traits..a",
					  "trait.a",       "properties.a[]b", "properties.a[0]", "properties.[]",
					  "properties.a[", "properties.a]",   "extra.a"};
	char text[200];
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		(void)snprintf(text, sizeof text, "privacy:\n  drop: ['%s']\n", bad[i]);
		refused(text, "c.yaml:3: privacy.drop: '");
		(void)snprintf(text, sizeof text, "privacy:\n  pseudonymize: ['%s']\n", bad[i]);
		refused(text, "c.yaml:3: privacy.pseudonymize: '");
	}
	refused("privacy:\n  drop: [userId]\n", "must be a path in properties., traits. or context.");
	refused("privacy:\n  hash: [userId]\n", "c.yaml:3: unknown key 'hash' in privacy");
	refused("privacy:\n  truncate_ip: maybe\n",
		"c.yaml:3: privacy.truncate_ip: 'maybe' is not one of: false, true");
	refused("sources:\n  - id: a\n    kind: server\n    write_keys: [k]\n    privacy: {drop: [ssn]}\n",
		"c.yaml:6: sources[0].privacy.drop: 'ssn' must be");
	refused("sources:\n  - id: a\n    kind: server\n    write_keys: [k]\n    privacy: {hash_key_file: x}\n",
		"unknown key 'hash_key_file'");
}

static void key_file_of_others(void **state)
{
	FILE *f = fopen(config_beside.text, "we");
	(void)state;
	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(config_beside.text, 0644), 0);
	refused("privacy:\n  pseudonymize: [userId]\n", "privacy.key must not be readable by others: chmod 600");
	config_unref(loaded("privacy: {drop: [traits.a]}\n")); /* nobody needs it */
	assert_int_equal(chmod(config_beside.text, 0600), 0);
	config_unref(loaded("privacy: {pseudonymize: [userId]}\n"));
	assert_int_equal(unlink(config_beside.text), 0);
	refused("privacy:\n  pseudonymize: [userId]\n  hash_key_file: /tmp\n",
		"c.yaml:4: privacy.hash_key_file: /tmp must be a regular file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing),
	    cmocka_unit_test(for_everybody_and_for_one),
	    cmocka_unit_test(bad_paths),
	    cmocka_unit_test(key_file_of_others),
	};
	return cmocka_run_group_tests(tests, setup, config_folder_remove);
}
