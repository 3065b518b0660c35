/* enrich: the chain of sync enrichers, one instance of each per io thread, sorted by requires and provides. */
#pragma once

#include "event/event.h"

struct enrich_chain;

/* Creates every sync enricher of the config. ERR_INVALID with the cause logged (a cycle, a missing input, create failed). */
MUST_USE int enrich_chain_new(const struct config *config, struct enrich_chain **out);
/* Do both configs have the same sync enrichers? A chain is made once, at the start. Plugins are loaded. */
bool enrich_chain_is_same(const struct config *a, const struct config *b);
void enrich_chain_free(struct enrich_chain *chain);

struct enrich_outcome {
	bool is_dropped;
	struct str enricher, reason; /* when dropped */
};
/* Runs the chain on one event. `root` is the parsed message as the worker holds it (properties, traits, context … as members; it
 * must say the same as the event's own texts); NULL when there is no such document: the event's texts are parsed when an
 * enricher first asks. What enrichers set becomes event->enrichment in the arena: one JSON object, {"campaign":{…}}, or empty. Never
 * fails: an enricher that errs is counted and passed over, what it had set is taken back. */
void enrich_chain_run(struct enrich_chain *chain, struct cdpd_event *event, const struct json *root,
		      struct arena *arena, struct enrich_outcome *out);
