/* erase: asking for an erasure, whatever face asks, on a pool thread: it waits for two small fsyncs. */
#pragma once

#include "api/internal.h"

#define ERASE_REASON_MAX 300

/* What a status of privacy_erase, privacy_preview or privacy_get means; PROBLEM_INTERNAL: our own trouble. *message: static. */
enum problem erase_problem(int status, struct str *message);
/* "namespace:value" of each identifier that would go, in the arena. */
MUST_USE int erase_preview_identifiers(const struct erasure_preview *preview, bool is_whole, struct arena *arena,
				       struct str **identifiers, size_t *count);
