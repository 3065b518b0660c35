#include "api/erase.h"

#include "api/ref.h"

enum problem erase_problem(int status, struct str *message)
{
	*message = STR_NONE;
	switch (status) {
	case ERR_FULL: *message = STR("there is no room to record the erasure"); return PROBLEM_NOT_DURABLE;
	case ERR_BUSY: return PROBLEM_OVERLOADED;
	case ERR_CLOSED: return PROBLEM_SHUTTING_DOWN;
	case ERR_PANIC: return PROBLEM_NOT_DURABLE;
	default: return ref_problem(status, message);
	}
}

static bool would_go(const struct erasure_preview *preview, bool is_whole, const struct profile_identifier *identifier)
{
	return is_whole ||
	       memcmp(&identifier->fragment, &preview->profile.requested_id, sizeof identifier->fragment) == 0;
}

int erase_preview_identifiers(const struct erasure_preview *preview, bool is_whole, struct arena *arena,
			      struct str **identifiers, size_t *count)
{
	const struct profile *profile = &preview->profile;
	*count = 0;
	*identifiers = arena_array(arena, struct str, profile->identifier_count + 1);
	if (!*identifiers) return ERR_NOMEM;
	for (size_t i = 0; i < profile->identifier_count; i++) {
		const struct profile_identifier *it = &profile->identifiers[i];
		if (!would_go(preview, is_whole, it)) continue;
		int rc = arena_printf(arena, &(*identifiers)[(*count)++], "%.*s:%.*s", STR_ARG(it->namespace_),
				      STR_ARG(it->value));
		if (rc) return rc;
	}
	return OK;
}
