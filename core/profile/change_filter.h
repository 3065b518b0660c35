/* change_filter: which changes a subscriber asked for. Kinds say which kinds; names of traits, features and segments leave out every
 * change of those three kinds that has no such name, and where no kinds were given every other kind too. Empty: all. */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "profile/change.h"

#define CHANGE_FILTER_NAMES_MAX 100
#define CHANGE_FILTER_NAME_MAX  255 /* bytes of one name */

struct name_list {
	struct str *names;
	size_t count;
};

struct change_filter {
	unsigned kinds; /* bits 1 << enum change_kind, as asked for; 0: all */
	struct name_list traits, features, segments;
	unsigned wants; /* kinds that may pass: change_filter_settle */
};

/* Comma lists, copied into the arena, and settled. ERR_INVALID with *word the unknown kind; ERR_TOO_LARGE: more than CHANGE_FILTER_NAMES_MAX names. */
MUST_USE int change_filter_parse(struct change_filter *filter, struct str kinds, struct str traits, struct str features,
				 struct str segments, struct arena *arena, struct str *word);
/* After the lists were filled in by hand. */
void change_filter_settle(struct change_filter *filter);
bool change_filter_eq(const struct change_filter *a, const struct change_filter *b);
static inline bool change_filter_wants(const struct change_filter *filter, enum change_kind kind)
{
	return filter->wants & 1u << kind;
}

/* One change that several filters look at: its body is parsed when the first one needs that. `json`, `text` and `arena` are scratch. */
struct change_look {
	const struct change *change;
	struct json_reader *json;
	struct buf *text;
	struct arena *arena;
	bool is_parsed, is_readable;
	struct json root;
};

/* Does it pass? *body is then what to show of it: of traits and features only those asked for (else the change's own, by pointer). *body
 * lives as long as the change or the arena. ERR_NOMEM, ERR_TOO_LARGE: not known, so the change must not be passed over. A body that
 * cannot be read does not pass where names were given. */
MUST_USE int change_filter_look(const struct change_filter *filter, struct change_look *look, bool *passes,
				struct str *body);
