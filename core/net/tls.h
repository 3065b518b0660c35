/* tls: server-side TLS 1.2 and 1.3 over a non-blocking socket. OpenSSL lives in tls.c. */
#pragma once

#include "base/str.h"

struct tls_context; /* certificate, key, options: immutable, shared by threads, reference-counted */
struct tls;         /* one connection */

/* PEM files; min_version "1.2" (or empty) or "1.3". ERR_INVALID with the cause logged, also when the key does not belong
 * to the certificate. Starts with one reference. */
MUST_USE int tls_context_new(struct str certificate, struct str key, struct str min_version, struct tls_context **out);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context);

/* Keeps its own reference of what it needs of the context; borrows fd. */
MUST_USE int tls_new(struct tls_context *context, int fd, struct tls **out);
void tls_free(struct tls *tls);

/* OK; ERR_AGAIN: call again when the socket is ready (tls_wants_write tells for what); ERR_CLOSED: the peer closed;
 * ERR_IO: the connection is broken. */
MUST_USE int tls_handshake(struct tls *tls);
MUST_USE int tls_read(struct tls *tls, void *data, size_t size, size_t *len);
MUST_USE int tls_write(struct tls *tls, const void *data, size_t size, size_t *len);
bool tls_wants_write(const struct tls *tls);    /* of the last ERR_AGAIN */
bool tls_has_pending(const struct tls *tls);    /* read bytes that no socket event will announce */
void tls_say_goodbye(struct tls *tls);          /* close_notify, without waiting */
struct str tls_protocol(const struct tls *tls); /* ALPN's choice, or empty */
