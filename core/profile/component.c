#include "profile/component.h"

#include <stdlib.h>

#include "profile/consent_fold.h"
#include "profile/feature_eval.h"
#include "profile/trait.h"

int component_of(struct people *people, struct slot *fragment, struct component *out)
{
	const struct row *row = fragment->fragment.row;
	if (fragment_id_eq(&row->profile, &row->id) && !row->has_merged) {
		*out = (struct component){.head = fragment,
					  .members = &out->self,
					  .count = 1,
					  .self = {row->id, row->created_seq, row->identifier}};
		return OK;
	}
	struct row *merged;
	int rc = cache_slot(&people->cache, &row->profile, &out->head);
	if (!rc) rc = cache_row(&people->cache, out->head, true, &merged);
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	rc = cache_cold(&people->cache, out->head, true);
	out->members = merged->members;
	out->count = merged->member_count;
	return rc;
}

bool component_existed(const struct component *component, uint64_t seq)
{
	for (size_t i = 0; i < component->count; i++)
		if (component->members[i].created_seq < seq) return true;
	return false;
}

static int merge_consents(struct row *merged, struct row *const *fragments, size_t count, const struct joins *joins,
			  struct arena *arena)
{
	const struct consent_list **lists = arena_array(arena, const struct consent_list *, count);
	if (!lists) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) lists[i] = &fragments[i]->consents;
	return consents_agree(lists, count, joins, arena, &merged->consents);
}

int merged_row_make(const struct plan *plan, struct row *const *fragments, size_t count, const struct joins *joins,
		    struct arena *arena, struct row **out)
{
	struct row *merged = arena_alloc(arena, sizeof *merged);
	if (!merged) return ERR_NOMEM;
	row_init(merged, &fragments[0]->id, true);
	merged->members = arena_array(arena, struct row_member, count);
	if (!merged->members) return ERR_NOMEM;
	int rc = OK;
	for (size_t i = 0; i < count && !rc; i++) {
		const struct row *row = fragments[i];
		merged->members[i] = (struct row_member){row->id, row->created_seq, row->identifier};
		row_merge_counts(merged, row);
		rc = features_merge(plan, merged, row, arena);
		if (!rc) rc = traits_merge(merged, row, arena);
	}
	merged->member_count = count;
	if (!rc) rc = merge_consents(merged, fragments, count, joins, arena);
	*out = merged;
	return rc;
}

/* ── joining ─────────────────────────────────────────────────────────────── */

struct ranked {
	struct row_member member;
	size_t strength;
};

static int order_strength(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	if (x->strength != y->strength) return x->strength < y->strength ? -1 : 1;
	if (x->member.created_seq != y->member.created_seq)
		return x->member.created_seq < y->member.created_seq ? -1 : 1;
	return str_cmp(x->member.identifier, y->member.identifier);
}

static int rank(const struct plan *plan, const struct component *a, const struct component *b, struct arena *arena,
		struct ranked **out)
{
	size_t count = a->count + b->count;
	struct ranked *ranked = arena_array(arena, struct ranked, count);
	if (!ranked) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		ranked[i].member = i < a->count ? a->members[i] : b->members[i - a->count];
		ranked[i].strength = plan_namespace_find(plan, identifier_namespace(ranked[i].member.identifier));
	}
	qsort(ranked, count, sizeof *ranked, order_strength);
	*out = ranked;
	return OK;
}

/* Loads a member's fragment whole and points it to its profile. */
static int point_member(struct people *people, const struct row_member *member, const struct fragment_id *profile,
			bool is_head, struct row **out)
{
	struct slot *slot;
	int rc = cache_slot(&people->cache, &member->id, &slot);
	if (!rc) rc = cache_row(&people->cache, slot, false, out);
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	rc = cache_cold(&people->cache, slot, false);
	if (rc) return rc;
	struct row *row = *out;
	if (fragment_id_eq(&row->profile, profile) && row->has_merged == is_head) return OK;
	row->profile = *profile;
	row->has_merged = is_head;
	return cache_dirty(&people->cache, slot, false);
}

static int drop_merged(struct people *people, const struct component *old, const struct fragment_id *profile)
{
	if (old->count == 1 || fragment_id_eq(&old->head->id, profile)) return OK;
	return cache_delete(&people->cache, old->head, true);
}

static int append_merged(struct people *people, const struct fragment_id *from, const struct fragment_id *into,
			 uint64_t seq, int64_t t)
{
	char from_text[FRAGMENT_ID_TEXT_SIZE], into_text[FRAGMENT_ID_TEXT_SIZE];
	struct json_out out;
	if (fragment_id_eq(from, into)) return OK;
	fragment_id_format(from, from_text);
	fragment_id_format(into, into_text);
	buf_clear(&people->json);
	json_out_init(&out, &people->json);
	jo_object(&out);
	jo_key(&out, STR("from"));
	jo_str(&out, str_from(from_text));
	jo_key(&out, STR("into"));
	jo_str(&out, str_from(into_text));
	jo_end_object(&out);
	if (out.status) return out.status;
	struct change change = {.kind = CHANGE_MERGED, .cause_seq = seq, .t = t, .body = buf_str(&people->json)};
	memcpy(change.profile, into->bytes, sizeof change.profile);
	return people_append_change(people, &change);
}

int component_announce(struct people *people, enum change_kind kind, const struct fragment_id *profile,
		       const struct row_member *members, size_t count, uint64_t seq, int64_t t)
{
	struct json_out out;
	buf_clear(&people->json);
	json_out_init(&out, &people->json);
	jo_object(&out);
	jo_key(&out, STR("identifiers"));
	jo_array(&out);
	for (size_t i = 0; i < count; i++) jo_str(&out, members[i].identifier);
	jo_end_array(&out);
	jo_end_object(&out);
	if (out.status) return out.status;
	struct change change = {.kind = kind, .cause_seq = seq, .t = t, .body = buf_str(&people->json)};
	memcpy(change.profile, profile->bytes, sizeof change.profile);
	return people_append_change(people, &change);
}

/* Who was known before becomes part of `profile`; who is new just joins. Two new ones are announced when the event is done. */
static int tell(struct people *people, const struct component *a, const struct component *b,
		const struct fragment_id *profile, uint64_t seq, int64_t t)
{
	bool a_existed = component_existed(a, seq), b_existed = component_existed(b, seq);
	if (!a_existed && !b_existed) return OK;
	int rc = OK;
	if (a_existed) rc = append_merged(people, &a->head->id, profile, seq, t);
	if (!rc && b_existed) rc = append_merged(people, &b->head->id, profile, seq, t);
	if (rc || (a_existed && b_existed)) return rc;
	const struct component *joined = a_existed ? b : a;
	return component_announce(people, CHANGE_IDENTIFIER, profile, joined->members, joined->count, seq, t);
}

/* The row that shows the component that keeps its id. */
static const struct row *surviving_view(const struct component *a, const struct component *b,
					const struct fragment_id *profile)
{
	const struct component *kept = fragment_id_eq(&a->head->id, profile) ? a : b;
	return kept->count == 1 ? kept->head->fragment.row : kept->head->merged.row;
}

int component_join(struct people *people, const struct component *a, const struct component *b, uint64_t seq, int64_t t)
{
	struct arena *arena = &people->cache.arena;
	size_t count = a->count + b->count;
	struct ranked *ranked;
	struct row *merged;
	struct slot *head;
	struct joins *joins;
	struct row **rows = arena_array(arena, struct row *, count);
	int rc = rows ? rank(people->plan, a, b, arena, &ranked) : ERR_NOMEM;
	if (rc) return rc;
	const struct fragment_id *profile = &ranked[0].member.id;
	const struct row *before = surviving_view(a, b, profile);
	for (size_t i = 0; i < count && !rc; i++)
		rc = point_member(people, &ranked[i].member, profile, i == 0, &rows[i]);
	if (!rc) rc = consent_joins(people->txn, people->tables.links, rows, count, arena, &joins);
	if (!rc) rc = merged_row_make(people->plan, rows, count, joins, arena, &merged);
	if (!rc) rc = drop_merged(people, a, profile);
	if (!rc) rc = drop_merged(people, b, profile);
	if (!rc) rc = cache_slot(&people->cache, profile, &head);
	if (!rc) cache_grow(&people->cache, row_hot_max(merged) + row_cold_max(merged));
	if (!rc) rc = cache_set(&people->cache, head, true, merged);
	if (!rc) rc = cache_view(&people->cache, head, seq, t);
	if (!rc) rc = tell(people, a, b, profile, seq, t);
	return rc ? rc : consent_tell(people, before, merged, seq, t);
}
