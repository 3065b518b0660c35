#include "profile/peek.h"

#include "profile/feature_eval.h"
#include "profile/room.h"

_Static_assert(PEEK_JSON_MAX >= FEATURE_JSON_MAX, "the text must fit");

static int peek_merged(struct cache *cache, const struct row *row, bool with_members, struct peek *out)
{
	struct slot *head;
	struct row *merged;
	int rc = cache_slot(cache, &row->profile, &head);
	if (!rc) rc = cache_row(cache, head, true, &merged);
	if (!rc && with_members) rc = cache_cold(cache, head, true);
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	out->view = merged;
	out->profile = row->profile;
	if (!with_members) return OK;
	out->members = merged->members;
	out->member_count = merged->member_count;
	return OK;
}

int people_peek(struct people *people, const struct fragment_id *fragment, bool with_members, struct peek *out)
{
	struct cache *cache = &people->cache;
	struct slot *slot;
	struct row *row;
	CHECK(people->txn);
	*out = (struct peek){.profile = *fragment};
	int rc = cache_slot(cache, fragment, &slot);
	if (!rc) rc = cache_row(cache, slot, false, &row);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	out->view = row;
	bool is_alone = fragment_id_eq(&row->profile, &row->id) && !row->has_merged;
	return is_alone ? OK : peek_merged(cache, row, with_members, out);
}

size_t people_peek_value(const struct people *people, const struct peek *peek, struct str feature, int64_t now,
			 char *json)
{
	const struct plan *plan = people->plan;
	for (size_t i = 0; plan && i < plan->feature_count; i++) {
		const struct plan_feature *found = &plan->features[i];
		if (!str_eq(found->def.name, feature)) continue;
		return feature_read(found, peek->view ? row_feature_find(peek->view, found->key) : NULL, now, json);
	}
	memcpy(json, "null", 4);
	return 4;
}
