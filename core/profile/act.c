/* Merges and unmerges: what somebody said about two identifiers, on the fold's thread. */
#include <stdlib.h>

#include "profile/block.h"
#include "profile/cut.h"
#include "profile/decide.h"
#include "profile/link.h"
#include "profile/redecide.h"
#include "profile/segments.h"

struct parties {
	struct slot *a, *b;
	struct component of_a, of_b;
};

/* ERR_NOT_FOUND: one of them is not known (any more). */
static int find_party(struct people *people, struct str identifier, struct slot **slot)
{
	struct fragment_id id;
	struct row *row;
	identifier_id(&people->key, identifier, &id); /* an erasure leaves the hashed form in the journal */
	int rc = cache_slot(&people->cache, &id, slot);
	if (!rc) rc = cache_row(&people->cache, *slot, false, &row);
	if (rc || str_eq(row->identifier, identifier)) return rc;
	return identifier_is_hashed(row->identifier) || identifier_is_hashed(identifier) ? OK : ERR_CORRUPT;
}

static int find_parties(struct people *people, const struct people_act *act, struct parties *out)
{
	int rc = find_party(people, act->a, &out->a);
	if (!rc) rc = find_party(people, act->b, &out->b);
	if (rc) return rc;
	rc = component_of(people, out->a, &out->of_a);
	if (!rc) rc = component_of(people, out->b, &out->of_b);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int count_act(void *ctx, const struct link *link)
{
	*(size_t *)ctx += link_is_act(link->rule);
	return OK;
}

static int has_room(struct people *people, const struct parties *parties, bool *out)
{
	size_t of_a = 0, of_b = 0;
	store_db links = people->tables.links;
	int rc = links_each(people->txn, links, &parties->a->id, count_act, &of_a);
	if (!rc) rc = links_each(people->txn, links, &parties->b->id, count_act, &of_b);
	*out = of_a < PEOPLE_ACTS_MAX && of_b < PEOPLE_ACTS_MAX;
	return rc;
}

static struct str cut_text(struct str text, size_t max)
{
	if (text.len <= max) return text;
	while (max && ((unsigned char)text.ptr[max] & 0xc0) == 0x80) max--; /* not inside a character */
	return (struct str){text.ptr, max};
}

static struct link make_link(const struct people *people, const struct people_act *act, const struct parties *parties,
			     uint8_t rule, uint64_t seq, int64_t t)
{
	return (struct link){.fragment = parties->a->id,
			     .other = parties->b->id,
			     .rule = rule,
			     .version = people->plan->identity_seq,
			     .is_initiator = true,
			     .seq = seq,
			     .t = t,
			     .other_identifier = parties->b->fragment.row->identifier,
			     .actor = cut_text(act->actor, PEOPLE_ACTOR_MAX),
			     .note = cut_text(act->note, PEOPLE_NOTE_MAX)};
}

static int put(struct people *people, const struct parties *parties, const struct link *link)
{
	return link_put_both(people, link, parties->a->fragment.row->identifier);
}

/* ── merge ───────────────────────────────────────────────────────────────── */

static int decide_merge(struct people *people, const struct parties *parties, struct link *link)
{
	const struct fragment_id *pair[2] = {&parties->a->id, &parties->b->id};
	bool is_cut = false;
	link->was_one = parties->of_a.head == parties->of_b.head;
	if (link->was_one) return OK;
	if (plan_blocks(people->plan, parties->a->fragment.row->identifier) ||
	    plan_blocks(people->plan, parties->b->fragment.row->identifier)) {
		link->reason = LINK_BLOCKED_VALUE;
		return OK;
	}
	link->reason = link_decide(people->plan, &parties->of_a, &parties->of_b, link->rule, link->seq);
	if (link->reason) return OK;
	int rc = cut_between(people, &parties->of_a, &parties->of_b, pair, &is_cut);
	if (is_cut) link->reason = LINK_CANNOT_LINK;
	return rc;
}

static int merge(struct people *people, const struct people_act *act, const struct parties *parties, uint64_t seq,
		 int64_t t)
{
	struct link link = make_link(people, act, parties, LINK_MERGE | LINK_TRUSTED, seq, t);
	int rc = decide_merge(people, parties, &link);
	if (!rc) rc = put(people, parties, &link);
	if (rc || link.reason || link.was_one) return rc;
	rc = component_join(people, &parties->of_a, &parties->of_b, seq, t);
	struct component joined;
	if (!rc) rc = component_of(people, parties->a, &joined);
	return rc ? rc : segments_profile_changed(people, joined.head, seq, t);
}

/* ── unmerge ─────────────────────────────────────────────────────────────── */

static int load_row(void *ctx, const struct fragment_id *id, struct row **out)
{
	struct people *people = ctx;
	struct slot *slot;
	int rc = cache_slot(&people->cache, id, &slot);
	return rc ? rc : cache_row(&people->cache, slot, false, out);
}

static int rewrite_attempts(struct people *people, const struct redecided *result)
{
	for (size_t i = 0; i < result->attempt_count; i++) {
		const struct redecided_attempt *attempt = &result->attempts[i];
		struct link link = attempt->link;
		link.reason = attempt->now;
		if (link_is_act(link.rule)) link.was_one = attempt->was_one;
		if (link.reason == attempt->link.reason && link.was_one == attempt->link.was_one) continue;
		int rc = link_put_both(people, &link, result->fragments[attempt->a].member.identifier);
		if (rc) return rc;
	}
	return OK;
}

/* Fragments of changed persons, grouped by the profile they were of; groups and what is in them in an order that does not depend
 * on ids. */
struct moved {
	const struct redecided_fragment **items;
	size_t count;
};

static int order_members(const struct row_member *x, const struct row_member *y)
{
	if (x->created_seq != y->created_seq) return x->created_seq < y->created_seq ? -1 : 1;
	return str_cmp(x->identifier, y->identifier);
}

static int order_moved(const void *a, const void *b)
{
	const struct redecided_fragment *x = *(const struct redecided_fragment *const *)a;
	const struct redecided_fragment *y = *(const struct redecided_fragment *const *)b;
	return order_members(&x->member, &y->member);
}

static int find_moved(struct people *people, const struct redecided *result, struct moved *out)
{
	out->count = 0;
	out->items = arena_array(&people->cache.arena, const struct redecided_fragment *, result->fragment_count + 1);
	if (!out->items) return ERR_NOMEM;
	for (size_t i = 0; i < result->fragment_count; i++)
		if (result->fragments[i].person->is_changed) out->items[out->count++] = &result->fragments[i];
	qsort(out->items, out->count, sizeof(struct redecided_fragment *), order_moved);
	return OK;
}

/* Makes each changed person once. Their members are ranked by it: the first one is the profile's id. */
static int make_persons(struct people *people, const struct moved *moved, uint64_t seq, int64_t t)
{
	for (size_t i = 0; i < moved->count; i++) {
		struct person *person = moved->items[i]->person;
		if (person->now.head) continue;
		struct row_member *members = (struct row_member *)(uintptr_t)person->now.members;
		int rc = component_make(people, members, person->now.count, seq, t, &person->made);
		if (rc) return rc;
		person->now.head = person->made.head;
	}
	return OK;
}

/* The ways the members of profile `was` went, and whether all members of each came from there. */
static size_t ways_of(const struct moved *moved, const struct fragment_id *was, struct fragment_id *into)
{
	size_t count = 0;
	for (size_t i = 0; i < moved->count; i++) {
		const struct fragment_id *id = &moved->items[i]->person->now.head->id;
		bool is_new = fragment_id_eq(&moved->items[i]->was, was);
		for (size_t k = 0; k < count && is_new; k++) is_new = !fragment_id_eq(&into[k], id);
		if (is_new) into[count++] = *id;
	}
	return count;
}

static bool is_first_of_profile(const struct moved *moved, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (fragment_id_eq(&moved->items[i]->was, &moved->items[at]->was)) return false;
	return true;
}

static int tell_moves(struct people *people, const struct moved *moved, uint64_t seq, int64_t t)
{
	struct fragment_id *into = arena_alloc(&people->cache.arena, (moved->count + 1) * sizeof *into);
	if (!into) return ERR_NOMEM;
	for (size_t i = 0; i < moved->count; i++) {
		const struct fragment_id *was = &moved->items[i]->was;
		if (!is_first_of_profile(moved, i)) continue;
		int rc = component_drop(people, was);
		size_t count = rc ? 0 : ways_of(moved, was, into);
		if (!rc)
			rc = count > 1 ? component_tell_split(people, was, into, count, seq, t)
				       : component_tell_merged(people, was, &into[0], seq, t);
		if (rc) return rc;
	}
	return OK;
}

/* Ids that head nobody any more leave their segments first. */
static int leave_segments(struct people *people, const struct moved *moved, uint64_t seq, int64_t t)
{
	for (size_t i = 0; i < moved->count; i++) {
		struct slot *slot;
		if (!is_first_of_profile(moved, i)) continue;
		int rc = cache_slot(&people->cache, &moved->items[i]->was, &slot);
		if (!rc) rc = segments_profile_changed(people, slot, seq, t);
		if (rc) return rc;
	}
	return OK;
}

/* What is derived from the members of each person made. */
static int tell_derived(struct people *people, const struct moved *moved, uint64_t seq, int64_t t)
{
	for (size_t i = 0; i < moved->count; i++) {
		struct person *person = moved->items[i]->person;
		if (person->is_told) continue;
		person->is_told = true;
		int rc = component_announce(people, CHANGE_IDENTIFIER, &person->made.head->id, person->now.members,
					    person->now.count, seq, t);
		if (!rc) rc = component_tell_consents(people, &person->made, seq, t);
		if (!rc) rc = segments_profile_changed(people, person->made.head, seq, t);
		if (rc) return rc;
	}
	return OK;
}

static int mark_cut(struct people *people, struct slot *slot)
{
	slot->fragment.row->has_cuts = true;
	return cache_dirty(&people->cache, slot, false);
}

static int apply_result(struct people *people, const struct parties *parties, const struct redecided *result,
			uint64_t seq, int64_t t)
{
	struct moved moved;
	int rc = mark_cut(people, parties->a);
	if (!rc) rc = mark_cut(people, parties->b);
	if (!rc) rc = rewrite_attempts(people, result);
	if (!rc) rc = find_moved(people, result, &moved);
	if (!rc) rc = make_persons(people, &moved, seq, t);
	if (!rc) rc = tell_moves(people, &moved, seq, t);
	if (!rc) rc = leave_segments(people, &moved, seq, t);
	return rc ? rc : tell_derived(people, &moved, seq, t);
}

static int unmerge(struct people *people, const struct people_act *act, const struct parties *parties, uint64_t seq,
		   int64_t t)
{
	struct link link = make_link(people, act, parties, LINK_UNMERGE, seq, t);
	struct redecided result;
	const struct redecide_source source = {.txn = people->txn,
					       .links = people->tables.links,
					       .meta = people->tables.meta,
					       .plan = people->plan,
					       .arena = &people->cache.arena,
					       .row = load_row,
					       .ctx = people};
	if (parties->of_a.head != parties->of_b.head || parties->a == parties->b) {
		link.reason = LINK_NOT_JOINED;
		return put(people, parties, &link);
	}
	int rc = redecide(&source, &parties->a->id, &parties->b->id, seq, &result);
	if (rc == ERR_TOO_LARGE) link.reason = LINK_TOO_ENTANGLED;
	if (!rc || rc == ERR_TOO_LARGE) {
		int failure = put(people, parties, &link);
		if (failure || rc) return failure;
	}
	return rc ? rc : apply_result(people, parties, &result, seq, t);
}

int people_act(struct people *people, enum people_act_kind kind, const struct people_act *act, uint64_t seq, int64_t t)
{
	struct parties parties;
	bool is_kept = false;
	CHECK(people->txn);
	if (!people->plan) return OK;
	int rc = find_parties(people, act, &parties);
	if (rc == ERR_NOT_FOUND) return OK;
	if (!rc) rc = has_room(people, &parties, &is_kept);
	if (rc || !is_kept) return rc;
	return kind == PEOPLE_MERGE ? merge(people, act, &parties, seq, t) : unmerge(people, act, &parties, seq, t);
}
