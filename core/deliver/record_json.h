/* record_json: the JSON of records that are no events (docs/destinations.md). Each appends one object. */
#pragma once

#include "profile/change.h"
#include "profile/people.h"

/* A person as she is; read with SELECTION_PERSON_PARTS. `change_seq`: changes up to it are in her. */
MUST_USE int record_write_profile(struct buf *out, const struct profile *profile, uint64_t epoch, uint64_t change_seq);
/* There is no such person any more. `why`: "merged", "split", "erased"; `into`: NULL unless merged. */
MUST_USE int record_write_gone(struct buf *out, const struct fragment_id *id, const char *why,
			       const struct fragment_id *into, uint64_t epoch, uint64_t change_seq);
/* `body`: what is shown of it. */
MUST_USE int record_write_change(struct buf *out, const struct change *change, struct str body, uint64_t epoch);
/* Notices. `receipt`: hex; `ids`: by which whoever kept the person knows her. */
MUST_USE int record_write_erased(struct buf *out, struct str receipt, bool is_whole, const struct fragment_id *ids,
				 size_t count, int64_t t);
MUST_USE int record_write_withdrawn(struct buf *out, struct str purpose, enum consent_state state,
				    const struct fragment_id *ids, size_t count, int64_t t);
