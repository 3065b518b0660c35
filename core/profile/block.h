/* block: whose events are not applied. Two small tables of profiles/:
 *
 *   erased      "f" fragment 16            value  sealed · position u64 · before i64 · receipt 16 · late position u64
 *               "h" fragment 16            of who was one person with an erased fragment: value  sealed · position u64
 *   suppressed  "m" member 16 · owner 16   value  sealed (1: the named identifier itself)
 *               "o" owner 16               value  sealed · position u64 · t i64 · count u32 · members 16 each ·
 *                                                 namespace, actor, reason (length u16 and text)
 *
 * Nothing in them is text of the person: owners and members are keyed hashes. */
#pragma once

#include "profile/erase.h"
#include "profile/room.h"
#include "profile/suppress.h"

/* At the start of a transaction: is anything blocked at all? */
MUST_USE int blocks_begin(struct people *people);
/* The event of people->identifiers with that strongest identifier: leaves `out` alone or gives the verdict. */
MUST_USE int blocks_judge(struct people *people, const struct identifier *strongest, const struct cdpd_event *event,
			  uint64_t seq, struct apply_result *out);
MUST_USE int erased_get(struct store_txn *txn, store_db erased, const struct fragment_id *id, struct erased_row *out);
MUST_USE int erased_put(struct store_txn *txn, store_db erased, const struct fragment_id *id,
			const struct erased_row *row);
/* Somebody was one person with an erased fragment at `seq`: what the feed said of them before may be about both. */
MUST_USE int erased_head_put(struct store_txn *txn, store_db erased, const struct fragment_id *id, uint64_t seq);
MUST_USE int erased_head_get(struct store_txn *txn, store_db erased, const struct fragment_id *id, uint64_t *seq);

/* Is the identifier suppressed: itself, or (for the one that an event goes into) as a member? */
MUST_USE int suppressed_has(struct people *people, const struct fragment_id *id, bool is_strongest, bool *out);

/* From "namespace:value" or the hashed form; the text is borrowed. */
void identifier_from_text(const struct people *people, struct str text, struct identifier *out);
/* Like fragment_id_make, but understands the hashed form. */
void identifier_id(const struct hash_key *key, struct str text, struct fragment_id *out);
