/* consent_row: a list of consents as a section of a row: count varint, then for each
 *   purpose str · channel str · state u8 · basis u8 · time i64 · expires i64 · position u64 · log varint · source str ·
 *   message id str
 * ordered by purpose, then channel. */
#pragma once

#include "profile/consent.h"

size_t consents_encoded_max(const struct consent_list *list);
uint8_t *consents_encode(const struct consent_list *list, uint8_t *at);
/* Borrows `bytes`; the array lives in the arena. ERR_CORRUPT, ERR_NOMEM. */
MUST_USE int consents_decode(struct str bytes, struct arena *arena, struct consent_list *out);
