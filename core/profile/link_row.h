/* link_row: the rows of the `links` database: every distinct attempt to join two identifiers, kept under both
 * fragments, the refused ones too, and the acts of people on them: merges and unmerges. What a later unmerge decides
 * again is read from here, so a row holds all that the decision depended on.
 *
 *   key    fragment 16 · other 16 · rule u8 · version of the identity rules u64, big endian (of an act: its position)
 *   value  sealed header (reason; flags, ordinal) · position u64 · t i64 · the other's identifier
 *          of an act: … t i64 · version u64 · lengths of identifier, actor and note u16 · the three texts */
#pragma once

#include "profile/people.h"

enum link_rule {
	LINK_SAME_EVENT = 1,
	LINK_ALIAS = 2,
	LINK_MERGE = 3,      /* an act: somebody said that these are one person */
	LINK_UNMERGE = 4,    /* an act: … that they are not: a cannot-link while it is LINK_OK and not lifted */
	LINK_KEPT = 5,       /* an act: an erasure took out what had joined them, they stay one person */
	LINK_TRUSTED = 0x80, /* flag: the source might link two known people (or alias) */
};

enum link_reason {
	LINK_OK,
	LINK_UNIQUE_CONFLICT, /* a namespace of which a profile has one */
	LINK_NAMESPACE_LIMIT,
	LINK_TOO_MANY_FRAGMENTS,
	LINK_BLOCKED_VALUE,
	LINK_NOT_ALLOWED,
	LINK_CANNOT_LINK,       /* the two sides hold identifiers that were unmerged */
	LINK_TOO_MANY_ATTEMPTS, /* no room for the evidence on either or one side: such a link could not be undone */
	LINK_NOT_JOINED,        /* an unmerge of two who are not one person */
	LINK_TOO_ENTANGLED,     /* an unmerge that would have to decide too much again */
	LINK_REASON_COUNT
};

const char *link_rule_name(uint8_t rule);
const char *link_reason_name(enum link_reason reason); /* "" for LINK_OK */

struct link {
	struct fragment_id fragment, other;
	uint8_t rule;
	uint64_t version;  /* identity rules it was decided by */
	bool is_initiator; /* the event went into `fragment`, not into `other`; an act's `a` */
	bool is_one_sided; /* the other side had no room for it: it never links */
	bool was_one;      /* the two were one person already */
	uint8_t ordinal;   /* among the attempts of its record */
	enum link_reason reason;
	uint64_t seq;
	int64_t t;
	struct str other_identifier;
	struct str actor, note; /* of an act */
};

static inline bool link_is_act(uint8_t rule)
{
	return (rule & ~LINK_TRUSTED) >= LINK_MERGE;
}

MUST_USE int link_put(struct store_txn *txn, store_db links, const struct link *link);
/* Only tells whether it is there: ERR_NOT_FOUND when not. */
MUST_USE int link_find(struct store_txn *txn, store_db links, const struct link *link);
/* Deletes the row, and of its mirror under the other fragment (when that stays) takes the text away: `hashed` instead. */
MUST_USE int link_forget(struct store_txn *txn, store_db links, const struct link *link, bool other_stays,
			 struct str hashed);
MUST_USE int link_decode(struct str key, struct str value, struct link *out);
/* Every row of the fragment, in the keys' order, borrowed; a status of `fn` other than OK ends it and is returned (never
 * ERR_NOT_FOUND). */
MUST_USE int links_each(struct store_txn *txn, store_db links, const struct fragment_id *fragment,
			int (*fn)(void *ctx, const struct link *link), void *ctx);
/* One attempt or act as people see it, `identifier` being link->fragment's. Copied into the arena. */
MUST_USE int link_show(const struct link *link, struct str identifier, struct arena *arena, struct link_row *out);
/* Reads the row of that key. ERR_NOT_FOUND. Borrows the transaction. */
MUST_USE int link_get(struct store_txn *txn, store_db links, const struct link *key, struct link *out);
