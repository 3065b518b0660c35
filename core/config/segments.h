/* segments: segments from `segments:` and from `segments_file:`, put together and checked. */
#pragma once

#include "config/schema.h"

#define CONF_SEGMENTS_MAX 1000

/* After everything that conditions refer to (features, namespaces) is in the draft. */
void segments_check(struct reading *reading, const struct node *root, struct draft *draft);
