/* transform: runs a mapping (core/config/mapping.h) over one record. */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "config/mapping.h"

#define TRANSFORM_BYTES_MAX ((size_t)1 << 20) /* of one result */

struct transform_result {
	struct str json; /* minified, in the arena */
	struct str why;  /* ERR_INVALID: "properties.total is required" */
};

/* Do all conditions hold (mapping_compile_conditions)? */
MUST_USE int transform_holds(const struct mapping *conditions, struct json record, struct arena *arena, bool *out);
/* `record`: what the destination is handed, with members `profile` and `change` where it has them. OK; ERR_NOT_FOUND: nothing is
 * left of it (the whole is absent); ERR_INVALID: something required is not there; ERR_TOO_LARGE; ERR_NOMEM. */
MUST_USE int transform_run(const struct mapping *mapping, struct json record, struct arena *arena,
			   struct transform_result *out);
