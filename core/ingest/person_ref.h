/* person_ref: a person named by reference, "namespace:value", in a message that has no userId: the identifier is put where the configuration
 * reads the namespace's identifiers from, so that the fold finds it as it finds any other. */
#pragma once

#include "ingest/internal.h"

/* The namespace of a reference and its value (trimmed); NULL: malformed, or no namespace of the configuration. */
const struct conf_namespace *person_ref_read(const struct config *config, struct str ref, struct str *value);
/* Where the identifier goes: best beside the traits, for there it would become one itself. */
struct str person_ref_field(const struct conf_namespace *namespace_);
/* Names the person in a draft whose message named nobody. `message`: what was read. OK, or ERR_INVALID with the draft's fault. */
MUST_USE int person_ref_put(struct intake *in, struct draft *draft, struct str ref, struct json message);
/* Appends {"a":{"b":"value"}} for the path a.b, without the outer braces. */
MUST_USE int person_ref_write_path(struct buf *text, struct str path, struct str value);
