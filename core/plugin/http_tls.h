/* http_tls: whom a plugin's HTTPS requests trust and who they are: PEM files of the configuration. They are held in memory and looked at
 * again when they change, so that a certificate can be renewed under way; files that are not sound leave the last good ones in force. */
#pragma once

#include "base/arena.h"
#include "config/config.h"

struct http_tls;

struct http_tls_texts { /* PEM; empty: none given */
	struct str ca, certificate, key;
};

/* Are the files there and sound, and is the key the certificate's? ERR_INVALID: *why says which not, in the arena. */
MUST_USE int http_tls_check(struct arena *arena, const struct conf_http_tls *conf, struct str *why);
MUST_USE int http_tls_copy(struct arena *arena, const struct conf_http_tls *from, struct conf_http_tls *out);
bool http_tls_is_same(const struct conf_http_tls *a, const struct conf_http_tls *b);

/* `conf` outlives it. ERR_INVALID: the cause is logged under `name`. Without any file: OK and NULL. */
MUST_USE int http_tls_new(struct str name, const struct conf_http_tls *conf, struct http_tls **out);
void http_tls_free(struct http_tls *tls); /* NULL is fine */
/* For the next connection; valid until the next call. The files are looked at once in HTTP_TLS_LOOK_US at most. One thread at a time. */
const struct http_tls_texts *http_tls_get(struct http_tls *tls);

#define HTTP_TLS_LOOK_US INT64_C(1000000)
#define HTTP_TLS_MAX     ((size_t)4 << 20) /* bytes of a file */
