/* Dry runs: what a merge or an unmerge would do, from a snapshot. Nothing is written. */
#include <stdlib.h>

#include "profile/cut.h"
#include "profile/decide.h"
#include "profile/reader.h"
#include "profile/redecide.h"
#include "profile/trait.h"

struct side {
	struct row *fragment, *view;
	struct component component;
};

static int find_side(struct people_reader *reader, struct str ref, struct arena *arena, struct side *out)
{
	struct fragment_id id;
	struct row_member *members;
	struct str identifier;
	size_t count;
	*out = (struct side){0};
	int rc = people_resolve(reader, ref, arena, &identifier);
	if (rc) return rc;
	fragment_id_make(&reader->people->key, identifier, &id);
	rc = reader_row(reader, &id, false, true, arena, &out->fragment);
	if (!rc) rc = reader_members(reader, &out->fragment->profile, arena, &members, &count);
	if (!rc) rc = reader_row(reader, &out->fragment->profile, count > 1, true, arena, &out->view);
	if (rc) return rc;
	out->component = (struct component){.members = members, .count = count, .has_cuts = out->view->has_cuts};
	return OK;
}

static bool is_one(const struct side *a, const struct side *b)
{
	return fragment_id_eq(&a->fragment->profile, &b->fragment->profile);
}

static int list_members(const struct plan *plan, struct row_member *members, size_t count, struct arena *arena,
			struct str **identifiers, struct fragment_id *id)
{
	int rc = members_rank(plan, members, count, arena);
	*identifiers = rc ? NULL : arena_array(arena, struct str, count + 1);
	if (!rc && !*identifiers) rc = ERR_NOMEM;
	for (size_t i = 0; i < count && !rc; i++) rc = arena_str(arena, members[i].identifier, &(*identifiers)[i]);
	*id = members[0].id;
	return rc;
}

/* ── merge ───────────────────────────────────────────────────────────────── */

static int find_cut(struct people_reader *reader, const struct side *a, const struct side *b, bool *out)
{
	*out = false;
	if (!a->component.has_cuts || !b->component.has_cuts) return OK;
	for (size_t i = 0; i < a->component.count && !*out; i++) {
		const struct fragment_id *id = &a->component.members[i].id;
		const struct fragment_id *but =
		    fragment_id_eq(id, &a->fragment->id) ? &b->fragment->id : NULL; /* a merge lifts that one */
		int rc = cut_of(reader->txn, reader->people->tables.links, id, &b->component, but, out);
		if (rc) return rc;
	}
	return OK;
}

static void add_limit(struct preview_merge *out, enum link_reason reason, struct str namespace_)
{
	out->limits[out->limit_count++] = (struct preview_limit){str_from(link_reason_name(reason)), namespace_};
}

/* In the order in which the fold asks: the first one is its reason. */
static int find_limits(struct people_reader *reader, const struct side *a, const struct side *b, struct arena *arena,
		       struct preview_merge *out)
{
	const struct plan *plan = reader->plan;
	bool is_cut;
	out->limits = arena_array(arena, struct preview_limit, plan->namespace_count + 4);
	if (!out->limits) return ERR_NOMEM;
	if (plan_blocks(plan, a->fragment->identifier) || plan_blocks(plan, b->fragment->identifier))
		add_limit(out, LINK_BLOCKED_VALUE, STR_NONE);
	for (size_t i = 0; i < plan->namespace_count; i++) {
		struct str name;
		enum link_reason reason = link_decide_namespace(plan, i, &a->component, &b->component);
		if (!reason) continue;
		int rc = arena_str(arena, plan->namespaces[i].rule.name, &name);
		if (rc) return rc;
		add_limit(out, reason, name);
	}
	if (a->component.count + b->component.count > plan->definitions.max_fragments)
		add_limit(out, LINK_TOO_MANY_FRAGMENTS, STR_NONE);
	int rc = find_cut(reader, a, b, &is_cut);
	if (!rc && is_cut) add_limit(out, LINK_CANNOT_LINK, STR_NONE);
	return rc;
}

/* Both views' winners, name by name. */
static int find_conflicts(const struct side *a, const struct side *b, int64_t now, struct arena *arena,
			  struct preview_merge *out)
{
	const struct row *x = a->view, *y = b->view;
	out->conflicts = arena_array(arena, struct preview_conflict, x->trait_count + 1);
	if (!out->conflicts) return ERR_NOMEM;
	for (size_t i = 0; i < x->trait_count; i = trait_next_name(x, i)) {
		const struct row_trait *mine = trait_in_force(x, i, now);
		const struct row_trait *other = mine ? trait_winner(y, mine->name, now) : NULL;
		if (!other || str_eq(mine->value, other->value)) continue;
		bool is_mine = trait_compare(mine, other) > 0;
		out->conflicts[out->conflict_count++] =
		    (struct preview_conflict){.name = mine->name,
					      .winner = is_mine ? mine->value : other->value,
					      .loser = is_mine ? other->value : mine->value};
	}
	return OK;
}

int people_preview_merge(struct people_reader *reader, struct str ref_a, struct str ref_b, int64_t now,
			 struct arena *arena, struct preview_merge *out)
{
	struct side a, b;
	*out = (struct preview_merge){.reason = STR_NONE};
	int rc = find_side(reader, ref_a, arena, &a);
	if (!rc) rc = find_side(reader, ref_b, arena, &b);
	if (rc) return rc;
	if (!reader->plan) return ERR_NOT_FOUND;
	out->a = a.fragment->identifier;
	out->b = b.fragment->identifier;
	out->was_one = is_one(&a, &b);
	size_t count = a.component.count + (out->was_one ? 0 : b.component.count);
	struct row_member *members = arena_array(arena, struct row_member, count);
	if (!members) return ERR_NOMEM;
	memcpy(members, a.component.members, a.component.count * sizeof *members);
	if (!out->was_one) {
		memcpy(members + a.component.count, b.component.members, b.component.count * sizeof *members);
		rc = find_limits(reader, &a, &b, arena, out);
		if (!rc) rc = find_conflicts(&a, &b, now, arena, out);
	}
	out->is_allowed = out->limit_count == 0;
	if (!out->is_allowed) out->reason = out->limits[0].reason;
	out->identifier_count = count;
	return rc ? rc : list_members(reader->plan, members, count, arena, &out->identifiers, &out->id);
}

/* ── unmerge ─────────────────────────────────────────────────────────────── */

struct row_loader {
	struct people_reader *reader;
	struct arena *arena;
};

static int load_row(void *ctx, const struct fragment_id *id, struct row **out)
{
	struct row_loader *loader = ctx;
	return reader_row(loader->reader, id, false, false, loader->arena, out);
}

static int list_links(const struct redecided *result, struct arena *arena, struct preview_unmerge *out)
{
	out->cut = arena_array(arena, struct link_row, result->attempt_count + 1);
	out->made = arena_array(arena, struct link_row, result->attempt_count + 1);
	if (!out->cut || !out->made) return ERR_NOMEM;
	for (size_t i = 0; i < result->attempt_count; i++) {
		const struct redecided_attempt *attempt = &result->attempts[i];
		bool was_linked = attempt->link.reason == LINK_OK, is_linked = attempt->now == LINK_OK;
		if (was_linked == is_linked) continue;
		struct link_row *row = is_linked ? &out->made[out->made_count++] : &out->cut[out->cut_count++];
		int rc = link_show(&attempt->link, result->fragments[attempt->a].member.identifier, arena, row);
		if (rc) return rc;
	}
	return OK;
}

static int order_groups(const void *a, const void *b)
{
	return str_cmp(((const struct preview_group *)a)->identifiers[0],
		       ((const struct preview_group *)b)->identifiers[0]);
}

static int list_groups(const struct plan *plan, struct redecided *result, struct arena *arena,
		       struct preview_unmerge *out)
{
	out->groups = arena_array(arena, struct preview_group, result->fragment_count + 1);
	if (!out->groups) return ERR_NOMEM;
	for (size_t i = 0; i < result->fragment_count; i++) {
		struct person *person = result->fragments[i].person;
		if (!person->is_changed || person->fragments[0] != i) continue; /* each once */
		struct preview_group *group = &out->groups[out->group_count++];
		struct row_member *members = (struct row_member *)(uintptr_t)person->now.members;
		group->count = person->now.count;
		int rc = list_members(plan, members, group->count, arena, &group->identifiers, &group->id);
		if (rc) return rc;
	}
	qsort(out->groups, out->group_count, sizeof *out->groups, order_groups);
	return OK;
}

static int redecide_here(struct people_reader *reader, const struct side *a, const struct side *b, struct arena *arena,
			 struct redecided *result)
{
	struct row_loader loader = {reader, arena};
	const struct redecide_source source = {.txn = reader->txn,
					       .links = reader->people->tables.links,
					       .meta = reader->people->tables.meta,
					       .plan = reader->plan,
					       .arena = arena,
					       .row = load_row,
					       .ctx = &loader};
	return redecide(&source, &a->fragment->id, &b->fragment->id, reader->checkpoint.applied, result);
}

int people_preview_unmerge(struct people_reader *reader, struct str ref_a, struct str ref_b, struct arena *arena,
			   struct preview_unmerge *out)
{
	struct side a, b;
	struct redecided result;
	*out = (struct preview_unmerge){.reason = STR_NONE};
	int rc = find_side(reader, ref_a, arena, &a);
	if (!rc) rc = find_side(reader, ref_b, arena, &b);
	if (rc) return rc;
	if (!reader->plan) return ERR_NOT_FOUND;
	out->a = a.fragment->identifier;
	out->b = b.fragment->identifier;
	if (!is_one(&a, &b) || fragment_id_eq(&a.fragment->id, &b.fragment->id)) {
		out->reason = str_from(link_reason_name(LINK_NOT_JOINED));
		return OK;
	}
	rc = redecide_here(reader, &a, &b, arena, &result);
	if (rc == ERR_TOO_LARGE) {
		out->reason = str_from(link_reason_name(LINK_TOO_ENTANGLED));
		return OK;
	}
	out->is_allowed = true;
	if (!rc) rc = list_links(&result, arena, out);
	return rc ? rc : list_groups(reader->plan, &result, arena, out);
}
