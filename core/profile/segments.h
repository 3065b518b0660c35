/* segments: who is in which segment, kept by the fold's thread as events, time and definitions change it.
 *
 * Membership belongs to a profile id. Within a transaction its truth is the slot's `struct membership`; at the commit it goes into
 * the row that shows the profile. Each entry and exit is a change of the feed at once, so nothing coalesces. */
#pragma once

#include "profile/room.h"
#include "profile/segment.h"
#include "profile/segment_plan.h"
#include "profile/segment_queue.h"
#include "profile/segment_tables.h"
#include "profile/segment_value.h"

enum segment_why { WHY_EVENT, WHY_TIME, WHY_IDENTITY, WHY_DEFINITION, WHY_COUNT };

struct membership {
	struct membership *next; /* of this transaction */
	struct slot *slot;
	uint64_t *keys; /* ordered */
	size_t count, room;
	int64_t due;   /* its entry in `due`; 0: none. Never later than the next change by time */
	bool is_stale; /* the profile was put together anew: everything must be evaluated */
};

/* Committed together with the rows. */
struct segment_state {
	bool is_held;                  /* the clock jumped: time stands still … */
	int64_t held_t;                /* … here */
	uint64_t scan_seq;             /* position of the definition whose re-evaluation runs; 0: none */
	struct fragment_id scan_after; /* rows up to here are done */
	bool has_scanned;
	uint64_t scan_count;
	int64_t next_due;    /* INT64_MAX: none. Derived */
	int64_t next_expiry; /* the same of expiries */
};

/* A segment's count while the transaction changes it. */
struct segment_count {
	uint64_t key, count;
	bool is_used;
	char name[SEGMENT_NAME_MAX];
	size_t name_len;
};
#define SEGMENT_COUNTS 4096 /* a power of two: those of two plans' segments, at most half of it used */

struct segments {
	struct segment_tables tables;
	struct segment_state committed, working;
	bool is_due_known;    /* working.next_due */
	bool is_expiry_known; /* working.next_expiry */
	bool is_scan_waiting; /* until the next transaction: rows of this one are not in the store yet */
	struct membership *loaded;
	struct segment_queue members, due;                 /* of this transaction */
	struct segment_count *counts;                      /* by key; SEGMENT_COUNTS */
	size_t counted[SEGMENT_COUNTS / 2], counted_count; /* those in use */
	struct value_scratch scratch;
	struct metric *entered, *exited, *fired, *expired, *scanned, *next_due, *percent;
	_Atomic uint64_t shown_scan_seq, shown_scan_count, shown_defined;
	_Atomic uint32_t shown_permille;
	_Atomic int64_t shown_due;
	_Atomic bool shown_held;
};

/* ── life; called by people.c ────────────────────────────────────────────── */

MUST_USE int segments_open(struct people *people); /* the tables exist */
MUST_USE int segment_state_write(struct store_txn *txn, store_db meta, const struct segment_state *state);
MUST_USE int segments_load(struct people *people, struct store_txn *txn);
void segments_close(struct people *people);
void segments_begin(struct people *people);
/* people->plan took over from `old` at `seq`. */
void segments_defined(struct people *people, const struct plan *old, uint64_t seq);
/* Values of many people changed at once, at `seq`: everybody who was there by then is looked at again in the background. */
void segments_rescan(struct people *people, uint64_t seq);
MUST_USE int segments_write(struct people *people); /* before cache_write */
size_t segments_pages(const struct people *people); /* that it would touch besides rows, about */
void segments_ended(struct people *people, bool is_committed);

/* ── changes of a profile ────────────────────────────────────────────────── */

struct segment_event {
	struct slot *head;
	struct row *view; /* that shows the profile */
	bool is_identity; /* fragments were made */
	bool took_trait;
	uint64_t seq;
	int64_t t;
};
MUST_USE int segments_event(struct people *people, const struct segment_event *event);
/* Whatever was done to the profile that this id heads, or headed: evaluates it whole; an id that heads nothing any more leaves its segments. */
MUST_USE int segments_profile_changed(struct people *people, struct slot *slot, uint64_t seq, int64_t t);
/* Inside an event: two profiles became the one headed by `head`. The old ids leave at once, `head` is evaluated with the event. */
MUST_USE int segments_joined(struct people *people, struct slot *head, struct slot *a, struct slot *b, uint64_t seq,
			     int64_t t);
