/* Person tokens: every bit counts, each is good for its own purpose only, and two keys are live. */
#include "api/api_test.h"

#include "api/person_token.h"
#include "base/clock.h"

#define NOW INT64_C(1800000000000000)
#define ALL (PERSON_CONSENT | PERSON_FORM | PERSON_PREFERENCES)

static char folder[256];
static struct arena arena;
static struct person_keys *keys;

static struct str store(void)
{
	return str_from(folder);
}

static int setup(void **state)
{
	(void)state;
	make_temp_dir(folder);
	arena_init(&arena, 65536, 0);
	assert_int_equal(person_keys_load(store(), &keys), OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	char path[512];
	person_keys_free(keys);
	arena_fini(&arena);
	snprintf(path, sizeof path, "%s/state/person-keys", folder);
	unlink(path);
	snprintf(path, sizeof path, "%s/state", folder);
	rmdir(path);
	rmdir(folder);
	return 0;
}

static void write_keys(const char *text)
{
	char path[512];
	snprintf(path, sizeof path, "%s/state/person-keys", folder);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static struct str make(enum person_purpose purpose)
{
	struct str token;
	struct person_claims claims = {.purpose = purpose,
				       .person = STR("email:a\"b@example.com"),
				       .target = STR("https://shop.example/"),
				       .consent = STR("club"),
				       .channel = STR_NONE,
				       .expires_us = NOW + US_PER_SECOND,
				       .id = {1, 2, 3},
				       .is_single_use = true};
	assert_int_equal(person_token_make(keys, &claims, &arena, &token), OK);
	return token;
}

static enum person_verdict look(struct str token, unsigned allowed, int64_t now)
{
	struct person_claims claims;
	return person_token_read(keys, token, allowed, now, &arena, &claims);
}

static void what_went_in_comes_out(void **state)
{
	(void)state;
	struct person_claims claims;
	struct str token = make(PERSON_CONSENT);
	assert_int_equal(person_token_read(keys, token, PERSON_CONSENT, NOW, &arena, &claims), PERSON_OK);
	assert_true(str_eq(claims.person, STR("email:a\"b@example.com")));
	assert_true(str_eq(claims.target, STR("https://shop.example/")));
	assert_true(str_eq(claims.consent, STR("club")));
	assert_int_equal(claims.channel.len, 0);
	assert_int_equal(claims.expires_us, NOW + US_PER_SECOND);
	assert_int_equal(claims.id[2], 3);
	assert_true(claims.is_single_use);
}

static void it_ends_on_time_and_serves_one_purpose(void **state)
{
	(void)state;
	struct str token = make(PERSON_FORM);
	assert_int_equal(look(token, ALL, NOW + US_PER_SECOND - 1), PERSON_OK);
	assert_int_equal(look(token, ALL, NOW + US_PER_SECOND), PERSON_EXPIRED);
	assert_int_equal(look(token, PERSON_CONSENT | PERSON_PREFERENCES, NOW), PERSON_INVALID);
	assert_int_equal(look(token, PERSON_FORM, NOW), PERSON_OK);
}

/* Each of its bits, each shorter one, and one with something behind. */
static void any_change_is_seen(void **state)
{
	(void)state;
	struct str token = make(PERSON_CONSENT);
	char copy[PERSON_TOKEN_MAX + 2];
	assert_true(token.len < PERSON_TOKEN_MAX);
	for (size_t i = 0; i < token.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, token.ptr, token.len);
			copy[i] ^= (char)(1 << bit);
			assert_int_equal(look(str_of(copy, token.len), ALL, NOW), PERSON_INVALID);
		}
	for (size_t len = 0; len < token.len; len++)
		assert_int_equal(look(str_of(token.ptr, len), ALL, NOW), PERSON_INVALID);
	memcpy(copy, token.ptr, token.len);
	copy[token.len] = '=';
	assert_int_equal(look(str_of(copy, token.len + 1), ALL, NOW), PERSON_INVALID);
	memset(copy, '.', sizeof copy);
	memcpy(copy, "cp1.", 4);
	assert_int_equal(look(str_of(copy, sizeof copy), ALL, NOW), PERSON_INVALID);
	assert_int_equal(look(str_of(copy, 100), ALL, NOW), PERSON_INVALID);
}

static void keys_outlive_the_process_and_rotate(void **state)
{
	(void)state;
	struct stat st;
	char path[512], old[512], text[600];
	struct str token = make(PERSON_CONSENT);
	snprintf(path, sizeof path, "%s/state/person-keys", folder);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	person_keys_free(keys);
	assert_int_equal(person_keys_load(store(), &keys), OK);
	assert_int_equal(look(token, ALL, NOW), PERSON_OK);

	FILE *file = fopen(path, "r");
	old[fread(old, 1, sizeof old - 1, file)] = '\0';
	fclose(file);
	snprintf(text, sizeof text, "new 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n%s", old);
	write_keys(text);
	person_keys_free(keys);
	assert_int_equal(person_keys_load(store(), &keys), OK);
	assert_int_equal(look(token, ALL, NOW), PERSON_OK);
	struct str newer = make(PERSON_CONSENT);
	assert_true(str_starts(newer, STR("cp1.new.")));
	write_keys("new 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n");
	person_keys_free(keys);
	assert_int_equal(person_keys_load(store(), &keys), OK);
	assert_int_equal(look(token, ALL, NOW), PERSON_INVALID);
	assert_int_equal(look(newer, ALL, NOW), PERSON_OK);
}

static void a_broken_key_file_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "# nothing\n", "new\n", "new 0011\n",
					  "NEW! 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"};
	struct person_keys *none;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		write_keys(bad[i]);
		assert_int_equal(person_keys_load(store(), &none), ERR_INVALID);
		assert_null(none);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_went_in_comes_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(it_ends_on_time_and_serves_one_purpose, setup, teardown),
	    cmocka_unit_test_setup_teardown(any_change_is_seen, setup, teardown),
	    cmocka_unit_test_setup_teardown(keys_outlive_the_process_and_rotate, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_broken_key_file_is_refused, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
