#include "latest.h"

#include <stdlib.h>
#include <string.h>

static bool reset(struct latest *latest, size_t count)
{
	size_t size = 64;
	while (size < 2 * count) size *= 2;
	if (size > latest->size) {
		uint32_t *bigger = realloc(latest->slots, size * sizeof *bigger);
		if (!bigger) return false;
		latest->slots = bigger;
		latest->size = size;
	}
	memset(latest->slots, 0, latest->size * sizeof *latest->slots);
	return true;
}

/* FNV-1a: the ids are keyed hashes already. */
static uint64_t hash_of(struct cdpd_str text)
{
	uint64_t hash = 14695981039346656037u;
	for (size_t i = 0; i < text.len; i++) hash = (hash ^ (unsigned char)text.ptr[i]) * 1099511628211u;
	return hash ^ hash >> 32;
}

static bool is_same(struct cdpd_str a, struct cdpd_str b)
{
	return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* Was it there already? Then it is now, too. */
static bool was_seen(struct latest *latest, const struct cdpd_record *records, size_t i)
{
	size_t at = (size_t)hash_of(records[i].profile_id) & (latest->size - 1);
	for (; latest->slots[at]; at = (at + 1) & (latest->size - 1))
		if (is_same(records[latest->slots[at] - 1].profile_id, records[i].profile_id)) return true;
	latest->slots[at] = (uint32_t)i + 1;
	return false;
}

bool latest_mark(struct latest *latest, const struct cdpd_record *records, size_t from, size_t to, bool *is_stale)
{
	if (!reset(latest, to - from)) return false;
	for (size_t i = to; i-- > from;)
		is_stale[i] = records[i].kind == CDPD_RECORD_PROFILE && was_seen(latest, records, i);
	return true;
}

void latest_free(struct latest *latest)
{
	free(latest->slots);
	*latest = (struct latest){0};
}
