/* names: records that name people outside of events. */
#pragma once

#include "event/record.h"
#include "profile/erase.h"

/* Merges and unmerges (cdpd.v1.StoredMerge): references to identifiers erased since become their hashes, and the
 * reason that somebody wrote down goes. The reader is open. */
MUST_USE int names_hash(struct people_reader *reader, const struct record *record, struct arena *arena,
			bool *is_replaced, struct str *payload);
