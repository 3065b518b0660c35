/* calling_codes: countries' telephone numbering, as far as a number's E.164 form needs it: ITU country calling codes and national
 * trunk prefixes.
 *
 * A table of our own, and frozen: an identifier is made of what it says, so the metadata of a library that is updated would give
 * the same event another person on a replay. Numbering plans change; a row may be added, but one that stands is changed only
 * together with a new name of the normalisation in the identity rules. */
#pragma once

#include "base/str.h"

struct calling_code {
	char country[3]; /* ISO 3166-1 alpha-2 */
	char code[4];    /* digits */
	char trunk[3];   /* dialled before a national number inside the country, not part of it; empty: none */
	uint8_t digits;  /* of a national number, when they are always as many; 0: they vary */
};

/* NULL: not a country with a calling code. Any case. */
const struct calling_code *calling_code_of(struct str country);
/* Length of the calling code that these digits start with; 0: none. */
size_t calling_code_prefix(struct str digits);
