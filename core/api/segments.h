/* segments: what /v1/segments and /v1/admin/status both say. */
#pragma once

#include "api/internal.h"

/* Members only: defined, nextDueAt, held, evaluating. */
void segments_write_progress(struct json_out *out, const struct api *api);
