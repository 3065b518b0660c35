/* position: the opaque strings by which outsiders name a place in the journal or in the change feed.
 *
 * Inside: feed, epoch and sequence number, checked. The two feeds refuse each other's strings. */
#pragma once

#include "base/str.h"

enum position_feed {
	POSITION_JOURNAL = 1,
	POSITION_CHANGES = 2,
	POSITION_EVENTS = 3,
	/* Of records that destinations are handed, by stream. */
	POSITION_PROFILE_RECORDS = 4,
	POSITION_CHANGE_RECORDS = 5,
	POSITION_SNAPSHOT_RECORDS = 6,
	POSITION_NOTICES = 7
};
#define POSITION_TEXT_SIZE 40

struct position {
	uint64_t epoch, seq;
};

/* NUL-terminated; returns the length. URL-safe characters only. */
size_t position_format(enum position_feed feed, struct position position, char out[POSITION_TEXT_SIZE]);
/* ERR_INVALID: not a position; ERR_FOREIGN: of another feed, or `epoch` differs from the text's. */
MUST_USE int position_parse(enum position_feed feed, uint64_t epoch, struct str text, uint64_t *seq);
