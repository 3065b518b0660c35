#include "base/hash.h"

#include <pthread.h>
#include <sodium.h>

_Static_assert(HASH_KEY_SIZE == crypto_shorthash_KEYBYTES, "SipHash takes 16-byte keys");
_Static_assert(HASH_KEY_SIZE == crypto_shorthash_siphashx24_KEYBYTES, "SipHash takes 16-byte keys");
_Static_assert(sizeof(struct hash128) == crypto_shorthash_siphashx24_BYTES, "128 bits");
_Static_assert(sizeof(uint64_t) == crypto_shorthash_BYTES, "64 bits");

uint64_t hash64(const struct hash_key *key, const void *data, size_t len)
{
	uint64_t hash;
	(void)crypto_shorthash((unsigned char *)&hash, data, len, key->bytes);
	return hash;
}

void hash128(const struct hash_key *key, const void *data, size_t len, struct hash128 *out)
{
	(void)crypto_shorthash_siphashx24(out->bytes, data, len, key->bytes);
}

_Static_assert(HMAC_SIZE == crypto_auth_hmacsha256_BYTES, "SHA-256 has 32 bytes");

static void init_sodium(void)
{
	CHECK(sodium_init() >= 0);
}

static void need_sodium(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	(void)pthread_once(&once, init_sodium);
}

void hmac_sha256(const void *key, size_t key_len, struct str data, uint8_t out[HMAC_SIZE])
{
	crypto_auth_hmacsha256_state state;
	need_sodium();
	(void)crypto_auth_hmacsha256_init(&state, key, key_len);
	(void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)data.ptr, data.len);
	(void)crypto_auth_hmacsha256_final(&state, out);
	sodium_memzero(&state, sizeof state);
}

void random_bytes(void *out, size_t len)
{
	need_sodium();
	randombytes_buf(out, len);
}
