/* privacy_key: the secret that makes pseudonyms: 32 random bytes as hex in a file of its own, made when it is first needed. */
#pragma once

#include "base/str.h"

#define PRIVACY_KEY_SIZE 32
struct privacy_key {
	bool is_loaded;
	uint8_t bytes[PRIVACY_KEY_SIZE];
};

/* Reads the file, or makes it (0600, durable) when there is none. ERR_INVALID: it holds no key; ERR_REFUSED: others may read it; ERR_IO. The cause is
 * logged. */
MUST_USE int privacy_key_load(struct privacy_key *key, struct str path);

#define PSEUDONYM_SIZE 66 /* "p_" and 64 hex digits */
/* The same text gives the same pseudonym. */
void privacy_pseudonym(const struct privacy_key *key, struct str text, char out[PSEUDONYM_SIZE + 1]);
