/* stream_persons: a record of one person as she is now, or that there is none of that id any more: for profiles and snapshots. */
#pragma once

#include "deliver/stream_feed.h"

struct person_place {
	const struct stream *stream;
	uint64_t position; /* in it */
	struct fragment_id id;
	uint64_t change_seq, cause_seq; /* known of her: changes up to it; of one that is gone what says so */
	bool is_split;                  /* her id is others' because she was split */
	int64_t t;
};
/* Adds it to the window. */
MUST_USE int person_add(struct stream_reader *reader, struct stream_window *window, const struct person_place *place);
