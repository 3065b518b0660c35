/* async_def: the asynchronous enrichers as a part of the definitions: which events they are asked about and what they provide. The fold
 * decides by them which events wait, so they come with a record of the journal; a replay needs no plugin. */
#pragma once

#include "base/json.h"
#include "cdpd_plugin.h" /* the SDK header: struct cdpd_plugin */
#include "config/config.h"

#define ASYNC_ENRICHERS_MAX 32

struct async_def {
	struct str name;    /* of the instance */
	struct str *events; /* sorted: names of tracks, or types such as "page"; none: all */
	size_t event_count;
	struct str *needs; /* asked only about events that have one of these; none: about all */
	size_t need_count;
	struct str *provides; /* "enrichment.…" */
	size_t provide_count;
};

/* Plugins whose enrichers are asynchronous, by name; before the fold starts, one thread. ERR_EXISTS: known already. */
MUST_USE int async_plugin_register(struct str plugin, bool is_isolated, const struct cdpd_plugin *table);
/* NULL: none of them. The same plugin may be asynchronous only where it is isolated. */
const struct cdpd_plugin *async_plugin_find(struct str plugin, bool is_isolated);

/* The member "enrichers" of the definitions' object; nothing when the config has no asynchronous enrichers. ERR_NOMEM. */
MUST_USE int async_defs_write(struct json_out *out, const struct config *config);
/* From the definitions' object; no member is no enricher. Everything is copied into the arena. ERR_INVALID, ERR_NOMEM. */
MUST_USE int async_defs_parse(struct json root, struct arena *arena, struct async_def **out, size_t *count);
