#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"

struct tls_context {
	atomic_uint references;
	SSL_CTX *ctx;
};

struct tls {
	SSL *ssl;
	bool wants_write;
	bool is_broken; /* after a fatal error OpenSSL forbids a shutdown */
};

/* The protocols spoken here, in ALPN's wire form, what we like most first. */
static const uint8_t protocols[] = {2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

static int choose_protocol(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in, unsigned in_len,
			   void *arg)
{
	uint8_t *chosen;
	(void)ssl, (void)arg;
	if (SSL_select_next_proto(&chosen, out_len, protocols, sizeof protocols, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int complain(const char *what, struct str file)
{
	char why[256] = "unknown cause";
	unsigned long code = ERR_peek_last_error();
	if (code) ERR_error_string_n(code, why, sizeof why);
	ERR_clear_error();
	log_error(LOG_NET, "%s %.*s, TLS is not (re)loaded (%s)", what, STR_ARG(file), why);
	return ERR_INVALID;
}

static void set_options(SSL_CTX *ctx, bool only_1_3)
{
	(void)SSL_CTX_set_min_proto_version(ctx, only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
	(void)SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
	(void)SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384");
	/* A message's end is told by HTTP's own framing: a missing close_notify is just a close. */
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
					   SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_num_tickets(ctx, 0);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* The output buffer may have moved between two tries; idle connections give their record buffers back. */
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
}

static int load(SSL_CTX *ctx, struct str certificate, struct str key)
{
	char path[4096];
	if (certificate.len >= sizeof path || key.len >= sizeof path) return complain("too long a path", key);
	memcpy(path, certificate.ptr, certificate.len);
	path[certificate.len] = '\0';
	if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1) return complain("cannot use certificate", certificate);
	memcpy(path, key.ptr, key.len);
	path[key.len] = '\0';
	if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1) return complain("cannot use key", key);
	if (SSL_CTX_check_private_key(ctx) != 1) return complain("key does not belong to certificate", certificate);
	return OK;
}

int tls_context_new(struct str certificate, struct str key, struct str min_version, struct tls_context **out)
{
	struct tls_context *context = calloc(1, sizeof *context);
	if (!context) return ERR_NOMEM;
	atomic_init(&context->references, 1);
	context->ctx = SSL_CTX_new(TLS_server_method());
	if (!context->ctx) {
		tls_context_unref(context);
		return ERR_NOMEM;
	}
	set_options(context->ctx, str_eq(min_version, STR("1.3")));
	int rc = load(context->ctx, certificate, key);
	if (rc != OK) {
		tls_context_unref(context);
		return rc;
	}
	*out = context;
	return OK;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
	if (context) atomic_fetch_add(&context->references, 1);
	return context;
}

void tls_context_unref(struct tls_context *context)
{
	if (!context || atomic_fetch_sub(&context->references, 1) != 1) return;
	SSL_CTX_free(context->ctx);
	free(context);
}

int tls_new(struct tls_context *context, int fd, struct tls **out)
{
	struct tls *tls = calloc(1, sizeof *tls);
	if (!tls) return ERR_NOMEM;
	tls->ssl = SSL_new(context->ctx);
	if (!tls->ssl || SSL_set_fd(tls->ssl, fd) != 1) {
		ERR_clear_error();
		tls_free(tls);
		return ERR_NOMEM;
	}
	SSL_set_accept_state(tls->ssl);
	*out = tls;
	return OK;
}

void tls_free(struct tls *tls)
{
	if (!tls) return;
	SSL_free(tls->ssl);
	free(tls);
}

static int translate(struct tls *tls, int result)
{
	int code = SSL_get_error(tls->ssl, result);
	ERR_clear_error();
	tls->wants_write = code == SSL_ERROR_WANT_WRITE;
	if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE) return ERR_AGAIN;
	if (code == SSL_ERROR_ZERO_RETURN) return ERR_CLOSED;
	tls->is_broken = true;
	return ERR_IO;
}

int tls_handshake(struct tls *tls)
{
	ERR_clear_error();
	int result = SSL_do_handshake(tls->ssl);
	return result == 1 ? OK : translate(tls, result);
}

int tls_read(struct tls *tls, void *data, size_t size, size_t *len)
{
	ERR_clear_error();
	int result = SSL_read_ex(tls->ssl, data, size, len);
	return result == 1 ? OK : translate(tls, result);
}

int tls_write(struct tls *tls, const void *data, size_t size, size_t *len)
{
	ERR_clear_error();
	int result = SSL_write_ex(tls->ssl, data, size, len);
	return result == 1 ? OK : translate(tls, result);
}

bool tls_wants_write(const struct tls *tls)
{
	return tls->wants_write;
}

bool tls_has_pending(const struct tls *tls)
{
	return SSL_pending(tls->ssl) > 0;
}

void tls_say_goodbye(struct tls *tls)
{
	if (tls->is_broken) return;
	ERR_clear_error();
	(void)SSL_shutdown(tls->ssl);
	ERR_clear_error();
}

struct str tls_protocol(const struct tls *tls)
{
	const uint8_t *name;
	unsigned len;
	SSL_get0_alpn_selected(tls->ssl, &name, &len);
	return str_of(name, len);
}
