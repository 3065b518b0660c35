/* set_traits_many: traits of many persons in one request, whatever face asks: a model's scores. One request is one transaction; each person is
 * taken or refused alone. References to profiles ("id:…") are looked up on a pool thread first: the fold knows identifiers. */
#pragma once

#include "api/answer.h"
#include "api/set_traits.h"

struct set_traits_many {
	struct set_traits all;            /* what is said of all of them; ref, traits and message_id are not used */
	struct ingest_traits_item *items; /* in `arena`, references as sent */
	size_t count;
};
/* As set_traits_prepare; `out` keeps the body it has. */
MUST_USE enum problem set_traits_many_prepare(struct set_traits_many *what, struct arena *arena,
					      struct ingest_request *out, struct set_traits_refusal *refusal);
/* Must set_traits_many_lookup be asked before ingest_submit? */
bool set_traits_many_has_ids(const struct set_traits_many *what);
/* For answer_submit: `reply` may call set_traits_many_take. NULL: no memory. */
MUST_USE struct answer *set_traits_many_lookup(const struct set_traits_many *what, struct api_worker *worker,
					       void *asker, void (*reply)(struct answer *answer));
/* Puts what was found into the items; who was not found is refused alone. ERR_NOMEM. */
MUST_USE int set_traits_many_take(const struct answer *answer, struct set_traits_many *what, struct arena *arena);
