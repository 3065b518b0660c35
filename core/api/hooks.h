/* hooks: /v1/hooks/{source}: requests of foreign shapes. The source's plugin makes events of one on a thread of its own (plugin/source.h), ingest
 * takes them, and when they are durable the client is answered what the plugin said. */
#pragma once

#include "api/internal.h"

/* When the worker's loop no longer runs: nobody is answered any more. */
void hooks_settle(struct api_worker *worker);
