/* suppress: later events of a person are recorded but not applied and never handed on, until the suppression is lifted. */
#pragma once

#include "profile/people.h"

struct people_suppression {
	struct fragment_id owner; /* of the identifier that was named; need not be known */
	bool is_lifted;
	struct str namespace_, actor, reason;
};
/* Takes in who is one person with the named identifier now: events that would go into one of their fragments, and all that carry the
 * named identifier itself, are suppressed. Doing it again changes nothing but adds newer members. The fold's thread. */
MUST_USE int people_suppress(struct people *people, const struct people_suppression *act, uint64_t seq, int64_t t);

struct suppression_row {
	struct fragment_id owner;
	uint64_t seq;
	int64_t t;
	size_t member_count;
	struct str namespace_, actor, reason;
};
/* Inside people_read_begin/end, copied into the arena. ERR_NOT_FOUND. `ref`: "namespace:value", known or not, or "id:…". */
MUST_USE int people_suppression(struct people_reader *reader, const struct fragment_id *owner, struct arena *arena,
				struct suppression_row *out);
/* In the order of their ids, after `after` (NULL: from the first). */
MUST_USE int people_suppressions(struct people_reader *reader, const struct fragment_id *after, size_t max,
				 struct arena *arena, struct suppression_row **rows, size_t *count);
/* The id and namespace of a reference, whether or not it is known. ERR_INVALID; ERR_NOT_FOUND: an unknown "id:…". */
MUST_USE int people_ref(struct people_reader *reader, struct str ref, struct arena *arena, struct fragment_id *id,
			struct str *namespace_);
