/* event_view: values inside one event by path. A JSON part is parsed when somebody first asks for a value in it, so
 * an event nobody looks into costs no parse. One view serves one thread for many events. */
#pragma once

#include "event/event.h"

enum event_part {
	PART_NONE, /* no field */
	PART_PROPERTIES,
	PART_TRAITS,
	PART_CONTEXT,
	PART_ENRICHMENT,
	PART_EVENT,
	PART_NAME,
	PART_USER_ID,
	PART_ANONYMOUS_ID,
	PART_GROUP_ID,
	PART_COUNT
};
#define PART_JSON_COUNT (PART_ENRICHMENT + 1)

struct event_field {
	enum event_part part;
	struct str path; /* inside a JSON part: "campaign.name" */
};
/* "properties.total", "context.traits.email", "traits.email", "enrichment.campaign.source", "name", "event", "userId",
 * "anonymousId", "groupId"; empty is PART_NONE. ERR_INVALID. Borrows the text. */
MUST_USE int event_field_parse(struct str text, struct event_field *out);

struct event_view {
	const struct cdpd_event *event;
	struct view_part {
		struct json_reader *reader;
		struct buf text; /* a copy with the slack that the parser wants */
		bool is_parsed;
		int status; /* OK, or why there is no root */
		struct json root;
	} parts[PART_JSON_COUNT];
	struct buf number; /* JSON text of the value last asked for */
	struct buf key;    /* the same of a feature's key */
};

MUST_USE int event_view_init(struct event_view *view);
void event_view_fini(struct event_view *view);
void event_view_set(struct event_view *view, const struct cdpd_event *event);

/* The whole object of a JSON part. ERR_NOT_FOUND: absent, empty or not an object; ERR_NOMEM. */
MUST_USE int event_view_root(struct event_view *view, enum event_part part, struct json *out);
/* A value in a JSON part. ERR_NOT_FOUND, ERR_NOMEM. */
MUST_USE int event_view_get(struct event_view *view, const struct event_field *field, struct json *out);
/* A field that is text by itself (event, name, userId …); false: the field is a JSON part's. */
bool event_view_text(const struct event_view *view, enum event_part part, struct str *out);
