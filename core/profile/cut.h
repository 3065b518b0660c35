/* cut: cannot-links as they stand. An accepted unmerge of a pair is one, from the beginning of time until the first linked merge
 * of that very pair after it. */
#pragma once

#include "profile/component.h"

/* Is there one in force between the two components? `but`: a pair that does not count, or NULL. Costs nothing while either
 * component has none at all. */
MUST_USE int cut_between(struct people *people, const struct component *a, const struct component *b,
			 const struct fragment_id *const but[2], bool *out);
/* The same for a snapshot: which of `b` an identifier (with has_cuts) may never be one person with. */
MUST_USE int cut_of(struct store_txn *txn, store_db links, const struct fragment_id *fragment,
		    const struct component *b, const struct fragment_id *but, bool *out);
