/* patched: an event with the answers of asynchronous enrichers laid over its enrichment: what readers show, what features that waited
 * for them count. Any thread. */
#pragma once

#include "event/resolution.h"
#include "journal/journal.h"

/* Replaces event->enrichment; `seqs`: positions of the answers, oldest first (people_resolutions_of, people_read_resolutions).
 * Texts live in the arena. An answer that the journal does not hold any more is passed over. */
MUST_USE int event_patch(struct journal *journal, struct arena *arena, const uint64_t *seqs, size_t count,
			 struct cdpd_event *event);
