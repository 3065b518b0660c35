/* feature_eval: what an event adds to the feature states of rows, merging states of rows, and reading them. */
#pragma once

#include "profile/plan.h"
#include "profile/row.h"

#define FEATURE_JSON_MAX 4096 /* bytes of a feature's value as JSON */

/* Adds the event to the rows' states (the fragment's and, when there is one, the merged row's). Adds up inputs that a type
 * refused in *refused. ERR_NOMEM, ERR_CORRUPT (a stored state is longer than its type allows). */
MUST_USE int features_apply(const struct plan *plan, struct event_view *view, struct row *const *rows, size_t row_count,
			    struct arena *arena, uint64_t *refused);
/* States of features that are no longer defined leave the row. */
void features_drop_unknown(const struct plan *plan, struct row *row);
/* Merges the states of `from` into merged row `into`. */
MUST_USE int features_merge(const struct plan *plan, struct row *into, const struct row *from, struct arena *arena);

const struct row_feature *row_feature_find(const struct row *row, uint64_t key); /* NULL: no event touched it yet */
/* JSON text of the value; `state` NULL reads as a feature that saw no event. The length; "null" when the type cannot read it. */
size_t feature_read(const struct plan_feature *feature, const struct row_feature *state, int64_t now,
		    char json[FEATURE_JSON_MAX]);
