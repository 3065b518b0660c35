#include "profile/redecide.h"

#include <stdlib.h>

#include "profile/checkpoint.h"
#include "profile/decide.h"

#define RULES_MAX  64   /* versions of identity rules that one closure may have been decided by */
#define TABLE_SIZE 4096 /* of fragments by id: a power of two, above twice the fragments */
#define CUTS_MAX   ((size_t)PEOPLE_UNMERGE_FRAGMENTS_MAX * 2)

_Static_assert(TABLE_SIZE >= 2 * PEOPLE_UNMERGE_FRAGMENTS_MAX, "there is always a free place");

struct cut { /* a cannot-link */
	struct fragment_id a_id, b_id;
	size_t a, b;
	uint64_t seq;
};

struct closure {
	const struct redecide_source *source;
	struct redecided *out;
	uint32_t table[TABLE_SIZE]; /* index + 1 */
	size_t attempt_room;
	struct cut *cuts;
	size_t cut_count;
	struct rules {
		uint64_t version;
		struct plan *plan;
	} rules[RULES_MAX];
	size_t rules_count;
};

/* ── collecting ──────────────────────────────────────────────────────────── */

static uint32_t *place_of(struct closure *closure, const struct fragment_id *id)
{
	uint64_t hash;
	memcpy(&hash, id->bytes, sizeof hash);
	for (size_t at = hash % TABLE_SIZE;; at = (at + 1) % TABLE_SIZE) {
		uint32_t *place = &closure->table[at];
		if (!*place || fragment_id_eq(&closure->out->fragments[*place - 1].member.id, id)) return place;
	}
}

static int add_fragment(struct closure *closure, const struct fragment_id *id)
{
	struct redecided *out = closure->out;
	uint32_t *place = place_of(closure, id);
	if (*place) return OK;
	if (out->fragment_count == PEOPLE_UNMERGE_FRAGMENTS_MAX) return ERR_TOO_LARGE;
	out->fragments[out->fragment_count++].member.id = *id;
	*place = (uint32_t)out->fragment_count;
	return OK;
}

static int add_attempt(struct closure *closure, const struct link *link)
{
	struct redecided *out = closure->out;
	struct arena *arena = closure->source->arena;
	if (out->attempt_count == PEOPLE_UNMERGE_ATTEMPTS_MAX) return ERR_TOO_LARGE;
	if (out->attempt_count == closure->attempt_room) {
		size_t room = closure->attempt_room ? 2 * closure->attempt_room : 64;
		struct redecided_attempt *attempts = arena_array(arena, struct redecided_attempt, room);
		if (!attempts) return ERR_NOMEM;
		if (out->attempt_count) memcpy(attempts, out->attempts, out->attempt_count * sizeof *attempts);
		out->attempts = attempts;
		closure->attempt_room = room;
	}
	struct redecided_attempt *attempt = &out->attempts[out->attempt_count++];
	*attempt = (struct redecided_attempt){.link = *link};
	int rc = arena_str(arena, link->other_identifier, &attempt->link.other_identifier);
	if (!rc) rc = arena_str(arena, link->actor, &attempt->link.actor);
	return rc ? rc : arena_str(arena, link->note, &attempt->link.note);
}

static int add_cut(struct closure *closure, const struct fragment_id *a, const struct fragment_id *b, uint64_t seq)
{
	for (size_t i = 0; i < closure->cut_count; i++) {
		struct cut *cut = &closure->cuts[i];
		bool is_same = (fragment_id_eq(&cut->a_id, a) && fragment_id_eq(&cut->b_id, b)) ||
			       (fragment_id_eq(&cut->a_id, b) && fragment_id_eq(&cut->b_id, a));
		if (!is_same) continue;
		if (seq > cut->seq) cut->seq = seq; /* the newest counts: a merge before it lifts nothing */
		return OK;
	}
	if (closure->cut_count == CUTS_MAX) return ERR_TOO_LARGE;
	closure->cuts[closure->cut_count++] = (struct cut){.a_id = *a, .b_id = *b, .seq = seq};
	return OK;
}

static int take_link(void *ctx, const struct link *link)
{
	struct closure *closure = ctx;
	if (link->rule == LINK_UNMERGE)
		return link->reason || !link->is_initiator ? OK
							   : add_cut(closure, &link->fragment, &link->other, link->seq);
	if (link->is_one_sided || link->reason == LINK_BLOCKED_VALUE) return OK; /* depends on nothing else */
	struct row *other;
	int found = closure->source->row(closure->source->ctx, &link->other, &other);
	if (found == ERR_NOT_FOUND) return OK; /* erased; who it had joined is kept together by LINK_KEPT */
	if (found) return found;
	int rc = add_fragment(closure, &link->other);
	return rc || !link->is_initiator ? rc : add_attempt(closure, link);
}

static int collect(struct closure *closure)
{
	const struct redecide_source *source = closure->source;
	struct redecided *out = closure->out;
	for (size_t i = 0; i < out->fragment_count; i++) {
		struct redecided_fragment *fragment = &out->fragments[i];
		struct row *row;
		int rc = source->row(source->ctx, &fragment->member.id, &row);
		if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
		fragment->member.created_seq = row->created_seq;
		fragment->member.identifier = row->identifier;
		fragment->was = row->profile;
		rc = links_each(source->txn, source->links, &fragment->member.id, take_link, closure);
		if (rc) return rc;
	}
	return OK;
}

static int order_attempts(const void *a, const void *b)
{
	const struct link *x = &((const struct redecided_attempt *)a)->link;
	const struct link *y = &((const struct redecided_attempt *)b)->link;
	if (x->seq != y->seq) return x->seq < y->seq ? -1 : 1;
	return (int)x->ordinal - (int)y->ordinal;
}

/* Ids to indexes; cannot-links with somebody out of reach say nothing here. */
static void settle(struct closure *closure)
{
	struct redecided *out = closure->out;
	size_t kept = 0;
	for (size_t i = 0; i < closure->cut_count; i++) {
		struct cut cut = closure->cuts[i];
		uint32_t a = *place_of(closure, &cut.a_id), b = *place_of(closure, &cut.b_id);
		if (!a || !b) continue;
		cut.a = a - 1;
		cut.b = b - 1;
		closure->cuts[kept++] = cut;
	}
	closure->cut_count = kept;
	if (out->attempt_count) qsort(out->attempts, out->attempt_count, sizeof *out->attempts, order_attempts);
	for (size_t i = 0; i < out->attempt_count; i++) {
		struct redecided_attempt *attempt = &out->attempts[i];
		attempt->a = *place_of(closure, &attempt->link.fragment) - 1;
		attempt->b = *place_of(closure, &attempt->link.other) - 1;
	}
}

/* ── deciding ────────────────────────────────────────────────────────────── */

static int rules_of(struct closure *closure, uint64_t version, const struct plan **out)
{
	const struct redecide_source *source = closure->source;
	*out = source->plan;
	if (version == source->plan->identity_seq) return OK;
	for (size_t i = 0; i < closure->rules_count; i++) {
		if (closure->rules[i].version != version) continue;
		if (closure->rules[i].plan) *out = closure->rules[i].plan;
		return OK;
	}
	if (closure->rules_count == RULES_MAX) return ERR_TOO_LARGE;
	struct rules *rules = &closure->rules[closure->rules_count];
	*rules = (struct rules){.version = version};
	int rc = rules_read(source->txn, source->meta, version, &rules->plan);
	if (rc && rc != ERR_NOT_FOUND) return rc; /* not kept by the cdpd of that time: by today's */
	closure->rules_count++;
	if (rules->plan) *out = rules->plan;
	return OK;
}

static struct person *person_new(struct closure *closure, size_t room)
{
	struct arena *arena = closure->source->arena;
	struct person *person = arena_new(arena, struct person);
	if (!person) return NULL;
	struct row_member *members = arena_array(arena, struct row_member, room);
	person->fragments = arena_array(arena, size_t, room);
	person->now.members = members;
	return members && person->fragments ? person : NULL;
}

static void person_add(struct closure *closure, struct person *person, size_t fragment)
{
	struct row_member *members = (struct row_member *)(uintptr_t)person->now.members;
	members[person->now.count] = closure->out->fragments[fragment].member;
	person->fragments[person->now.count++] = fragment;
	closure->out->fragments[fragment].person = person;
}

static int separate(struct closure *closure)
{
	for (size_t i = 0; i < closure->out->fragment_count; i++) {
		struct person *person = person_new(closure, 1);
		if (!person) return ERR_NOMEM;
		person_add(closure, person, i);
	}
	return OK;
}

static int join(struct closure *closure, const struct person *a, const struct person *b)
{
	struct person *both = person_new(closure, a->now.count + b->now.count);
	if (!both) return ERR_NOMEM;
	for (size_t i = 0; i < a->now.count; i++) person_add(closure, both, a->fragments[i]);
	for (size_t i = 0; i < b->now.count; i++) person_add(closure, both, b->fragments[i]);
	return OK;
}

/* A merge does not stop at the cannot-link it lifts. Once it holds, both sides are one, and the cut lies between nobody. */
static bool lifts(const struct redecided_attempt *attempt, const struct cut *cut)
{
	return link_is_act(attempt->link.rule) && cut->seq < attempt->link.seq &&
	       ((cut->a == attempt->a && cut->b == attempt->b) || (cut->a == attempt->b && cut->b == attempt->a));
}

static bool is_cut(const struct closure *closure, const struct redecided_attempt *attempt, const struct person *a,
		   const struct person *b)
{
	const struct redecided_fragment *fragments = closure->out->fragments;
	for (size_t i = 0; i < closure->cut_count; i++) {
		const struct cut *cut = &closure->cuts[i];
		const struct person *x = fragments[cut->a].person, *y = fragments[cut->b].person;
		bool is_between = (x == a && y == b) || (x == b && y == a);
		if (is_between && !lifts(attempt, cut)) return true;
	}
	return false;
}

static int decide_one(struct closure *closure, struct redecided_attempt *attempt)
{
	const struct redecided_fragment *fragments = closure->out->fragments;
	const struct person *a = fragments[attempt->a].person, *b = fragments[attempt->b].person;
	const struct plan *rules;
	attempt->now = LINK_OK;
	attempt->was_one = a == b;
	int rc = a == b ? OK : rules_of(closure, attempt->link.version, &rules);
	if (a != b && !rc) {
		attempt->now = link_decide(rules, &a->now, &b->now, attempt->link.rule, attempt->link.seq);
		if (!attempt->now && is_cut(closure, attempt, a, b)) attempt->now = LINK_CANNOT_LINK;
	}
	if (rc || attempt->now) return rc;
	return a == b ? OK : join(closure, a, b);
}

/* A person of now is somebody's profile of before when all its members were of one profile and that has no others. */
static void find_changed(struct redecided *out)
{
	for (size_t i = 0; i < out->fragment_count; i++) {
		struct redecided_fragment *fragment = &out->fragments[i];
		struct person *person = fragment->person;
		for (size_t k = 0; k < person->now.count; k++)
			if (!fragment_id_eq(&out->fragments[person->fragments[k]].was, &fragment->was))
				person->is_changed = true;
	}
}

static int order_by_profile(const void *a, const void *b)
{
	const struct redecided_fragment *x = *(const struct redecided_fragment *const *)a;
	const struct redecided_fragment *y = *(const struct redecided_fragment *const *)b;
	return memcmp(&x->was, &y->was, sizeof x->was);
}

/* … and profiles whose members went several ways. */
static int find_split(struct redecided *out, struct arena *arena)
{
	struct redecided_fragment **sorted = arena_array(arena, struct redecided_fragment *, out->fragment_count);
	if (!sorted) return ERR_NOMEM;
	for (size_t i = 0; i < out->fragment_count; i++) sorted[i] = &out->fragments[i];
	qsort(sorted, out->fragment_count, sizeof(struct redecided_fragment *), order_by_profile);
	for (size_t i = 1; i < out->fragment_count; i++) {
		if (order_by_profile(&sorted[i - 1], &sorted[i]) != 0 || sorted[i - 1]->person == sorted[i]->person)
			continue;
		/* Of three ways, each is next to another one. */
		sorted[i - 1]->person->is_changed = sorted[i]->person->is_changed = true;
	}
	return OK;
}

static int run(struct closure *closure, const struct fragment_id *a, const struct fragment_id *b, uint64_t seq)
{
	int rc = add_fragment(closure, a);
	if (!rc) rc = add_fragment(closure, b);
	if (!rc) rc = add_cut(closure, a, b, seq);
	if (!rc) rc = collect(closure);
	if (rc) return rc;
	settle(closure);
	rc = separate(closure);
	for (size_t i = 0; i < closure->out->attempt_count && !rc; i++)
		rc = decide_one(closure, &closure->out->attempts[i]);
	if (rc) return rc;
	find_changed(closure->out);
	return find_split(closure->out, closure->source->arena);
}

int redecide(const struct redecide_source *source, const struct fragment_id *a, const struct fragment_id *b,
	     uint64_t seq, struct redecided *out)
{
	*out = (struct redecided){0};
	struct closure *closure = arena_new(source->arena, struct closure);
	if (!closure) return ERR_NOMEM;
	closure->source = source;
	closure->out = out;
	closure->cuts = arena_array(source->arena, struct cut, CUTS_MAX);
	out->fragments = arena_array(source->arena, struct redecided_fragment, PEOPLE_UNMERGE_FRAGMENTS_MAX);
	int rc = closure->cuts && out->fragments ? run(closure, a, b, seq) : ERR_NOMEM;
	for (size_t i = 0; i < closure->rules_count; i++) plan_free(closure->rules[i].plan);
	return rc;
}
