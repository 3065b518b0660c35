/* person_ref: a person named by reference, "namespace:value", in a message that has no userId: the identifier is put where the configuration
 * reads the namespace's identifiers from, so that the fold finds it as it finds any other. */
#pragma once

#include "ingest/internal.h"

/* The namespace of a reference and its value (trimmed); NULL: malformed, or no namespace of the configuration. */
const struct conf_namespace *person_ref_read(const struct config *config, struct str ref, struct str *value);
/* Appends {"a":{"b":"value"}} for the path a.b, without the outer braces. */
MUST_USE int person_ref_write_path(struct buf *text, struct str path, struct str value);
