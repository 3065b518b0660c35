/* scan: walking over everybody in short read windows, and the lease by which a walk keeps the changes it will need from being trimmed.
 *
 * A walk is fuzzy: between two windows people change, join and part. Who is there all the time is met exactly once, whoever is met was there at that
 * window; the change feed from before the first window on tells the rest. */
#pragma once

#include "profile/people.h"

struct people_scan {
	struct fragment_id after; /* looked at up to here */
	bool has_after;
	bool is_done;
};
/* Looks at up to `max_rows` identifiers for the next one that heads a profile. Inside read_begin/end; *found: *out is it (as of people_get). Not
 * found: call again, unless is_done. */
MUST_USE int people_scan_next(struct people_reader *reader, struct people_scan *scan, size_t max_rows, unsigned parts,
			      int64_t now, struct arena *arena, struct profile *out, bool *found);
uint64_t people_read_last_change(const struct people_reader *reader); /* newest change of the window */

/* Changes after `seq` are kept beyond their retention, for PEOPLE_LEASE_US at most. -1: too many leases. Any thread. */
#define PEOPLE_LEASES   16
#define PEOPLE_LEASE_US (INT64_C(24) * 3600 * 1000000)
int people_lease_changes(struct people *people, uint64_t seq);
void people_end_lease(struct people *people, int lease);
/* The lowest seq that is leased; UINT64_MAX: none. */
uint64_t people_leased(const struct people *people);
