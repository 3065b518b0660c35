/* literals: which texts a regular expression cannot do without, so that most rules need not be tried. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LITERALS_MAX 4
#define SIEVE_BITS   4096

/* The trigrams, lower-cased and hashed, that stand in a text. */
struct sieve {
	uint64_t bits[SIEVE_BITS / 64];
};
/* Trigrams that every text which the pattern matches has. */
struct literals {
	uint16_t grams[LITERALS_MAX];
	unsigned count;
};

/* Errs on the safe side: of what it does not understand it asks for nothing. */
void literals_of(const char *pattern, struct literals *out);
void sieve_fill(struct sieve *sieve, const char *text, size_t len);

static inline bool sieve_passes(const struct sieve *sieve, const struct literals *literals)
{
	for (unsigned i = 0; i < literals->count; i++) {
		if (!(sieve->bits[literals->grams[i] / 64] >> (literals->grams[i] % 64) & 1)) return false;
	}
	return true;
}
