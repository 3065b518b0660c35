/* feature_eval: what an event adds to the feature states of rows, merging states of rows, and reading them. */
#pragma once

#include "profile/plan.h"
#include "profile/row.h"

#define FEATURE_JSON_MAX     65536 /* bytes of a feature's value as JSON: fifty keys of which every byte needs an escape */
#define FEATURE_ELEMENTS_MAX 1000 /* of one array that a feature looks at; those beyond are refused */

struct feature_tally {
	uint32_t awaits;    /* of the event: features that read from these enrichers are deferred */
	uint64_t *deferred; /* their keys; room for all of the plan. Needed with `awaits` */
	size_t deferred_count;
	uint64_t refused; /* inputs that a type refused, keys that are none, elements beyond the bound */
	size_t grown;     /* bytes by which states grew */
};

/* Adds the event to the rows' states (the fragment's and, when there is one, the merged row's). Adds to the tally. ERR_NOMEM, ERR_CORRUPT (a stored state is longer than its type allows). */
MUST_USE int features_apply(const struct plan *plan, struct event_view *view, struct row *const *rows, size_t row_count,
			    struct arena *arena, struct feature_tally *tally);
/* The same, for these features alone (keys; those no longer defined, or not for such events, are passed over): what was deferred counts now. */
MUST_USE int features_apply_some(const struct plan *plan, struct event_view *view, struct row *const *rows,
				 size_t row_count, struct arena *arena, struct feature_tally *tally,
				 const uint64_t *keys, size_t key_count);
/* States of features that are no longer defined leave the row. */
void features_drop_unknown(const struct plan *plan, struct row *row);
/* Merges the states of `from` into merged row `into`. */
MUST_USE int features_merge(const struct plan *plan, struct row *into, const struct row *from, struct arena *arena);

const struct row_feature *row_feature_find(const struct row *row, uint64_t key); /* NULL: no event touched it yet */
/* JSON text of the value; `state` NULL reads as a feature that saw no event. The length; "null" when the type cannot read it. */
size_t feature_read(const struct plan_feature *feature, const struct row_feature *state, int64_t now,
		    char json[FEATURE_JSON_MAX]);
