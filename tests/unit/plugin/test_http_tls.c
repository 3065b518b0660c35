/* Files of certificates: what is refused and how it is told, and that new ones are taken over while broken ones are not. */
#include "plugin/http_tls.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[256];
static struct arena arena;

static struct str path(const char *name)
{
	struct str out;
	assert_int_equal(arena_printf(&arena, &out, "%s/%s", folder, name), OK);
	return out;
}

static FILE *open_file(const char *name)
{
	FILE *file = fopen(path(name).ptr, "we");
	assert_non_null(file);
	return file;
}

static void put(const char *name, const char *text)
{
	FILE *file = open_file(name);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* A certificate of its own key, and the key; `password`: NULL for none. */
static void issue(const char *certificate_name, const char *key_name, const char *password)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	assert_non_null(key);
	assert_non_null(certificate);
	assert_int_equal(X509_set_pubkey(certificate, key), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), 0));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), 86400));
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	FILE *file = open_file(certificate_name);
	assert_int_equal(PEM_write_X509(file, certificate), 1);
	assert_int_equal(fclose(file), 0);
	file = open_file(key_name);
	const EVP_CIPHER *cipher = password ? EVP_aes_128_cbc() : NULL;
	assert_int_equal(PEM_write_PrivateKey(file, key, cipher, NULL, 0, NULL, (void *)(uintptr_t)password), 1);
	assert_int_equal(fclose(file), 0);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	(void)state;
	snprintf(folder, sizeof folder, "%s/cdpd-tls-XXXXXX", tmp ? tmp : "/tmp");
	arena_init(&arena, 4096, 0);
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	static const char *const names[] = {"a.pem", "a.key", "b.pem", "b.key", "c.pem", "c.key", "empty", "large"};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(names); i++) (void)unlink(path(names[i]).ptr);
	arena_fini(&arena);
	return rmdir(folder);
}

static void refused(const char *ca, const char *certificate, const char *key, const char *why)
{
	struct str told;
	const struct conf_http_tls conf = {.ca = ca ? path(ca) : STR_NONE,
					   .certificate = certificate ? path(certificate) : STR_NONE,
					   .key = key ? path(key) : STR_NONE};
	assert_int_equal(http_tls_check(&arena, &conf, &told), why ? ERR_INVALID : OK);
	if (why && !memmem(told.ptr, told.len, why, strlen(why)))
		fail_msg("'%.*s' does not say '%s'", STR_ARG(told), why);
}

static void test_what_is_refused(void **state)
{
	(void)state;
	issue("a.pem", "a.key", NULL);
	issue("b.pem", "b.key", NULL);
	issue("c.pem", "c.key", "secret");
	put("empty", "");
	FILE *large = open_file("large");
	assert_int_equal(ftruncate(fileno(large), HTTP_TLS_MAX + 1), 0);
	assert_int_equal(fclose(large), 0);
	refused(NULL, NULL, NULL, NULL);
	refused("a.pem", NULL, NULL, NULL);
	refused("b.pem", "a.pem", "a.key", NULL);
	refused("none", NULL, NULL, "No such file");
	refused("empty", NULL, NULL, "http.ca: ");
	refused("large", NULL, NULL, "too large");
	refused("a.key", NULL, NULL, "holds no certificate");
	refused(NULL, "a.pem", NULL, "go together");
	refused(NULL, NULL, "a.key", "go together");
	refused(NULL, "a.pem", "b.key", "is not the key of http.certificate");
	refused(NULL, "a.pem", "a.pem", "holds no key");
	refused(NULL, "c.pem", "c.key", "without a password"); /* nobody is asked for it */
	refused(NULL, "empty", "a.key", "http.certificate: ");
}

static struct str text_of(const char *name)
{
	char text[8192];
	struct str out;
	FILE *file = fopen(path(name).ptr, "re");
	assert_non_null(file);
	size_t len = fread(text, 1, sizeof text, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(arena_str(&arena, str_of(text, len), &out), OK);
	return out;
}

/* Until the next look. */
static bool becomes(struct http_tls *tls, struct str certificate)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	for (int i = 0; i < 6000; i++) {
		if (str_eq(http_tls_get(tls)->certificate, certificate)) return true;
		(void)nanosleep(&pause, NULL);
	}
	return false;
}

static void test_new_files_are_taken_over_when_they_are_sound(void **state)
{
	struct http_tls *tls;
	(void)state;
	issue("a.pem", "a.key", NULL);
	const struct conf_http_tls conf = {.ca = path("a.pem"), .certificate = path("a.pem"), .key = path("a.key")};
	assert_int_equal(http_tls_new(STR("test"), &conf, &tls), OK);
	struct str first = text_of("a.pem");
	assert_true(str_eq(http_tls_get(tls)->certificate, first));
	assert_true(str_eq(http_tls_get(tls)->ca, first));
	assert_true(str_eq(http_tls_get(tls)->key, text_of("a.key")));
	put("a.pem", "nothing of use\n");
	const struct timespec a_look = {.tv_sec = 1, .tv_nsec = 100000000};
	(void)nanosleep(&a_look, NULL);
	assert_true(str_eq(http_tls_get(tls)->certificate, first)); /* the last good ones */
	issue("a.pem", "a.key", NULL);
	assert_true(becomes(tls, text_of("a.pem")));
	assert_true(str_eq(http_tls_get(tls)->key, text_of("a.key")));
	http_tls_free(tls);
}

static void test_none(void **state)
{
	struct http_tls *tls;
	struct conf_http_tls copy;
	const struct conf_http_tls none = {.ca = {NULL, 0}},
				   some = {.ca = STR("/a"), .certificate = STR_NONE, .key = STR_NONE};
	(void)state;
	assert_int_equal(http_tls_new(STR("test"), &none, &tls), OK);
	assert_null(tls);
	http_tls_free(tls);
	assert_int_equal(http_tls_copy(&arena, &none, &copy), OK);
	assert_false(http_tls_is_same(&copy, &some));
	assert_int_equal(http_tls_copy(&arena, &some, &copy), OK);
	assert_true(http_tls_is_same(&copy, &some));
	const struct conf_http_tls gone = {.ca = STR("/nowhere/ca.pem"), .certificate = STR_NONE, .key = STR_NONE};
	assert_int_equal(http_tls_new(STR("test"), &gone, &tls), ERR_INVALID);
	assert_null(tls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_new_files_are_taken_over_when_they_are_sound, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_none, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
