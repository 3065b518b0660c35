#include "base/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

int sha256(struct str data, uint8_t out[SHA256_SIZE])
{
	return EVP_Digest(data.ptr, data.len, out, NULL, EVP_sha256(), NULL) == 1 ? OK : ERR_NOMEM;
}

int sha256_parts(const struct str *parts, size_t count, uint8_t out[SHA256_SIZE])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool is_ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
	for (size_t i = 0; i < count && is_ok; i++) is_ok = EVP_DigestUpdate(ctx, parts[i].ptr, parts[i].len) == 1;
	if (is_ok) is_ok = EVP_DigestFinal_ex(ctx, out, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	return is_ok ? OK : ERR_NOMEM;
}

bool secret_eq(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void secret_wipe(void *ptr, size_t len)
{
	OPENSSL_cleanse(ptr, len);
}
