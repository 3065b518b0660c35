/* tracking_plan: which events are expected, what their properties or traits must look like, and what happens to those that do not. Part of the
 * config: read, compiled and checked with it, immutable, swapped with it. */
#pragma once

#include "base/metric.h"
#include "config/index.h"
#include "config/json_schema.h"
#include "config/read.h"

enum plan_mode {
	PLAN_ACCEPT, /* counted only: a dry run */
	PLAN_FLAG,   /* taken, with the violations on the event */
	PLAN_REJECT
};
const char *plan_mode_name(enum plan_mode mode);

/* The types that an entry can name, in the order of event/event.h's enum event_type less one. */
enum plan_type { PLAN_TRACK, PLAN_IDENTIFY, PLAN_PAGE, PLAN_SCREEN, PLAN_GROUP, PLAN_TYPES };

struct plan_entry {
	struct str event; /* the name of a track; empty: every event of the type that no other entry names */
	enum plan_type type;
	enum plan_mode mode;
	const struct node *node;          /* the schema as written, or NULL */
	const struct json_schema *schema; /* NULL: the event is expected, whatever it holds */
	struct metric *violations;
	int line;
};

struct tracking_plan {
	enum plan_mode unplanned; /* of events that no entry names */
	struct plan_entry *entries;
	size_t entry_count;
	struct index by_event;                        /* struct plan_entry */
	const struct plan_entry *by_type[PLAN_TYPES]; /* NULL: none */
	struct metric *unplanned_events;
};

/* `node`: the map at `tracking_plan`, which holds the plan or names its file (relative to the configuration's). *out stays NULL when something is
 * complained of. */
void tracking_plan_load(struct reading *reading, const struct node *node, const struct tracking_plan **out);
/* The entry that speaks of such an event, or NULL. `event` is empty for all but tracks. */
const struct plan_entry *tracking_plan_find(const struct tracking_plan *plan, enum plan_type type, struct str event);
