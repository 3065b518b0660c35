/* signature: HMAC-SHA256 over what a webhook's sender signed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SIGNATURE_SIZE     32
#define SIGNATURE_HEX_SIZE 65

/* Over "<timestamp>.<body>", or the body alone when there is no timestamp. False: out of memory. */
bool signature_make(const char *key, size_t key_len, const char *timestamp, size_t timestamp_len, const char *body,
		    size_t body_len, unsigned char out[SIGNATURE_SIZE]);
/* In constant time. `given` is hex of either case, or base64 with its padding. */
bool signature_is_hex(const char *given, size_t len, const unsigned char signature[SIGNATURE_SIZE]);
bool signature_is_base64(const char *given, size_t len, const unsigned char signature[SIGNATURE_SIZE]);
/* SHA-256 as hex, NUL-terminated. */
bool signature_digest(const char *text, size_t len, char out[SIGNATURE_HEX_SIZE]);
