/* isolate: enrichers in a process of their own (`isolated: true`). For the daemon such an enricher is an asynchronous one like any other: a table made from what
 * the plugin said of itself in its process, with functions that speak frames to it. The .so is never loaded into the daemon.
 *
 * A process that dies, hangs, speaks nonsense or runs out of memory is ended and begun anew, with growing pauses. What it was asked is then
 * asked one by one, until it is known which question it dies of: that one is failed, all others are answered. */
#pragma once

#include "plugin/instance.h"

/* As plugin_load, but from a look into a process; the table has the functions of this file. */
MUST_USE int isolate_load(struct arena *arena, struct str folder, struct str name, const struct plugin **out,
			  struct str *error);
/* The plugin of an instance, in the way the instance wants it. */
MUST_USE int plugin_load_for(struct arena *arena, const struct config *config, const struct conf_instance *instance,
			     const struct plugin **out, struct str *error);
bool plugin_is_isolated(const struct plugin *plugin);
/* Its plugin is a synchronous enricher: questions come and go in batches. */
bool plugin_is_batched(const struct plugin *plugin);

/* Why the process of that instance ended last, for people; false: it never did, or there is none. Any thread. */
struct isolate_life {
	bool is_up;
	uint64_t starts, deaths;
	char last_death[120];  /* "" : none */
	int64_t last_death_us; /* wall clock */
};
bool isolate_life_of(struct str instance, struct isolate_life *out);
