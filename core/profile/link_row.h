/* link_row: the rows of the `links` database: every distinct attempt to join two identifiers, kept under both
 * fragments, the refused ones too. What a later unmerge decides again is read from here, so a row holds all that the
 * decision depended on.
 *
 *   key    fragment 16 · other 16 · rule u8 · version of the identity rules u64, big endian
 *   value  sealed header (reason; linked, initiator) · position u64 · t i64 · the other's identifier */
#pragma once

#include "profile/people.h"

enum link_rule {
	LINK_SAME_EVENT = 1,
	LINK_ALIAS = 2,
	LINK_TRUSTED = 0x80, /* flag: the source might link two known people (or alias) */
};

enum link_reason {
	LINK_OK,
	LINK_UNIQUE_CONFLICT, /* a namespace of which a profile has one */
	LINK_NAMESPACE_LIMIT,
	LINK_TOO_MANY_FRAGMENTS,
	LINK_BLOCKED_VALUE,
	LINK_NOT_ALLOWED,
	LINK_REASON_COUNT
};

const char *link_rule_name(uint8_t rule);
const char *link_reason_name(enum link_reason reason); /* "" for LINK_OK */

struct link {
	struct fragment_id fragment, other;
	uint8_t rule;
	uint64_t version;  /* identity rules it was decided by */
	bool is_initiator; /* the event went into `fragment`, not into `other` */
	enum link_reason reason;
	uint64_t seq;
	int64_t t;
	struct str other_identifier;
};

MUST_USE int link_put(struct store_txn *txn, store_db links, const struct link *link);
/* Only tells whether it is there: ERR_NOT_FOUND when not. */
MUST_USE int link_find(struct store_txn *txn, store_db links, const struct link *link);
/* Deletes the row, and of its mirror under the other fragment (when that stays) takes the text away: `hashed` instead. */
MUST_USE int link_forget(struct store_txn *txn, store_db links, const struct link *link, bool other_stays,
			 struct str hashed);
MUST_USE int link_decode(struct str key, struct str value, struct link *out);
