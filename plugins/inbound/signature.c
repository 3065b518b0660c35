#include "signature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define BASE64_LEN 44 /* of 32 bytes, padded */

static bool add(EVP_MAC_CTX *mac, const char *text, size_t len)
{
	return len == 0 || EVP_MAC_update(mac, (const unsigned char *)text, len);
}

bool signature_make(const char *key, size_t key_len, const char *timestamp, size_t timestamp_len, const char *body,
		    size_t body_len, unsigned char out[SIGNATURE_SIZE])
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {{"digest", OSSL_PARAM_UTF8_STRING, digest, sizeof digest - 1, 0}, {NULL, 0, NULL, 0, 0}};
	size_t len = 0;
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *mac = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
	bool is_made = mac && EVP_MAC_init(mac, (const unsigned char *)key, key_len, params) &&
		       add(mac, timestamp, timestamp_len) && add(mac, ".", timestamp_len ? 1 : 0) &&
		       add(mac, body, body_len) && EVP_MAC_final(mac, out, &len, SIGNATURE_SIZE) &&
		       len == SIGNATURE_SIZE;
	EVP_MAC_CTX_free(mac);
	EVP_MAC_free(hmac);
	return is_made;
}

static void write_hex(const unsigned char bytes[SIGNATURE_SIZE], char out[SIGNATURE_HEX_SIZE])
{
	for (size_t i = 0; i < SIGNATURE_SIZE; i++) {
		out[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
	}
	out[SIGNATURE_HEX_SIZE - 1] = '\0';
}

bool signature_is_hex(const char *given, size_t len, const unsigned char signature[SIGNATURE_SIZE])
{
	char expected[SIGNATURE_HEX_SIZE], lower[2 * SIGNATURE_SIZE];
	if (len != sizeof lower) return false;
	write_hex(signature, expected);
	for (size_t i = 0; i < len; i++)
		lower[i] = given[i] >= 'A' && given[i] <= 'F' ? (char)(given[i] - 'A' + 'a') : given[i];
	return CRYPTO_memcmp(lower, expected, sizeof lower) == 0;
}

bool signature_is_base64(const char *given, size_t len, const unsigned char signature[SIGNATURE_SIZE])
{
	unsigned char expected[BASE64_LEN + 1];
	if (len != BASE64_LEN) return false;
	if (EVP_EncodeBlock(expected, signature, SIGNATURE_SIZE) != BASE64_LEN) return false;
	return CRYPTO_memcmp(given, expected, BASE64_LEN) == 0;
}

bool signature_digest(const char *text, size_t len, char out[SIGNATURE_HEX_SIZE])
{
	unsigned char digest[SIGNATURE_SIZE];
	unsigned int size = 0;
	if (!EVP_Digest(text, len, digest, &size, EVP_sha256(), NULL) || size != sizeof digest) return false;
	write_hex(digest, out);
	return true;
}
