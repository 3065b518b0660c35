/* change_filter: which changes a subscriber of /v1/changes asked for. kind= says which kinds; trait=, feature= and segment= say
 * which names, and leave out every change that has no such name. Empty: all. */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "profile/change.h"

#define CHANGE_FILTER_NAMES_MAX 100

struct name_list {
	struct str *names;
	size_t count;
};

struct change_filter {
	unsigned kinds; /* bits 1 << enum change_kind; 0: all */
	struct name_list traits, features, segments;
};

/* Comma lists, copied into the arena. ERR_INVALID with *word the unknown kind; ERR_TOO_LARGE: more than CHANGE_FILTER_NAMES_MAX names. */
MUST_USE int change_filter_parse(struct change_filter *filter, struct str kinds, struct str traits, struct str features,
				 struct str segments, struct arena *arena, struct str *word);
/* Does it pass? *body is then what to show of it: of traits and features only those asked for. Looks into the body only when names
 * were given; `json`, `text` and `arena` are scratch, *body lives as long as the change or the arena. ERR_NOMEM, ERR_TOO_LARGE: not
 * known, so the change must not be passed over. A body that cannot be read does not pass. */
MUST_USE int change_filter_look(const struct change_filter *filter, const struct change *change,
				struct json_reader *json, struct buf *text, struct arena *arena, bool *passes,
				struct str *body);
