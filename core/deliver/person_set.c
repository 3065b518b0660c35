#include "deliver/person_set.h"

#include <stdlib.h>

#define ROOM_MIN 64

void person_set_fini(struct person_set *set)
{
	free(set->slots);
	*set = (struct person_set){.count = 0};
}

void person_set_clear(struct person_set *set)
{
	if (set->count) memset(set->slots, 0, set->room * sizeof *set->slots);
	set->count = 0;
}

bool person_is_nobody(const struct fragment_id *person)
{
	static const struct fragment_id nobody = {{0}};
	return memcmp(person, &nobody, sizeof nobody) == 0;
}

/* Ids are keyed hashes already. The slot it is in, or would be in. */
static struct fragment_id *slot_of(const struct person_set *set, const struct fragment_id *person)
{
	uint64_t hash;
	memcpy(&hash, person->bytes, sizeof hash);
	for (size_t i = hash & (set->room - 1);; i = (i + 1) & (set->room - 1)) {
		struct fragment_id *slot = &set->slots[i];
		if (person_is_nobody(slot) || memcmp(slot, person, sizeof *slot) == 0) return slot;
	}
}

static int grow(struct person_set *set)
{
	struct person_set larger = {.room = set->room ? 2 * set->room : ROOM_MIN};
	larger.slots = calloc(larger.room, sizeof *larger.slots);
	if (!larger.slots) return ERR_NOMEM;
	for (size_t i = 0; i < set->room; i++)
		if (!person_is_nobody(&set->slots[i])) *slot_of(&larger, &set->slots[i]) = set->slots[i];
	larger.count = set->count;
	free(set->slots);
	*set = larger;
	return OK;
}

int person_set_add(struct person_set *set, const struct fragment_id *person)
{
	if (person_is_nobody(person)) return OK;
	if (2 * set->count >= set->room) {
		int rc = grow(set);
		if (rc) return rc;
	}
	struct fragment_id *slot = slot_of(set, person);
	if (person_is_nobody(slot)) {
		*slot = *person;
		set->count++;
	}
	return OK;
}

bool person_set_has(const struct person_set *set, const struct fragment_id *person)
{
	return set->count && !person_is_nobody(person) && !person_is_nobody(slot_of(set, person));
}
