#include "base/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

int sha256(struct str data, uint8_t out[SHA256_SIZE])
{
	return EVP_Digest(data.ptr, data.len, out, NULL, EVP_sha256(), NULL) == 1 ? OK : ERR_NOMEM;
}

int hmac_sha256(const void *key, size_t key_len, struct str data, uint8_t out[SHA256_SIZE])
{
	unsigned len = SHA256_SIZE;
	bool is_made =
	    HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)data.ptr, data.len, out, &len) != NULL;
	return is_made && len == SHA256_SIZE ? OK : ERR_NOMEM;
}

bool secret_eq(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void secret_wipe(void *ptr, size_t len)
{
	OPENSSL_cleanse(ptr, len);
}
