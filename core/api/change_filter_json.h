/* change_filter_json: a filter as JSON, as subscriptions are put, kept and shown:
 * {"kinds":["trait"],"traits":["plan"],"features":[],"segments":[]}, all of it optional. */
#pragma once

#include "profile/change_filter.h"

/* Copies into the arena; members it does not know are left alone. PROBLEM-like: ERR_INVALID with *pointer (static) at what is wrong and *why;
 * ERR_NOMEM. */
MUST_USE int change_filter_read(struct json object, struct arena *arena, struct change_filter *out, struct str *pointer,
				struct str *why);
/* The four members, inside an object. Empty lists are left out when `is_short`. */
void change_filter_write(struct json_out *out, const struct change_filter *filter, bool is_short);
/* As it is kept, a copy in the arena. ERR_TOO_LARGE past `max` bytes; ERR_NOMEM. */
MUST_USE int change_filter_text(const struct change_filter *filter, size_t max, struct arena *arena, struct str *out);
/* From a stored text. ERR_CORRUPT, ERR_NOMEM. */
MUST_USE int change_filter_restore(struct json_reader *json, struct str text, struct arena *arena,
				   struct change_filter *out);
