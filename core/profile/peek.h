/* peek: a person as the open transaction has them, before anything is committed. For whoever folds records of their own and reads between
 * two of them. The writer's thread, in a transaction; what is found is borrowed until the next record is applied. */
#pragma once

#include "profile/row.h"

struct peek {
	struct fragment_id profile;       /* as of now; the fragment itself when there is nobody yet */
	const struct row *view;           /* shows the profile; NULL: nobody */
	const struct row_member *members; /* of several fragments, when asked for; else none */
	size_t member_count;
};

MUST_USE int people_peek(struct people *people, const struct fragment_id *fragment, bool with_members,
			 struct peek *out);

/* JSON text of a feature's value of that person at the time `now`, in `json` (PEEK_JSON_MAX bytes): what a read would say. "null" when the
 * definitions have no such feature. The length. */
#define PEEK_JSON_MAX 65536
size_t people_peek_value(const struct people *people, const struct peek *peek, struct str feature, int64_t now,
			 char *json);
