/* resolution: the answer of one asynchronous enricher for one event, as the journal keeps it (a record of kind resolution), and how it
 * is laid over the event. The event itself stays as it was written. */
#pragma once

#include "event/event.h"

struct resolution {
	uint64_t event_seq;
	struct str enricher; /* the instance's name */
	bool is_given_up;    /* nobody will answer: the event goes on without */
	struct str patch;    /* JSON object merged into the event's enrichment; empty: nothing */
	struct str reason;   /* why it was given up */
};
/* Packs as cdpd.v1.StoredResolution into the arena. */
MUST_USE int resolution_encode(const struct resolution *resolution, struct arena *arena, struct str *payload);
/* Text borrows the arena. ERR_CORRUPT; ERR_NOMEM. */
MUST_USE int resolution_decode(struct str payload, struct arena *arena, struct resolution *out);

/* Objects are merged member by member; of other values `patch` wins. Both are JSON objects or empty; what is none counts as empty. The
 * result lives in the arena. */
MUST_USE int enrichment_merge(struct str enrichment, struct str patch, struct arena *arena, struct str *out);
