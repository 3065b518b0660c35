/* outcome_row: the rows of the `outcomes` database, keyed by the record's position. */
#pragma once

#include "profile/outcome.h"
#include "store/store.h"

MUST_USE int outcome_append(struct store_txn *txn, store_db outcomes, uint64_t seq, const struct outcome *outcome);
MUST_USE int outcome_replace(struct store_txn *txn, store_db outcomes, uint64_t seq, const struct outcome *outcome);
MUST_USE int outcome_get(struct store_txn *txn, store_db outcomes, uint64_t seq,
			 struct outcome *out); /* ERR_NOT_FOUND */
MUST_USE int outcome_decode(struct str key, struct str value, struct outcome *out);
