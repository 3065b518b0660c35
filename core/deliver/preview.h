/* preview: what a destination would be handed of one event or person, and if nothing, why not. Nothing is handed over. */
#pragma once

#include "deliver/deliver.h"

enum preview_verdict {
	PREVIEW_HANDED_OVER,
	PREVIEW_FILTERED,
	PREVIEW_DEAD_LETTER,
	PREVIEW_DENIED,     /* by consent */
	PREVIEW_NOT_APPLIED /* a duplicate, erased, refused or not folded yet: destinations never see it */
};
const char *preview_verdict_name(enum preview_verdict verdict);

struct preview {
	enum preview_verdict verdict;
	struct str why;        /* unless it is handed over */
	struct str json;       /* what it would be handed */
	struct str profile_id; /* maybe empty */
};
/* Of the applied event at `seq`. `conf` is one of `config`'s destinations; the reader is not open; all text in the arena. ERR_GONE: trimmed;
 * ERR_NOT_FOUND: there is no such position. */
MUST_USE int preview_position(struct deliver *deliver, const struct config *config, const struct conf_instance *conf,
			      struct people_reader *reader, uint64_t seq, struct arena *arena, struct preview *out);
/* Of an event that never was: `record` as events are listed, with the person that `ref` names (empty: nobody). ERR_INVALID: the reference. */
MUST_USE int preview_event(const struct conf_instance *conf, struct people_reader *reader, struct json_reader *json,
			   const struct cdpd_event *event, struct str record, struct str ref, struct arena *arena,
			   struct preview *out);
/* Of a person's profile. ERR_NOT_FOUND, ERR_INVALID: the reference. */
MUST_USE int preview_profile(struct deliver *deliver, const struct conf_instance *conf, struct people_reader *reader,
			     struct json_reader *json, struct str ref, struct arena *arena, struct preview *out);
