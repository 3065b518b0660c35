/* event: the canonical event, between the dialect that read it and the record that keeps it.
 *
 * All text is borrowed from the batch's arena (or, after event_decode, from the arena given). The event
 * stays as it was sent: enrichers write only into `enrichment`. */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "config/config.h"

enum event_type { /* numbers are on the wire (proto/cdpd/v1/event.proto) */
		  EVENT_TRACK = 1,
		  EVENT_IDENTIFY,
		  EVENT_PAGE,
		  EVENT_SCREEN,
		  EVENT_GROUP,
		  EVENT_ALIAS
};
const char *event_type_name(enum event_type type);
bool event_type_from_name(struct str name, enum event_type *out);

enum event_flag {
	EVENT_TIME_CLAMPED = 1 << 0, /* event time was later than received + 5 min; now = received */
	EVENT_TIME_MISSING = 1 << 1, /* the client gave none; event time = received */
	EVENT_ID_GENERATED = 1 << 2, /* the client gave no messageId: not idempotent */
	EVENT_INACTIVE = 1 << 3,     /* context.active = false: does not touch last seen */
	EVENT_DECLARED = 1 << 4,     /* traits are declared (zero-party); set by route and source, never by payload */
	EVENT_SKEW_CORRECTED = 1 << 5,
	EVENT_CONSENT = 1 << 6,    /* what a person consents to (docs/consent.md); set by route, never by payload */
	EVENT_UNENRICHED = 1 << 8, /* the request itself said that nobody may enrich it */
};

#define EVENT_ID_MAX         100 /* bytes of a messageId */
#define EVENT_IDENTIFIER_MAX 255 /* bytes of one identifier value */
#define EVENT_NAME_MAX       200 /* bytes of an event name */
#define UTC_OFFSET_UNKNOWN   INT16_MAX

struct cdpd_event {
	struct str source_id;
	enum source_kind source_kind;
	uint32_t rights; /* enum source_right at ingest */
	struct str message_id;
	uint64_t canonical_hash;
	enum event_type type;
	struct str event, name, category; /* event: tracks only */
	struct str user_id, anonymous_id, previous_id, group_id;
	int64_t event_time_us, client_time_us, sent_at_us, received_at_us, correction_us;
	int16_t utc_offset_min;
	uint32_t flags;
	struct str properties, traits, context, extra; /* JSON objects as text, or empty */
	struct str enrichment;                         /* JSON object as text, or empty */
	struct str violations;                         /* JSON array of {code, pointer, message}, or empty */
	struct str ip, user_agent;
	struct str country; /* the source's default_country at ingest, or empty */
	struct str *awaits;
	size_t await_count;
};

/* Packs as cdpd.v1.StoredEvent into the arena. */
MUST_USE int event_encode(const struct cdpd_event *event, struct arena *arena, struct str *payload);
/* Text borrows the arena, not `payload`. ERR_CORRUPT; ERR_NOMEM at the arena's cap. */
MUST_USE int event_decode(struct str payload, struct arena *arena, struct cdpd_event *out);

/* The event as outsiders see it (`…/events`, tail, exporters): one JSON object with type, messageId, event, …,
 * properties, traits, context, enrichment, timestamp, originalTimestamp, sentAt, receivedAt, sourceId. Members that follow are
 * the caller's: the object is left open when `leave_open`. */
MUST_USE int event_write_json(struct buf *out, const struct cdpd_event *event, bool leave_open);
