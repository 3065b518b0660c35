/* consent_log: every act of consent for ever, in order, each row bound to the one before it by a hash. What a row says of a
 * person's words (texts, proof, addresses) is only a salted hash; the words and the salt lie in a payload beside it. Erasing a
 * payload leaves the chain whole and says nothing any more.
 *
 *   consent_log       n u64 → sealed header (state) · position u64 · fragment 16 · payload hash 32 · previous 32 · hash 32 ·
 *                     purpose str · channel str
 *   consent_payloads  n u64 → sealed header · salt 16 · JSON text
 *   consent_tokens    expiry u64 big endian · token id 16 → position u64: single-use tokens that were used
 *
 *   payload hash = SHA-256(salt, text)
 *   hash         = SHA-256("cdpd consent 1", n, state, position, fragment, payload hash, previous, purpose, channel)
 *
 * The salt is random, made when the act was taken in, and comes with its record: a replay gives the same bytes. */
#pragma once

#include "base/secret.h"
#include "profile/room.h"

#define CONSENT_SALT_SIZE  16
#define CONSENT_TOKEN_SIZE 16

struct consent_log_row {
	uint64_t n, position;
	struct fragment_id fragment;
	enum consent_state state;
	struct str purpose, channel;
	uint8_t payload_hash[SHA256_SIZE], previous[SHA256_SIZE], hash[SHA256_SIZE];
};

MUST_USE int consent_log_open(struct store_env *env, struct tables *tables);
/* Appends in the open transaction; fills n, previous and the hashes of `row`. */
MUST_USE int consent_log_append(struct store_txn *txn, const struct tables *tables, struct consent_log_row *row,
				const uint8_t salt[CONSENT_SALT_SIZE], struct str text);
/* Borrows. ERR_CORRUPT, ERR_FORMAT. */
MUST_USE int consent_log_decode(struct str key, struct str value, struct consent_log_row *out);
/* Is the row's hash that of its content? */
MUST_USE int consent_log_check(const struct consent_log_row *row, bool *is_sound);
/* The words of row `n`, borrowed. ERR_NOT_FOUND: erased. */
MUST_USE int consent_payload_get(struct store_txn *txn, const struct tables *tables, uint64_t n,
				 uint8_t salt[CONSENT_SALT_SIZE], struct str *text);
/* Deletes what was said through the fragment; the chain stays whole. Reads the whole log. */
MUST_USE int consent_words_forget(struct store_txn *txn, const struct tables *tables,
				  const struct fragment_id *fragment);
MUST_USE int consent_payload_hash(const uint8_t salt[CONSENT_SALT_SIZE], struct str text, uint8_t out[SHA256_SIZE]);

/* Position at which the token was used. ERR_NOT_FOUND: it was not. */
MUST_USE int consent_token_find(struct store_txn *txn, const struct tables *tables, int64_t expires,
				const uint8_t id[CONSENT_TOKEN_SIZE], uint64_t *seq);
/* Remembers a use, and forgets some tokens that nobody could use any more at `t`. */
MUST_USE int consent_token_use(struct store_txn *txn, const struct tables *tables, int64_t expires,
			       const uint8_t id[CONSENT_TOKEN_SIZE], uint64_t seq, int64_t t);
