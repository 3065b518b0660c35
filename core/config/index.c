#include "config/index.h"

int index_init(struct index *index, struct arena *arena, size_t capacity)
{
	*index = (struct index){.size = 16};
	while (index->size < capacity * 2) index->size *= 2;
	index->slots = arena_array(arena, struct index_slot, index->size);
	random_bytes(&index->key, sizeof index->key); /* write keys come from outside: nobody shall aim collisions */
	return index->slots ? OK : ERR_NOMEM;
}

static struct index_slot *slot_of(const struct index *index, struct str text)
{
	size_t at = (size_t)hash64(&index->key, text.ptr, text.len) & (index->size - 1);
	while (index->slots[at].text.len && !str_eq(index->slots[at].text, text)) at = (at + 1) & (index->size - 1);
	return &index->slots[at];
}

const void *index_add(struct index *index, struct str text, const void *value)
{
	CHECK(text.len > 0 && index->count < index->size / 2);
	struct index_slot *slot = slot_of(index, text);
	if (slot->text.len) return slot->value;
	*slot = (struct index_slot){text, value};
	index->count++;
	return NULL;
}

const void *index_find(const struct index *index, struct str text)
{
	return text.len ? slot_of(index, text)->value : NULL;
}
