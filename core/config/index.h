/* index: texts to pointers, filled once and then only read. */
#pragma once

#include "base/arena.h"
#include "base/hash.h"

struct index_slot {
	struct str text; /* borrowed; length 0: free */
	const void *value;
};
struct index {
	struct index_slot *slots;
	size_t size, count; /* size: a power of two, at most half full */
	struct hash_key key;
};

MUST_USE int index_init(struct index *index, struct arena *arena,
			size_t capacity); /* texts that will be added, at most */
/* NULL, or the value that the text has already. */
const void *index_add(struct index *index, struct str text, const void *value);
const void *index_find(const struct index *index, struct str text); /* NULL: not there */
