/* person_set: a set of persons, by profile id. Grows, is emptied as a whole; one thread. */
#pragma once

#include "profile/people.h"

struct person_set {
	struct fragment_id *slots; /* all zero: free, so that nobody (the id of zeros) is never in it */
	size_t count, room;        /* room: a power of two, or 0 */
};
void person_set_fini(struct person_set *set);
void person_set_clear(struct person_set *set);
MUST_USE int person_set_add(struct person_set *set, const struct fragment_id *person); /* nobody: nothing happens */
bool person_set_has(const struct person_set *set, const struct fragment_id *person);
bool person_is_nobody(const struct fragment_id *person);
