/* stream: an ordered source of records with positions of its own. A destination reads one or several, each with its own durable cursor; a
 * record is known by its stream and its position in it: in cursors, dead letters and whatever else is kept of it. Order per person is
 * promised within a stream, not across.
 *
 * A stream knows no destination: it gives every record that there is, rendered once for whoever wants it. Consent, `segments`, `where`
 * and `mapping` are the destination's (choose.c). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/json.h"
#include "deliver/shared.h"
#include "event/event.h"
#include "event/position.h"

#define WINDOW_RECORDS_MAX 1000
#define WINDOW_BYTES_MAX   ((size_t)1 << 20)

/* A notice that several streams tell: a destination is told by one of them (choose.c). NONE: it is the stream's own affair. */
enum stream_notice { NOTICE_NONE, NOTICE_ERASED, NOTICE_WITHDRAWN };

struct stream_record { /* all text in the window's arena */
	enum stream_id stream;
	uint64_t position; /* in its stream */
	uint64_t seq; /* of the journal's record that caused it: who was erased after it gets nothing of it any more */
	uint8_t fragment[16]; /* whose it is: the person is looked up when it is handed over */
	bool is_notice; /* somebody is gone: consent, `events`, `segments`, `where` and `mapping` do not hold it back */
	enum stream_notice notice;
	uint32_t kind, flags;        /* enum cdpd_record_kind, cdpd_record_flag */
	struct str purpose;          /* of a withdrawal; else empty */
	struct str other_id;         /* of somebody gone; maybe empty */
	const struct change *change; /* of change records; else NULL */
	struct str type, name;       /* what `events` chooses by: a type ("page"), and a name, empty when it has none */
	struct str json, message_id;
	struct str place;      /* the position as outsiders see it; also its delivery id */
	struct str profile_id; /* of notices, which nobody can be looked up for, and of profiles; of others empty */
	int64_t time_us;
};

/* Whose the records of a window are, in one snapshot of the profiles. Shared, never changed. */
struct window_people {
	_Atomic unsigned refs;
	uint64_t applied;            /* the snapshot */
	struct fragment_id *persons; /* of zeros: nobody */
	bool *is_withheld;           /* erased since: never handed over */
};
struct window_people *window_people_ref(struct window_people *people);
void window_people_unref(struct window_people *people); /* NULL is fine */

/* What was looked at: everything in [from, next), of which `records` is what there is to hand over, ascending. */
struct stream_window {
	_Atomic unsigned refs; /* shared, and never changed once it is filled */
	struct arena arena;
	uint64_t from, next;
	struct stream_record *records; /* room for WINDOW_RECORDS_MAX */
	size_t count, bytes;
	pthread_mutex_t lock;
	struct window_people *people; /* newest that was asked for, under the lock; NULL: none yet */
};
MUST_USE int window_new(uint64_t from, struct stream_window **out); /* empty, with one reference */
struct stream_window *window_ref(struct stream_window *window);
void window_unref(struct stream_window *window); /* any thread; NULL is fine */
/* Whose they are in the snapshot that the reader has open, which stands at `applied`; with a reference for the caller. Looked up once for all who
 * ask, as long as nobody becomes another person. */
MUST_USE int window_look(struct stream_window *window, struct people *people, struct people_reader *reader,
			 uint64_t applied, struct arena *scratch, struct window_people **out);

/* A thread's means to read streams. */
struct stream_reader {
	struct deliver_shared *shared;
	struct people_reader *people; /* borrowed; not open between calls */
	struct arena scratch;
	struct buf json, text;
	struct json_reader *parser; /* NULL: nothing had to be parsed yet */
	struct journal_batch journal;
};
void stream_reader_init(struct stream_reader *reader, struct deliver_shared *shared, struct people_reader *people);
void stream_reader_fini(struct stream_reader *reader);

struct stream {
	enum stream_id id;
	const char *name; /* in the configuration (`records`), in listings */
	enum position_feed feed;
	bool is_private; /* what it says is as it was when somebody began to ask: windows of it are nobody else's */
	/* Any thread. The oldest position that is retained, where a new destination begins, and the one behind the newest that may be
	 * handed over. */
	uint64_t (*first)(const struct deliver_shared *shared);
	uint64_t (*end)(const struct deliver_shared *shared);
	/* When the record at `position` came to be, µs of the journal's time. Any thread; the arena is for its own use. ERR_NOT_FOUND, ERR_GONE. */
	int (*time)(const struct deliver_shared *shared, uint64_t position, struct arena *arena, int64_t *t);
	/* Fills the empty window from `from` on, to its bounds. window->next == from: there is nothing yet. ERR_GONE: `from` is behind
	 * retention. */
	int (*gather)(struct stream_reader *reader, uint64_t from, struct stream_window *window);
	/* The same with these positions, ascending: what is not there any more is not in the window. Those from window->next on did not fit
	 * and were not looked at. */
	int (*find)(struct stream_reader *reader, const uint64_t *positions, size_t count,
		    struct stream_window *window);
};
extern const struct stream stream_events, stream_profiles, stream_changes, stream_snapshot, stream_notices;

const struct stream *stream_get(enum stream_id id); /* NULL: there is none */
/* A position as outsiders see it, and back. ERR_INVALID, ERR_FOREIGN as position_parse. */
/* The first position that is not older than `t`. */
MUST_USE int stream_position_at(const struct stream *stream, const struct deliver_shared *shared, int64_t t,
				uint64_t *position);
size_t stream_place_format(const struct stream *stream, uint64_t epoch, uint64_t position,
			   char out[POSITION_TEXT_SIZE]);
MUST_USE int stream_place_parse(uint64_t epoch, struct str text, const struct stream **stream, uint64_t *position);
