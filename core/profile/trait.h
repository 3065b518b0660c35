/* trait: the traits of a row. There is one value for each name and provenance class: the newest event time wins, ties
 * go to the larger messageId, then source, then value, so the order of arrival never decides. Between classes nothing
 * is lost: the strongest class is shown, the others stay readable.
 *
 * An answer that expires (core/profile/origin.h) is passed over from then on; it takes the older values of its class with it.
 *
 * A JSON null is a value like any other: it replaces the older one and is shown as null. */
#pragma once

#include "profile/row.h"

enum trait_put {
	TRAIT_TAKEN,   /* the row changed */
	TRAIT_LOST,    /* a newer value stands, or the same one */
	TRAIT_REFUSED, /* over a bound; counted in the row */
};

/* Puts a value into a row whose cold section is decoded. Name and value are copied when taken, the stamp must live in `arena`
 * already. `is_bounded`: fragments hold PEOPLE_TRAITS_MAX and PEOPLE_FRAGMENT_BYTES_MAX. ERR_NOMEM. */
MUST_USE int trait_put(struct row *row, const struct row_trait *trait, bool is_bounded, struct arena *arena,
		       enum trait_put *out);
/* Merges the traits of `from` into merged row `into`; both decoded, both living as long as `arena`. */
MUST_USE int traits_merge(struct row *into, const struct row *from, struct arena *arena);
/* > 0: of two values of one trait, `a` is the one that is shown. */
int trait_compare(const struct row_trait *a, const struct row_trait *b);
/* The row's winner of that name at `now` (its strongest class that has not expired), or NULL. */
const struct row_trait *trait_winner(const struct row *row, struct str name, int64_t now);
/* The same among the values of the name that begins at index `i`. */
const struct row_trait *trait_in_force(const struct row *row, size_t i, int64_t now);
/* Index of the first trait of the next name after index `i`. */
size_t trait_next_name(const struct row *row, size_t i);
