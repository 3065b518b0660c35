#include "base/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

int sha256(struct str data, uint8_t out[SHA256_SIZE])
{
	return EVP_Digest(data.ptr, data.len, out, NULL, EVP_sha256(), NULL) == 1 ? OK : ERR_NOMEM;
}

bool secret_eq(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void secret_wipe(void *ptr, size_t len)
{
	OPENSSL_cleanse(ptr, len);
}
