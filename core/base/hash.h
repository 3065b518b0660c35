/* hash: SipHash-2-4 (keyed: an outsider cannot aim a collision), HMAC-SHA-256 (what is hashed cannot be told from the hash) and random bytes. */
#pragma once

#include "base/str.h"

#define HASH_KEY_SIZE 16
struct hash_key {
	uint8_t bytes[HASH_KEY_SIZE];
};
struct hash128 {
	uint8_t bytes[16];
};

uint64_t hash64(const struct hash_key *key, const void *data, size_t len);
void hash128(const struct hash_key *key, const void *data, size_t len, struct hash128 *out);
#define HMAC_SIZE 32
void hmac_sha256(const void *key, size_t key_len, struct str data, uint8_t out[HMAC_SIZE]);
void random_bytes(void *out, size_t len);
