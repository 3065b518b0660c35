/* members: an object made of the members of several, sorted by key, the later of equal keys winning: batch-level context under
 * a message's own, identify's traits over its context.traits, what is left of a message beside its known fields. */
#pragma once

#include "base/json.h"

struct members;
struct member {
	struct str key;
	struct json value;
	const struct members *object; /* instead of value, or NULL; sorted */
};

struct members {
	struct arena *arena;
	struct member *items;
	size_t count, capacity;
};

void members_init(struct members *members, struct arena *arena);
MUST_USE int members_add(struct members *members, struct str key, struct json value); /* ERR_NOMEM */
MUST_USE int members_add_all(struct members *members, struct json object);
void members_sort(struct members *members);
/* In sorted order; NULL when absent. */
struct member *members_find(const struct members *members, struct str key);
/* Appends "key":value of all, as canonical JSON, with a comma between (and one before when `need_comma`). */
MUST_USE int members_write(struct buf *out, const struct members *members, bool need_comma);
