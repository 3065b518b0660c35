/* meta: what each commit of the journal says about the journal itself, one small row per segment. The newest
 * segment's row is the journal's; a sealed segment's row tells how far it goes. */
#pragma once

#include "journal/journal.h"

#define META_FORMAT          1
#define META_SIZE_MAX        2014 /* stays inside its leaf page */
#define DEFINITION_HASH_SIZE 32

struct journal_meta {
	uint64_t epoch;
	uint64_t first_seq; /* oldest retained */
	uint64_t next_seq;
	uint64_t next_reject_id;
	uint64_t reject_bytes; /* details kept in this segment */
	int64_t last_t;
	int64_t created_t;     /* of this segment */
	int64_t clock_jump_us; /* while is_clock_held: by how much */
	bool is_clock_held;
	uint64_t definition_seq;                       /* the newest definition record; 0: none yet */
	uint8_t definition_hash[DEFINITION_HASH_SIZE]; /* SHA-256 of its payload */
	struct journal_counters counters;
};

/* Returns the length. */
size_t meta_encode(const struct journal_meta *meta, uint8_t out[META_SIZE_MAX]);
/* ERR_CORRUPT; ERR_FORMAT: from a newer cdpd. */
MUST_USE int meta_decode(struct str bytes, struct journal_meta *out);
