#include "profile/link.h"

#include "profile/erase.h"

/* ── fragments ───────────────────────────────────────────────────────────── */

static int make_fragment(struct people *people, const struct identifier *identifier, struct link_context *context,
			 struct slot *slot)
{
	const struct cdpd_event *event = context->event;
	struct row *row = arena_alloc(&people->cache.arena, sizeof *row);
	if (!row) return ERR_NOMEM;
	row_init(row, &identifier->id, false);
	int rc = arena_str(&people->cache.arena, identifier->text, &row->identifier);
	if (rc) return rc;
	row->created_seq = context->seq;
	row->first_seen = event->event_time_us;
	if (!(event->flags & EVENT_INACTIVE)) row->last_seen = event->event_time_us;
	CHECK(context->created_count < COUNT_OF(context->created));
	context->created[context->created_count++] = slot;
	return cache_set(&people->cache, slot, false, row);
}

int fragment_take(struct people *people, const struct identifier *identifier, struct link_context *context,
		  struct slot **out)
{
	struct row *row;
	int rc = cache_slot(&people->cache, &identifier->id, out);
	if (rc) return rc;
	rc = cache_row(&people->cache, *out, false, &row);
	if (rc == ERR_NOT_FOUND) return make_fragment(people, identifier, context, *out);
	if (rc) return rc;
	if (str_eq(row->identifier, identifier->text)) return OK;
	/* Of an erased person only the hash may be left, on either side: ids are the same. */
	return identifier_is_hashed(row->identifier) || identifier_is_hashed(identifier->text) ? OK : ERR_CORRUPT;
}

/* ── deciding ────────────────────────────────────────────────────────────── */

static size_t count_namespace(const struct component *component, struct str namespace_)
{
	size_t count = 0;
	for (size_t i = 0; i < component->count; i++)
		count += str_eq(identifier_namespace(component->members[i].identifier), namespace_);
	return count;
}

static bool has_known(const struct plan *plan, const struct component *component, uint64_t before_seq)
{
	for (size_t i = 0; i < component->count; i++) {
		const struct row_member *member = &component->members[i];
		size_t at = plan_namespace_find(plan, identifier_namespace(member->identifier));
		if (member->created_seq < before_seq && at < plan->namespace_count &&
		    plan->namespaces[at].rule.is_known)
			return true;
	}
	return false;
}

static enum link_reason decide_namespaces(const struct plan *plan, const struct component *a, const struct component *b)
{
	for (size_t i = 0; i < plan->namespace_count; i++) {
		const struct identity_namespace *rule = &plan->namespaces[i].rule;
		if (rule->max_per_profile == 0) continue; /* no limit */
		size_t of_a = count_namespace(a, rule->name), of_b = count_namespace(b, rule->name);
		if (of_a == 0 || of_b == 0 || of_a + of_b <= rule->max_per_profile) continue;
		return rule->max_per_profile == 1 ? LINK_UNIQUE_CONFLICT : LINK_NAMESPACE_LIMIT;
	}
	return LINK_OK;
}

/* Two different components. An attempt depends on these alone: both components, the rules, trust, and the position. */
static enum link_reason decide(const struct plan *plan, const struct component *a, const struct component *b,
			       uint8_t rule, uint64_t seq)
{
	bool is_trusted = rule & LINK_TRUSTED;
	if ((rule & ~LINK_TRUSTED) == LINK_ALIAS && !is_trusted) return LINK_NOT_ALLOWED;
	enum link_reason reason = decide_namespaces(plan, a, b);
	if (reason) return reason;
	if (a->count + b->count > plan->definitions.max_fragments) return LINK_TOO_MANY_FRAGMENTS;
	if (!is_trusted && has_known(plan, a, seq) && has_known(plan, b, seq)) return LINK_NOT_ALLOWED;
	return LINK_OK;
}

/* ── evidence ────────────────────────────────────────────────────────────── */

static bool has_room(const struct slot *slot)
{
	return slot->fragment.row->attempt_count < PEOPLE_ATTEMPTS_MAX;
}

/* Keeps the attempt under its fragment; past the cap it is only counted. */
static int keep(struct people *people, struct slot *slot, const struct link *link)
{
	struct row *row = slot->fragment.row;
	int rc = cache_dirty(&people->cache, slot, false);
	if (rc) return rc;
	/* Of an erased person who came back, the other side's row of an earlier attempt is still there. */
	if (people->has_erased) {
		rc = link_find(people->txn, people->tables.links, link);
		if (rc != ERR_NOT_FOUND) return rc ? rc : link_put(people->txn, people->tables.links, link);
	}
	if (!has_room(slot)) {
		row->attempt_overflow++;
		return OK;
	}
	row->attempt_count++;
	return link_put(people->txn, people->tables.links, link);
}

static int keep_both(struct people *people, struct link_context *context, const struct identifier *other,
		     struct slot *other_slot, uint8_t rule, enum link_reason reason)
{
	struct slot *slot = context->strongest;
	struct link link = {.fragment = slot->id,
			    .other = other->id,
			    .rule = rule,
			    .version = people->plan->identity_seq,
			    .is_initiator = true,
			    .reason = reason,
			    .seq = context->seq,
			    .t = context->t,
			    .other_identifier = other->text};
	int rc = keep(people, slot, &link);
	if (rc || !other_slot) return rc;
	link.fragment = other->id;
	link.other = slot->id;
	link.is_initiator = false;
	link.other_identifier = slot->fragment.row->identifier;
	return keep(people, other_slot, &link);
}

/* ── trying ──────────────────────────────────────────────────────────────── */

static int attempt(struct people *people, struct link_context *context, const struct identifier *other, uint8_t rule)
{
	struct slot *slot;
	struct component a, b;
	if (other->is_blocked) return keep_both(people, context, other, NULL, rule, LINK_BLOCKED_VALUE);
	int rc = fragment_take(people, other, context, &slot);
	if (!rc) rc = component_of(people, context->strongest, &a);
	if (!rc) rc = component_of(people, slot, &b);
	if (rc) return rc;
	if (a.head == b.head) return keep_both(people, context, other, slot, rule, LINK_OK);
	enum link_reason reason = decide(people->plan, &a, &b, rule, context->seq);
	/* A link without evidence could never be undone. */
	if (!reason && !has_room(context->strongest) && !has_room(slot)) reason = LINK_TOO_MANY_FRAGMENTS;
	rc = keep_both(people, context, other, slot, rule, reason);
	if (rc || reason) return rc;
	return component_join(people, &a, &b, context->seq, context->t);
}

static uint8_t with_trust(const struct cdpd_event *event, enum link_rule rule)
{
	bool is_trusted = event->rights & (rule == LINK_ALIAS ? RIGHT_ALIAS : RIGHT_LINK_KNOWN);
	return (uint8_t)(rule | (is_trusted ? LINK_TRUSTED : 0));
}

/* Once a fragment's evidence is at its cap, an attempt may stand under the other side alone. */
static int find_attempt(struct people *people, const struct row *row, struct link *link)
{
	int rc = link_find(people->txn, people->tables.links, link);
	if (rc != ERR_NOT_FOUND || row->attempt_overflow == 0) return rc;
	struct link mirrored = *link;
	mirrored.fragment = link->other;
	mirrored.other = link->fragment;
	return link_find(people->txn, people->tables.links, &mirrored);
}

int link_try(struct people *people, struct link_context *context, const struct identifier *other, enum link_rule rule)
{
	struct slot *slot = context->strongest;
	struct row *row = slot->fragment.row;
	uint64_t version = people->plan->identity_seq;
	uint8_t trusted = with_trust(context->event, rule);
	if (fragment_id_eq(&slot->id, &other->id)) return OK;
	if (row->decided_version == version && row_has_decided(row, &other->id, trusted)) return OK;
	struct link link = {.fragment = slot->id, .other = other->id, .rule = trusted, .version = version};
	int rc = find_attempt(people, row, &link);
	if (rc == ERR_NOT_FOUND) rc = attempt(people, context, other, trusted);
	if (rc) return rc;
	row = slot->fragment.row;
	if (row->decided_version != version) row->decided_count = 0;
	row->decided_version = version;
	row_remember_decided(row, &other->id, trusted);
	return cache_dirty(&people->cache, slot, false);
}
