/* secret: digests of and comparisons with what must not leak (tokens). OpenSSL lives here. */
#pragma once

#include "base/str.h"

#define SHA256_SIZE 32
MUST_USE int sha256(struct str data, uint8_t out[SHA256_SIZE]);
/* Of the parts, one after the other. */
MUST_USE int sha256_parts(const struct str *parts, size_t count, uint8_t out[SHA256_SIZE]);
/* Constant-time in the content of both. */
bool secret_eq(const void *a, const void *b, size_t len);
void secret_wipe(void *ptr, size_t len);
