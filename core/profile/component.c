#include "profile/component.h"

#include <stdlib.h>

#include "profile/consent_fold.h"
#include "profile/feature_eval.h"
#include "profile/segments.h"
#include "profile/trait.h"

int component_of(struct people *people, struct slot *fragment, struct component *out)
{
	const struct row *row = fragment->fragment.row;
	if (fragment_id_eq(&row->profile, &row->id) && !row->has_merged) {
		*out = (struct component){.head = fragment,
					  .members = &out->self,
					  .count = 1,
					  .has_cuts = row->has_cuts,
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
	out->has_cuts = merged->has_cuts;
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

/* ── making ──────────────────────────────────────────────────────────────── */

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

int members_rank(const struct plan *plan, struct row_member *members, size_t count, struct arena *arena)
{
	struct ranked *ranked = arena_array(arena, struct ranked, count);
	if (!ranked) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		ranked[i].member = members[i];
		ranked[i].strength = plan_namespace_find(plan, identifier_namespace(members[i].identifier));
	}
	qsort(ranked, count, sizeof *ranked, order_strength);
	for (size_t i = 0; i < count; i++) members[i] = ranked[i].member;
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
	people->has_renamed = true;
	row->has_merged = is_head;
	return cache_dirty(&people->cache, slot, false);
}

int component_changed(struct people *people, struct slot *head, uint64_t seq, int64_t t)
{
	head->has_new_members = true;
	return cache_view(&people->cache, head, seq, t);
}

static int make_merged(struct people *people, struct slot *head, struct row *const *rows, size_t count)
{
	struct arena *arena = &people->cache.arena;
	struct joins *joins;
	struct row *merged;
	int rc = consent_joins(people->txn, people->tables.links, rows, count, arena, &joins);
	if (!rc) rc = merged_row_make(people->plan, rows, count, joins, arena, &merged);
	if (rc) return rc;
	cache_grow(&people->cache, row_hot_max(merged) + row_cold_max(merged));
	return cache_set(&people->cache, head, true, merged);
}

/* The row that showed the profile of that id so far; NULL: none did. */
static int view_before(struct people *people, struct slot *slot, const struct row **out)
{
	struct row *fragment, *merged;
	int rc = cache_row(&people->cache, slot, false, &fragment);
	*out = NULL;
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	if (!fragment->has_merged) {
		if (fragment_id_eq(&fragment->profile, &slot->id)) *out = fragment;
		return OK;
	}
	rc = cache_row(&people->cache, slot, true, &merged);
	if (!rc) rc = cache_cold(&people->cache, slot, true);
	*out = merged;
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

int component_make(struct people *people, struct row_member *members, size_t count, uint64_t seq, int64_t t,
		   struct component_made *out)
{
	struct arena *arena = &people->cache.arena;
	struct row **rows = arena_array(arena, struct row *, count);
	int rc = rows ? members_rank(people->plan, members, count, arena) : ERR_NOMEM;
	if (!rc) rc = cache_slot(&people->cache, &members[0].id, &out->head);
	if (!rc) rc = view_before(people, out->head, &out->before);
	for (size_t i = 0; i < count && !rc; i++)
		rc = point_member(people, &members[i], &members[0].id, i == 0 && count > 1, &rows[i]);
	if (!rc && count > 1) rc = make_merged(people, out->head, rows, count);
	return rc ? rc : component_changed(people, out->head, seq, t);
}

int component_drop(struct people *people, const struct fragment_id *head)
{
	struct slot *slot;
	struct row *row;
	int rc = cache_slot(&people->cache, head, &slot);
	if (!rc) rc = cache_row(&people->cache, slot, false, &row);
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	return row->has_merged ? OK : cache_delete(&people->cache, slot, true);
}

int component_tell_consents(struct people *people, const struct component_made *made, uint64_t seq, int64_t t)
{
	const struct row *fragment = made->head->fragment.row;
	const struct row *now = fragment->has_merged ? made->head->merged.row : fragment;
	struct row nobody;
	if (made->before) return consent_tell(people, made->before, now, seq, t);
	row_init(&nobody, &made->head->id, true);
	return consent_tell(people, &nobody, now, seq, t);
}

/* ── telling ─────────────────────────────────────────────────────────────── */

int component_forget(struct people *people, const struct fragment_id *profile)
{
	struct slot *slot;
	int rc = cache_slot(&people->cache, profile, &slot);
	if (!rc) slot->is_forgotten = true;
	return rc;
}

int component_tell_merged(struct people *people, const struct fragment_id *from, const struct fragment_id *into,
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
	int rc = people_append_change(people, &change);
	return rc ? rc : component_forget(people, from);
}

int component_tell_split(struct people *people, const struct fragment_id *from, const struct fragment_id *into,
			 size_t into_count, uint64_t seq, int64_t t)
{
	char text[FRAGMENT_ID_TEXT_SIZE];
	struct json_out out;
	buf_clear(&people->json);
	json_out_init(&out, &people->json);
	jo_object(&out);
	jo_key(&out, STR("from"));
	fragment_id_format(from, text);
	jo_str(&out, str_from(text));
	jo_key(&out, STR("into"));
	jo_array(&out);
	for (size_t i = 0; i < into_count; i++) {
		fragment_id_format(&into[i], text);
		jo_str(&out, str_from(text));
	}
	jo_end_array(&out);
	jo_end_object(&out);
	if (out.status) return out.status;
	struct change change = {.kind = CHANGE_SPLIT, .cause_seq = seq, .t = t, .body = buf_str(&people->json)};
	memcpy(change.profile, from->bytes, sizeof change.profile);
	int rc = people_append_change(people, &change);
	for (size_t i = 0; i < into_count; i++)
		if (fragment_id_eq(from, &into[i])) return rc;
	return rc ? rc : component_forget(people, from);
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
	if (a_existed) rc = component_tell_merged(people, &a->head->id, profile, seq, t);
	if (!rc && b_existed) rc = component_tell_merged(people, &b->head->id, profile, seq, t);
	if (rc || (a_existed && b_existed)) return rc;
	const struct component *joined = a_existed ? b : a;
	return component_announce(people, CHANGE_IDENTIFIER, profile, joined->members, joined->count, seq, t);
}

int component_join(struct people *people, const struct component *a, const struct component *b, uint64_t seq, int64_t t)
{
	size_t count = a->count + b->count;
	struct component_made made;
	struct row_member *members = arena_array(&people->cache.arena, struct row_member, count);
	if (!members) return ERR_NOMEM;
	memcpy(members, a->members, a->count * sizeof *members);
	memcpy(members + a->count, b->members, b->count * sizeof *members);
	int rc = component_make(people, members, count, seq, t, &made);
	if (!rc && a->count > 1) rc = component_drop(people, &a->head->id);
	if (!rc && b->count > 1) rc = component_drop(people, &b->head->id);
	if (!rc) rc = tell(people, a, b, &made.head->id, seq, t);
	if (!rc) rc = component_tell_consents(people, &made, seq, t);
	return rc ? rc : segments_joined(people, made.head, a->head, b->head, seq, t);
}
