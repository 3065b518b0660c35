/* component: the fragments that are one person, and joining two of them into one. */
#pragma once

#include "profile/room.h"

struct component {
	struct slot *head;                /* of the strongest fragment: the profile's id */
	const struct row_member *members; /* strongest first */
	size_t count;
	bool has_cuts;          /* some member was unmerged from somebody */
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

/* Sorts: strongest first by the plan's namespaces, then the earlier created, then by text. ERR_NOMEM. */
MUST_USE int members_rank(const struct plan *plan, struct row_member *members, size_t count, struct arena *arena);

struct component_made {
	struct slot *head;        /* who they are from now on */
	const struct row *before; /* that showed the profile of this id so far; NULL: there was none */
};
/* Makes one component of fragments that exist (sorted here): profile pointers, the merged row when they are several. Merged rows that no longer show anybody are the caller's to drop (component_drop). */
MUST_USE int component_make(struct people *people, struct row_member *members, size_t count, uint64_t seq, int64_t t,
			    struct component_made *out);
/* What the making changed of what the person allows. After merged and split were told. */
MUST_USE int component_tell_consents(struct people *people, const struct component_made *made, uint64_t seq, int64_t t);
/* Deletes the merged row of a head that is no head of several any more. */
MUST_USE int component_drop(struct people *people, const struct fragment_id *head);
/* The profile of `head` has other members than before. Called once for each such head of a join or a split, when its rows are
 * whole: whoever derives something from the members of a profile looks at them from here. */
MUST_USE int component_changed(struct people *people, struct slot *head, uint64_t seq, int64_t t);

/* Makes one component of two: new merged row, profile pointers rewritten, identity changes appended. */
MUST_USE int component_join(struct people *people, const struct component *a, const struct component *b, uint64_t seq,
			    int64_t t);
/* merged{from,into}; nothing when they are the same. */
MUST_USE int component_tell_merged(struct people *people, const struct fragment_id *from,
				   const struct fragment_id *into, uint64_t seq, int64_t t);
/* The feed says that there is no such profile any more. */
MUST_USE int component_forget(struct people *people, const struct fragment_id *profile);
/* split{from,into[]} */
MUST_USE int component_tell_split(struct people *people, const struct fragment_id *from, const struct fragment_id *into,
				  size_t into_count, uint64_t seq, int64_t t);
/* CHANGE_PROFILE or CHANGE_IDENTIFIER with the members' identifiers. */
MUST_USE int component_announce(struct people *people, enum change_kind kind, const struct fragment_id *profile,
				const struct row_member *members, size_t count, uint64_t seq, int64_t t);
