#include "config/read.h"
#include "config/tree_set.h"

static size_t count_at(const struct key *key, const char *base)
{
	size_t count;
	memcpy(&count, base + key->count_offset, sizeof count);
	return count;
}

static const char *pointer_at(const struct key *key, const char *base)
{
	const char *pointer;
	memcpy(&pointer, base + key->offset, sizeof pointer);
	return pointer;
}

static bool same_texts(const char *a, const char *b, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct str x, y;
		memcpy(&x, a + i * sizeof x, sizeof x);
		memcpy(&y, b + i * sizeof y, sizeof y);
		if (!str_eq(x, y)) return false;
	}
	return true;
}

static bool same_value(const struct key *key, const char *a, const char *b);

static bool same_items(const struct table *table, const char *a, const char *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < table->count; k++)
			if (!same_value(&table->keys[k], a + i * table->item_size, b + i * table->item_size))
				return false;
	return true;
}

static bool same_value(const struct key *key, const char *a, const char *b)
{
	switch (key->type) {
	case KEY_TEXT: return same_texts(a + key->offset, b + key->offset, 1);
	case KEY_TEXTS:
	case KEY_ITEMS:
		if (count_at(key, a) != count_at(key, b)) return false;
		if (key->type == KEY_TEXTS) return same_texts(pointer_at(key, a), pointer_at(key, b), count_at(key, a));
		return same_items(key->items, pointer_at(key, a), pointer_at(key, b), count_at(key, a));
	case KEY_ANY:
	case KEY_NODE:
		return node_equal((const struct node *)(const void *)pointer_at(key, a),
				  (const struct node *)(const void *)pointer_at(key, b));
	default: return memcmp(a + key->offset, b + key->offset, key->size) == 0;
	}
}

const char *table_difference(const struct table *table, const void *a, const void *b)
{
	for (size_t i = 0; i < table->count; i++)
		if ((table->keys[i].flags & KEY_RESTART) && !same_value(&table->keys[i], a, b))
			return table->keys[i].path;
	return NULL;
}
