#include "signature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_MIN  16 /* bytes of an HMAC key */
#define SECRET_MAX  128
#define SEED_SIZE   ((size_t)32) /* of Ed25519; its public key is as long */
#define ED_SIZE     64
#define SHA256_SIZE 32

struct signature_keys {
	size_t count;
	struct {
		EVP_MAC_CTX *mac; /* HMAC: with its key, copied for each message */
		EVP_PKEY *pair;   /* Ed25519 */
	} items[SIGNATURE_KEYS_MAX];
};

/* ── reading keys ────────────────────────────────────────────────────────── */

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z') return c - 'A';
	if (c >= 'a' && c <= 'z') return c - 'a' + 26;
	if (c >= '0' && c <= '9') return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* The usual or the URL's alphabet, padded or not. 0: it is not base64, or too long. */
static size_t decode(struct cdpd_str text, unsigned char out[SECRET_MAX])
{
	unsigned bits = 0, have = 0;
	size_t len = 0;
	while (text.len && text.ptr[text.len - 1] == '=') text.len--;
	for (size_t i = 0; i < text.len; i++) {
		int value = base64_digit(text.ptr[i]);
		if (value < 0) return 0;
		bits = (bits << 6 | (unsigned)value) & 0xffffff;
		have += 6;
		if (have < 8) continue;
		if (len == SECRET_MAX) return 0;
		have -= 8;
		out[len++] = (unsigned char)(bits >> have);
	}
	return len;
}

static EVP_MAC_CTX *make_mac(const unsigned char *key, size_t len)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {{"digest", OSSL_PARAM_UTF8_STRING, digest, sizeof digest - 1, 0}, {NULL, 0, NULL, 0, 0}};
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *mac = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
	EVP_MAC_free(hmac);
	if (mac && EVP_MAC_init(mac, key, len, params)) return mac;
	EVP_MAC_CTX_free(mac);
	return NULL;
}

static bool starts(struct cdpd_str text, const char *with)
{
	size_t len = strlen(with);
	return text.len >= len && memcmp(text.ptr, with, len) == 0;
}

static const char *add_key(struct signature_keys *keys, struct cdpd_str text)
{
	unsigned char bytes[SECRET_MAX];
	bool is_hmac = starts(text, "whsec_"), is_pair = starts(text, "whsk_");
	if (!is_hmac && !is_pair) return "keys begin with whsec_ (HMAC) or whsk_ (Ed25519)";
	if (keys->count == SIGNATURE_KEYS_MAX) return "there are more than 8";
	size_t skip = is_hmac ? 6 : 5, len = decode((struct cdpd_str){text.ptr + skip, text.len - skip}, bytes);
	const char *why = NULL;
	if (is_hmac && len < SECRET_MIN) why = "behind whsec_ stand 16 to 128 bytes (better 24 to 64) as base64";
	if (is_pair && len != SEED_SIZE && len != 2 * SEED_SIZE)
		why = "behind whsk_ stand 32 bytes, or 64 with the public key, as base64";
	if (!why && is_hmac) keys->items[keys->count].mac = make_mac(bytes, len);
	if (!why && is_pair)
		keys->items[keys->count].pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, bytes, SEED_SIZE);
	OPENSSL_cleanse(bytes, sizeof bytes);
	if (why) return why;
	if (!keys->items[keys->count].mac && !keys->items[keys->count].pair) return "OpenSSL does not take it";
	keys->count++;
	return NULL;
}

const char *signature_keys_new(struct cdpd_str text, struct signature_keys **out)
{
	const char *why = NULL;
	struct signature_keys *keys = calloc(1, sizeof *keys);
	*out = NULL;
	if (!keys) return "out of memory";
	for (size_t i = 0; i < text.len && !why;) {
		size_t len = 0;
		while (i + len < text.len && !strchr(" \t\r\n,", text.ptr[i + len])) len++;
		if (len) why = add_key(keys, (struct cdpd_str){text.ptr + i, len});
		i += len + 1;
	}
	if (!why && keys->count == 0) why = "it is empty";
	if (why)
		signature_keys_free(keys);
	else
		*out = keys;
	return why;
}

void signature_keys_free(struct signature_keys *keys)
{
	if (!keys) return;
	for (size_t i = 0; i < SIGNATURE_KEYS_MAX; i++) {
		EVP_MAC_CTX_free(keys->items[i].mac);
		EVP_PKEY_free(keys->items[i].pair);
	}
	free(keys);
}

/* ── signing ─────────────────────────────────────────────────────────────── */

static bool add(EVP_MAC_CTX *mac, struct cdpd_str text)
{
	return text.len == 0 || EVP_MAC_update(mac, (const unsigned char *)text.ptr, text.len);
}

static bool sign_hmac(const EVP_MAC_CTX *with_key, struct cdpd_str id, struct cdpd_str timestamp, struct cdpd_str body,
		      struct writer *out)
{
	unsigned char code[SHA256_SIZE];
	size_t len = 0;
	const struct cdpd_str dot = {".", 1};
	EVP_MAC_CTX *mac = EVP_MAC_CTX_dup(with_key);
	bool is_made = mac && add(mac, id) && add(mac, dot) && add(mac, timestamp) && add(mac, dot) && add(mac, body) &&
		       EVP_MAC_final(mac, code, &len, sizeof code) && len == sizeof code;
	EVP_MAC_CTX_free(mac);
	if (!is_made) return false;
	writer_text(out, "v1,");
	writer_base64(out, (struct cdpd_str){(const char *)code, sizeof code});
	return true;
}

/* Ed25519 signs in one go. */
static bool sign_pair(EVP_PKEY *pair, struct cdpd_str id, struct cdpd_str timestamp, struct cdpd_str body,
		      struct writer *out)
{
	unsigned char code[ED_SIZE];
	size_t len = sizeof code;
	struct writer all = {0};
	writer_str(&all, id);
	writer_text(&all, ".");
	writer_str(&all, timestamp);
	writer_text(&all, ".");
	writer_str(&all, body);
	EVP_MD_CTX *signer = EVP_MD_CTX_new();
	bool is_made = signer && !all.is_short && EVP_DigestSignInit(signer, NULL, NULL, NULL, pair) == 1 &&
		       EVP_DigestSign(signer, code, &len, (const unsigned char *)all.ptr, all.len) == 1 &&
		       len == sizeof code;
	EVP_MD_CTX_free(signer);
	writer_free(&all);
	if (!is_made) return false;
	writer_text(out, "v1a,");
	writer_base64(out, (struct cdpd_str){(const char *)code, sizeof code});
	return true;
}

bool signature_write(const struct signature_keys *keys, struct cdpd_str id, struct cdpd_str timestamp,
		     struct cdpd_str body, struct writer *out)
{
	bool is_made = true;
	for (size_t i = 0; i < keys->count && is_made; i++) {
		if (i) writer_text(out, " ");
		is_made = keys->items[i].mac ? sign_hmac(keys->items[i].mac, id, timestamp, body, out)
					     : sign_pair(keys->items[i].pair, id, timestamp, body, out);
	}
	return is_made && !out->is_short;
}

bool signature_digest(struct cdpd_str text, char out[SIGNATURE_DIGEST_SIZE])
{
	unsigned char digest[SHA256_SIZE];
	unsigned len = 0;
	if (!EVP_Digest(text.ptr, text.len, digest, &len, EVP_sha256(), NULL) || len != sizeof digest) return false;
	for (size_t i = 0; i < (SIGNATURE_DIGEST_SIZE - 1) / 2; i++) {
		out[2 * i] = "0123456789abcdef"[digest[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
	}
	out[SIGNATURE_DIGEST_SIZE - 1] = '\0';
	return true;
}
