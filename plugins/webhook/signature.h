/* signature: the headers' signature of Standard Webhooks: what was signed is "id.timestamp.body", by HMAC-SHA256 (v1) or Ed25519 (v1a). */
#pragma once

#include "../shared/writer.h"

#define SIGNATURE_KEYS_MAX 8

struct signature_keys;

/* `text`: keys between white space: "whsec_<base64>" (HMAC) or "whsk_<base64>" (Ed25519 seed, or seed and public key). All of them sign: so a key is
 * replaced without a gap. NULL: out is made; otherwise a static text of what is wrong. */
const char *signature_keys_new(struct cdpd_str text, struct signature_keys **out);
void signature_keys_free(struct signature_keys *keys); /* NULL is fine */
/* Appends "v1,… v1a,…". False: there was no memory. */
bool signature_write(const struct signature_keys *keys, struct cdpd_str id, struct cdpd_str timestamp,
		     struct cdpd_str body, struct writer *out);
/* 32 hex digits of the SHA-256 of `text`, and a NUL. */
#define SIGNATURE_DIGEST_SIZE 33
bool signature_digest(struct cdpd_str text, char out[SIGNATURE_DIGEST_SIZE]);
