#include "again.h"

#include <stdlib.h>

/* FNV-1a */
static uint64_t hash_of(struct cdpd_str text)
{
	uint64_t hash = 14695981039346656037u;
	for (size_t i = 0; i < text.len; i++) hash = (hash ^ (unsigned char)text.ptr[i]) * 1099511628211u;
	return hash;
}

/* `count`: it is not there. */
static size_t find(const struct again *again, struct cdpd_str delivery_id)
{
	if (again->count == 0) return 0;
	uint64_t hash = hash_of(delivery_id);
	size_t at = 0;
	while (at < again->count && again->hashes[at] != hash) at++;
	return at;
}

bool again_has(const struct again *again, struct cdpd_str delivery_id)
{
	return find(again, delivery_id) < again->count;
}

void again_add(struct again *again, struct cdpd_str delivery_id)
{
	if (again_has(again, delivery_id) || again->count == AGAIN_MAX) return;
	if (again->count == again->size) {
		size_t size = again->size ? 2 * again->size : 64;
		uint64_t *bigger = realloc(again->hashes, size * sizeof *bigger);
		if (!bigger) return;
		again->hashes = bigger;
		again->size = size;
	}
	again->hashes[again->count++] = hash_of(delivery_id);
}

void again_remove(struct again *again, struct cdpd_str delivery_id)
{
	size_t at = find(again, delivery_id);
	if (at < again->count) again->hashes[at] = again->hashes[--again->count];
}

void again_free(struct again *again)
{
	free(again->hashes);
	*again = (struct again){0};
}
