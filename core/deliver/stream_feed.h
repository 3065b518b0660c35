/* stream_feed: what the streams over the change feed share. A change may be told in several parts: first what goes with it (notices, one for each
 * id that was erased, so that each keeps its place among that person's records; somebody joined into another), then itself or whom it is about: so their
 * positions are the change's and the part. */
#pragma once

#include "deliver/stream.h"
#include "profile/erase.h"

#define FEED_PARTS   UINT64_C(1024)
#define FEED_NOTICES 1000 /* at most, of one change: the first parts */
enum feed_part { FEED_FIRST = 0, FEED_BEFORE = 1022, FEED_ITSELF = 1023 };
_Static_assert(FEED_NOTICES <= WINDOW_RECORDS_MAX, "all notices of a change must fit into one window");

static inline uint64_t feed_position(uint64_t seq, unsigned part)
{
	return seq * FEED_PARTS + part;
}
static inline uint64_t feed_seq(uint64_t position)
{
	return position / FEED_PARTS;
}
static inline unsigned feed_part(uint64_t position)
{
	return (unsigned)(position % FEED_PARTS);
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

/* Adds what destinations must be told because of the change, at positions of [from, to]: somebody was erased, or does not allow any longer what she had
 * allowed. OK too when that is nothing; ERR_AGAIN: the window has no room for all of it, nothing was added. */
MUST_USE int feed_tell(struct stream_reader *reader, struct stream_window *window, const struct stream *stream,
		       const struct change *change, uint64_t from, uint64_t to);
bool feed_may_tell(const struct change *change);
struct feed_erased {
	uint8_t receipt[RECEIPT_SIZE];
	bool is_whole;
};
/* The notice of one id, at the time of `change`. */
MUST_USE int feed_add_erased(struct stream_reader *reader, struct stream_window *window, const struct stream *stream,
			     uint64_t position, const struct change *change, const struct feed_erased *erased,
			     const struct fragment_id *id);

struct feed_lost { /* consent that was there */
	struct str purpose;
	enum consent_state state;
	struct fragment_id ids[FEED_NOTICES];
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
