#include "last.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4

struct entry {
	uint8_t id[LAST_ID_SIZE];
	float score;
	uint32_t version;
	bool is_used;
};
struct set { /* whoever hashes here; the oldest makes room */
	struct entry entries[WAYS];
	unsigned next;
};
struct last {
	size_t count;
	struct set sets[];
};

struct last *last_new(size_t people)
{
	size_t count = (people + WAYS - 1) / WAYS;
	struct last *last = calloc(1, sizeof *last + count * sizeof last->sets[0]);
	if (last) last->count = count;
	return last;
}

void last_free(struct last *last)
{
	free(last);
}

/* Ids are keyed hashes already. NULL: there is no room for anybody. */
static const struct set *set_of(const struct last *last, const uint8_t id[LAST_ID_SIZE])
{
	uint64_t hash;
	memcpy(&hash, id, sizeof hash);
	return last->count ? &last->sets[hash % last->count] : NULL;
}

static struct entry *find(const struct last *last, const uint8_t id[LAST_ID_SIZE])
{
	const struct set *set = set_of(last, id);
	for (size_t i = 0; set && i < WAYS; i++) {
		const struct entry *entry = &set->entries[i];
		if (entry->is_used && memcmp(entry->id, id, LAST_ID_SIZE) == 0) return (struct entry *)entry;
	}
	return NULL;
}

bool last_get(const struct last *last, const uint8_t id[LAST_ID_SIZE], float *score, uint32_t *version)
{
	const struct entry *entry = find(last, id);
	if (!entry) return false;
	*score = entry->score;
	*version = entry->version;
	return true;
}

void last_put(struct last *last, const uint8_t id[LAST_ID_SIZE], float score, uint32_t version)
{
	struct entry *entry = find(last, id);
	struct set *set = (struct set *)set_of(last, id);
	if (!set) return;
	if (!entry) entry = &set->entries[set->next++ % WAYS];
	memcpy(entry->id, id, LAST_ID_SIZE);
	entry->score = score;
	entry->version = version;
	entry->is_used = true;
}

void last_drop(struct last *last, const uint8_t id[LAST_ID_SIZE])
{
	struct entry *entry = find(last, id);
	if (entry) entry->is_used = false;
}
