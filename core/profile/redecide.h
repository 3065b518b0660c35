/* redecide: deciding again every link attempt that an unmerge may concern, in the order of their positions and with the
 * cannot-link in force from the beginning. What comes out equals folding the same records with it in force from the start.
 *
 * The attempts are those of the closure: everything reachable from the two identifiers through attempts, linked and refused. It
 * works on rows of the fold's transaction and on those of a reader's snapshot alike (a dry run), and changes nothing.
 *
 * Every attempt is decided by the identity rules of its own time (rules are never retroactive). */
#pragma once

#include "profile/component.h"
#include "profile/link_row.h"

struct redecide_source {
	struct store_txn *txn;
	store_db links, meta;
	const struct plan *plan; /* active */
	struct arena *arena;
	/* A fragment's row, hot section decoded. */
	int (*row)(void *ctx, const struct fragment_id *id, struct row **out);
	void *ctx;
};

struct person { /* a component as it will be */
	struct component now;
	size_t *fragments; /* indexes of its members */
	bool is_changed;   /* other members than any profile has at present */

	/* of the fold's making it */
	struct component_made made;
	bool is_told;
};

struct redecided_fragment {
	struct row_member member;
	struct fragment_id was; /* profile at present */
	struct person *person;
};

struct redecided_attempt {
	struct link link; /* as it stands, of its initiator */
	size_t a, b;      /* fragments: initiator, other */
	enum link_reason now;
	bool was_one;
};

struct redecided {
	struct redecided_fragment *fragments;
	size_t fragment_count;
	struct redecided_attempt *attempts; /* in order */
	size_t attempt_count;
};

/* With a cannot-link between fragments `a` and `b`, made at position `seq`. ERR_TOO_LARGE: past PEOPLE_UNMERGE_FRAGMENTS_MAX or
 * PEOPLE_UNMERGE_ATTEMPTS_MAX. ERR_CORRUPT, ERR_NOMEM. */
MUST_USE int redecide(const struct redecide_source *source, const struct fragment_id *a, const struct fragment_id *b,
		      uint64_t seq, struct redecided *out);
