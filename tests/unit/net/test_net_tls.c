/* TLS against a real server, with certificates made here. */
#include "net/one_server.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HELLO "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

static char folder[] = "/tmp/cdpd-tls-XXXXXX";
static char first_cert[64], first_key[64], second_cert[64], second_key[64];

/* ── certificates ────────────────────────────────────────────────────────── */

static void sign_certificate(X509 *x509, EVP_PKEY *pkey, const char *name)
{
	assert_true(ASN1_INTEGER_set(X509_get_serialNumber(x509), 1));
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x509), -3600));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x509), 3600));
	assert_true(X509_set_pubkey(x509, pkey));
	X509_NAME *subject = X509_get_subject_name(x509);
	assert_true(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0));
	assert_true(X509_set_issuer_name(x509, subject));
	assert_true(X509_sign(x509, pkey, EVP_sha256()) > 0);
}

static void make_pair(const char *name, char cert[64], char key[64])
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	assert_non_null(pkey);
	sign_certificate(x509, pkey, name);
	(void)snprintf(cert, 64, "%s/%s.crt", folder, name);
	(void)snprintf(key, 64, "%s/%s.key", folder, name);
	FILE *file = fopen(cert, "w");
	assert_true(file && PEM_write_X509(file, x509));
	(void)fclose(file);
	file = fopen(key, "w");
	assert_true(file && PEM_write_PrivateKey(file, pkey, NULL, NULL, 0, NULL, NULL));
	(void)fclose(file);
	X509_free(x509);
	EVP_PKEY_free(pkey);
}

static int group_setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	make_pair("first", first_cert, first_key);
	make_pair("second", second_cert, second_key);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	const char *const files[] = {first_cert, first_key, second_cert, second_key};
	for (size_t i = 0; i < COUNT_OF(files); i++) (void)unlink(files[i]);
	return rmdir(folder);
}

static int setup(void **state)
{
	(void)server_setup(state);
	server.config.tls_certificate = str_from(first_cert);
	server.config.tls_key = str_from(first_key);
	server.listeners[0].is_tls = true;
	server_start(&server);
	assert_memory_equal(net_url(server.net, 0), "https://", 8);
	return 0;
}

/* ── client ──────────────────────────────────────────────────────────────── */

struct secure {
	struct client raw;
	SSL_CTX *ctx;
	SSL *ssl;
	int handshake; /* 1: done */
};

static void secure_open(struct secure *secure, int max_version, const char *alpn)
{
	*secure = (struct secure){0};
	client_open(&secure->raw, &server);
	secure->ctx = SSL_CTX_new(TLS_client_method());
	assert_non_null(secure->ctx);
	SSL_CTX_set_security_level(secure->ctx, 0);
	(void)SSL_CTX_set_max_proto_version(secure->ctx, max_version);
	(void)SSL_CTX_set_options(secure->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	secure->ssl = SSL_new(secure->ctx);
	assert_non_null(secure->ssl);
	if (alpn)
		assert_int_equal(SSL_set_alpn_protos(secure->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn)),
				 0);
	assert_true(SSL_set_fd(secure->ssl, secure->raw.fd));
	secure->handshake = SSL_connect(secure->ssl);
}

static void secure_close(struct secure *secure)
{
	SSL_free(secure->ssl);
	SSL_CTX_free(secure->ctx);
	client_close(&secure->raw);
	ERR_clear_error();
}

static void secure_send(struct secure *secure, const char *text)
{
	assert_int_equal(SSL_write(secure->ssl, text, (int)strlen(text)), (int)strlen(text));
}

/* Reads until `n` bytes are there; fewer when the server closes. */
static size_t secure_read(struct secure *secure, char *to, size_t n)
{
	size_t len = 0, got;
	while (len < n && SSL_read_ex(secure->ssl, to + len, n - len, &got) == 1) len += got;
	return len;
}

static void secure_expect(struct secure *secure, const char *body)
{
	char text[2048];
	size_t len = 0, got;
	for (;;) {
		assert_int_equal(SSL_read_ex(secure->ssl, text + len, sizeof text - 1 - len, &got), 1);
		len += got;
		text[len] = '\0';
		char *end = strstr(text, "\r\n\r\n");
		if (end && strlen(end + 4) >= strlen(body)) {
			assert_string_equal(end + 4, body);
			assert_memory_equal(text, "HTTP/1.1 200", 12);
			return;
		}
	}
}

static void expect_name(struct secure *secure, const char *want)
{
	char name[64];
	X509 *x509 = SSL_get1_peer_certificate(secure->ssl);
	assert_non_null(x509);
	assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, name, sizeof name) > 0);
	assert_string_equal(name, want);
	X509_free(x509);
}

/* ── tests ───────────────────────────────────────────────────────────────── */

static void speaks_both_versions(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(versions); i++) {
		struct secure secure;
		const unsigned char *alpn;
		unsigned alpn_len;
		secure_open(&secure, versions[i], "\x02h3\x08http/1.1");
		assert_int_equal(secure.handshake, 1);
		assert_int_equal(SSL_version(secure.ssl), versions[i]);
		SSL_get0_alpn_selected(secure.ssl, &alpn, &alpn_len);
		assert_int_equal(alpn_len, 8);
		assert_memory_equal(alpn, "http/1.1", 8);
		secure_send(&secure, HELLO);
		secure_expect(&secure, "hello");
		secure_send(&secure, "GET /hello HTTP/1.1\r\nHo");
		secure_send(&secure, "st: a\r\nConnection: close\r\n\r\n");
		secure_expect(&secure, "hello");
		char byte;
		assert_int_equal(SSL_read(secure.ssl, &byte, 1), 0);
		assert_int_equal(SSL_get_shutdown(secure.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
		secure_close(&secure);
	}
}

#define PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define NO_SETTINGS "\0\0\0\x04\0\0\0\0\0"

static void chooses_http2_by_alpn(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(versions); i++) {
		struct secure secure;
		const unsigned char *alpn;
		unsigned alpn_len;
		char frame[9];
		secure_open(&secure, versions[i], "\x08http/1.1\x02h2");
		assert_int_equal(secure.handshake, 1);
		SSL_get0_alpn_selected(secure.ssl, &alpn, &alpn_len);
		assert_int_equal(alpn_len, 2);
		assert_memory_equal(alpn, "h2", 2);
		assert_int_equal(SSL_write(secure.ssl, PREFACE NO_SETTINGS, 33), 33);
		assert_int_equal(secure_read(&secure, frame, sizeof frame), sizeof frame);
		assert_int_equal(frame[3], 4); /* SETTINGS */
		secure_close(&secure);
		/* Told one thing, spoken another. */
		secure_open(&secure, versions[i], "\x02h2");
		assert_int_equal(secure.handshake, 1);
		secure_send(&secure, HELLO);
		assert_int_equal(secure_read(&secure, frame, 1), 0);
		secure_close(&secure);
	}
	struct secure secure;
	char line[12];
	secure_open(&secure, TLS1_3_VERSION, NULL);
	assert_int_equal(secure.handshake, 1);
	secure_send(&secure, PREFACE);
	assert_int_equal(secure_read(&secure, line, sizeof line), sizeof line);
	assert_memory_equal(line, "HTTP/1.1 400", sizeof line);
	secure_close(&secure);
}

static void refuses_old_versions_and_unknown_protocols(void **state)
{
	struct secure secure;
	struct client plain;
	(void)state;
	int64_t before = metric_now("cdpd_http_refused_total", "reason=\"tls_handshake\"");
	secure_open(&secure, TLS1_1_VERSION, NULL);
	assert_int_not_equal(secure.handshake, 1);
	secure_close(&secure);
	secure_open(&secure, TLS1_3_VERSION, "\x02h3");
	assert_int_not_equal(secure.handshake, 1);
	secure_close(&secure);
	client_open(&plain, &server);
	SEND(&plain, HELLO);
	metric_wait("cdpd_http_refused_total", "reason=\"tls_handshake\"", before + 3);
	client_close(&plain);
}

static void takes_only_1_3_when_told(void **state)
{
	struct config next = server.config;
	struct secure secure;
	(void)state;
	next.tls_min_version = STR("1.3");
	assert_int_equal(net_reload(server.net, &next), OK);
	/* The reload is a task of the loop: one whole exchange is behind it. */
	secure_open(&secure, TLS1_3_VERSION, NULL);
	secure_close(&secure);
	secure_open(&secure, TLS1_2_VERSION, NULL);
	assert_int_not_equal(secure.handshake, 1);
	secure_close(&secure);
}

/* Far more than one record, written against a client that reads late. */
static void carries_large_answers(void **state)
{
	enum { SIZE = 8 << 20 };
	struct secure secure;
	char *text = malloc(SIZE + 4096);
	(void)state;
	assert_non_null(text);
	secure_open(&secure, TLS1_3_VERSION, NULL);
	secure_send(&secure, "GET /big?n=8388608 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	(void)usleep(20000);
	size_t len = secure_read(&secure, text, SIZE + 4096);
	text[len] = '\0';
	char *body = strstr(text, "\r\n\r\n") + 4;
	assert_int_equal(len - (size_t)(body - text), SIZE);
	for (size_t i = 0; i < SIZE; i += 1009) assert_int_equal(body[i], 'a' + (int)(i % 26));
	free(text);
	secure_close(&secure);
}

/* Records larger than what is read at once leave bytes inside OpenSSL that no socket event announces. */
static void reads_what_openssl_holds(void **state)
{
	enum { COUNT = 400 };
	static char text[COUNT * sizeof HELLO], answers[COUNT * 200];
	struct secure secure;
	(void)state;
	secure_open(&secure, TLS1_3_VERSION, NULL);
	for (int i = 0; i < COUNT; i++) memcpy(text + (size_t)i * (sizeof HELLO - 1), HELLO, sizeof HELLO);
	secure_send(&secure, text);
	secure_send(&secure, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	size_t len = secure_read(&secure, answers, sizeof answers - 1), count = 0;
	answers[len] = '\0';
	for (char *at = answers; (at = strstr(at, "\r\n\r\nhello")); at++) count++;
	assert_int_equal(count, COUNT + 1);
	secure_close(&secure);
}

static void uploads_over_tls(void **state)
{
	enum { SIZE = 1000000 };
	static char text[SIZE + 256], answer[SIZE + 1024];
	struct secure secure;
	(void)state;
	int head = snprintf(text, sizeof text,
			    "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", SIZE);
	memset(text + head, 'u', SIZE);
	secure_open(&secure, TLS1_2_VERSION, NULL);
	secure_send(&secure, text);
	size_t len = secure_read(&secure, answer, sizeof answer - 1);
	answer[len] = '\0';
	assert_int_equal(strlen(strstr(answer, "\r\n\r\n") + 4), SIZE);
	secure_close(&secure);
}

static void swaps_certificates(void **state)
{
	struct config next = server.config;
	struct secure old, fresh;
	(void)state;
	secure_open(&old, TLS1_3_VERSION, NULL);
	expect_name(&old, "first");
	next.tls_certificate = str_from(second_cert); /* with the first one's key */
	assert_int_equal(net_reload(server.net, &next), ERR_INVALID);
	secure_open(&fresh, TLS1_3_VERSION, NULL);
	expect_name(&fresh, "first");
	secure_close(&fresh);
	next.tls_certificate = STR("/nonexistent");
	assert_int_equal(net_reload(server.net, &next), ERR_INVALID);
	next.tls_certificate = STR_NONE;
	assert_int_equal(net_reload(server.net, &next), ERR_INVALID);

	next.tls_certificate = str_from(second_cert);
	next.tls_key = str_from(second_key);
	assert_int_equal(net_reload(server.net, &next), OK);
	secure_send(&old, HELLO); /* a live connection is not disturbed */
	secure_expect(&old, "hello");
	secure_open(&fresh, TLS1_3_VERSION, NULL);
	expect_name(&fresh, "second");
	secure_send(&fresh, HELLO);
	secure_expect(&fresh, "hello");
	secure_close(&fresh);
	secure_close(&old);
}

static void drains_politely(void **state)
{
	struct secure secure;
	char byte;
	(void)state;
	secure_open(&secure, TLS1_3_VERSION, NULL);
	secure_send(&secure, HELLO);
	secure_expect(&secure, "hello");
	net_drain(server.net, 5000);
	assert_int_equal(SSL_read(secure.ssl, &byte, 1), 0);
	assert_int_equal(SSL_get_shutdown(secure.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	secure_close(&secure);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(speaks_both_versions, setup, server_teardown),
	    cmocka_unit_test_setup_teardown(chooses_http2_by_alpn, setup, server_teardown),
	    cmocka_unit_test_setup_teardown(refuses_old_versions_and_unknown_protocols, setup, server_teardown),
	    cmocka_unit_test_setup_teardown(takes_only_1_3_when_told, setup, server_teardown),
	    cmocka_unit_test_setup_teardown(carries_large_answers, setup, server_teardown),
	    cmocka_unit_test_setup_teardown(reads_what_openssl_holds, setup, server_teardown),
	    cmocka_unit_test_setup_teardown(uploads_over_tls, setup, server_teardown),
	    cmocka_unit_test_setup_teardown(swaps_certificates, setup, server_teardown),
	    cmocka_unit_test_setup_teardown(drains_politely, setup, server_teardown),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
