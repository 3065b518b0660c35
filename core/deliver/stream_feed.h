/* stream_feed: what the streams over the change feed share. A change may be told in two parts: first what goes with it (somebody joined into
 * another, a notice), then itself or whom it is about: so their positions are twice the change's, plus the part. */
#pragma once

#include "deliver/stream.h"

#define FEED_PARTS 2
enum feed_part { FEED_BEFORE, FEED_ITSELF };

static inline uint64_t feed_position(uint64_t seq, enum feed_part part)
{
	return seq * FEED_PARTS + part;
}
static inline uint64_t feed_seq(uint64_t position)
{
	return position / FEED_PARTS;
}

/* Of struct stream. */
uint64_t feed_first(const struct deliver_shared *shared);
uint64_t feed_end(const struct deliver_shared *shared);
MUST_USE int feed_time(const struct deliver_shared *shared, uint64_t position, struct arena *arena, int64_t *t);

/* Changes from the one at `from` on, in the window's arena; as people_changes. */
MUST_USE int feed_read(struct stream_reader *reader, uint64_t from, size_t max, struct stream_window *window,
		       struct change **changes, size_t *count);
/* All of them were looked at: window->next is behind the last. */
void feed_looked(struct stream_window *window, const struct change *changes, size_t count);

/* Begins the window's next record. It counts when feed_add was called, with its JSON in reader->json. */
MUST_USE int feed_record(struct stream_reader *reader, struct stream_window *window, const struct stream *stream,
			 uint64_t position, const struct change *change, struct stream_record **out);
MUST_USE int feed_add(struct stream_reader *reader, struct stream_window *window, struct stream_record *record);

/* Adds what destinations must be told because of the change: somebody was erased, or does not allow any longer what she had allowed.
 * OK too when that is nothing. */
MUST_USE int feed_tell(struct stream_reader *reader, struct stream_window *window, const struct stream *stream,
		       const struct change *change);
bool feed_may_tell(const struct change *change);

#define FEED_IDS_MAX 1000
struct feed_lost { /* consent that was there */
	struct str purpose;
	enum consent_state state;
	struct fragment_id ids[FEED_IDS_MAX];
	size_t count;
};
/* Every id by which a destination may have been handed something of the person of `change`; in the reader's scratch. Inside
 * people_read_begin/end. */
MUST_USE int feed_list_ids(struct stream_reader *reader, const struct change *change, struct feed_lost *lost);
MUST_USE int feed_add_withdrawn(struct stream_reader *reader, struct stream_window *window, const struct stream *stream,
				uint64_t position, const struct change *change, const struct feed_lost *lost);

/* An id in the body, {"from":"<id>"}. False: there is none. */
MUST_USE int feed_body_id(struct stream_reader *reader, const struct change *change, struct str member,
			  struct fragment_id *out, bool *found);
