/* records: what exporters ask of a record. Pure functions; whatever a record holds, nothing is read outside of it. */
#pragma once

#include "cdpd_plugin.h"

/* "events", "profiles" or "changes": what a destination's `records` calls its kind. NULL: a kind that this version does not know. */
const char *record_stream(const struct cdpd_record *record);

/* What the host itself writes, in the place where it counts; it names people by `profileIds`. No client can send these types. */
enum record_notice {
	NOTICE_NONE,
	NOTICE_ERASED,    /* forget these people */
	NOTICE_WITHDRAWN, /* they consent no more to `purpose` */
};
enum record_notice record_notice(const struct cdpd_record *record);

/* A profile of somebody who is no more. */
static inline bool record_is_gone(const struct cdpd_record *record)
{
	return record->kind == CDPD_RECORD_PROFILE && (record->flags & CDPD_RECORD_GONE) != 0;
}
/* Why: "merged", "split" or "erased", as the record says; empty: it does not. */
struct cdpd_str record_why_gone(const struct cdpd_record *record);

/* Is the text this word? */
bool record_is(struct cdpd_str text, const char *other);

/* The text of a top-level string member of a JSON object, still escaped; len 0: none, or no string. */
struct cdpd_str record_member(struct cdpd_str json, const char *name);

/* What a line of JSON lacks of its record, to stand in the place of its last brace: `,"position":"…","profileId":"…","deliveryId":"…"}`; profiles and changes
 * have a position of their own. The length; 0: the record is no object, or its ids are too long. */
#define RECORD_TAIL_MAX 512
size_t record_tail(const struct cdpd_record *record, char out[RECORD_TAIL_MAX]);
