/* component: the fragments that are one person, and joining two of them into one. */
#pragma once

#include "profile/room.h"

struct component {
	struct slot *head;                /* of the strongest fragment: the profile's id */
	const struct row_member *members; /* strongest first */
	size_t count;
	struct row_member self; /* the member of a component of one */
};

/* The component of a fragment that exists. */
MUST_USE int component_of(struct people *people, struct slot *fragment, struct component *out);
/* Did the person exist before the record at `seq`? */
bool component_existed(const struct component *component, uint64_t seq);

/* The rows of a profile made anew from its fragments' rows (cold sections decoded), strongest first: what the merged row must be.
 * `joins`: from consent_joins (consent_fold.h) of the same fragments. */
MUST_USE int merged_row_make(const struct plan *plan, struct row *const *fragments, size_t count,
			     const struct joins *joins, struct arena *arena, struct row **out);

/* Makes one component of two: new merged row, profile pointers rewritten, identity changes appended. */
MUST_USE int component_join(struct people *people, const struct component *a, const struct component *b, uint64_t seq,
			    int64_t t);
/* CHANGE_PROFILE or CHANGE_IDENTIFIER with the members' identifiers. */
MUST_USE int component_announce(struct people *people, enum change_kind kind, const struct fragment_id *profile,
				const struct row_member *members, size_t count, uint64_t seq, int64_t t);
