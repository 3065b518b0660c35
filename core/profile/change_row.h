/* change_row: the rows of the `changes` database, keyed by their number in the feed. Bodies are split so that they
 * normally stay inline; only a single value larger than that uses an overflow page, which is
 * harmless there (appended in order, deleted in order). */
#pragma once

#include "profile/change.h"
#include "store/store.h"

#define CHANGE_BODY_USUAL 1900 /* a body is closed when it is longer */

MUST_USE int change_append(struct store_txn *txn, store_db changes, const struct change *change);
/* The row keeps its place, kind and time; its body becomes {}. ERR_NOT_FOUND. */
MUST_USE int change_blank(struct store_txn *txn, store_db changes, uint64_t seq);
/* `body` borrows the value. ERR_CORRUPT, ERR_FORMAT. */
MUST_USE int change_decode(struct str key, struct str value, struct change *out);
