#include "profile/link.h"

#include "profile/cut.h"
#include "profile/decide.h"
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

/* ── evidence ────────────────────────────────────────────────────────────── */

static bool has_room(const struct plan *plan, const struct slot *slot)
{
	uint64_t max = 4 * (uint64_t)plan->definitions.max_fragments;
	return slot->fragment.row->attempt_count < (max > PEOPLE_ATTEMPTS_MAX ? max : PEOPLE_ATTEMPTS_MAX);
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
	if (!has_room(people->plan, slot)) {
		row->attempt_overflow++;
		return OK;
	}
	row->attempt_count++;
	return link_put(people->txn, people->tables.links, link);
}

static struct link make_link(const struct people *people, const struct link_context *context,
			     const struct identifier *other, uint8_t rule)
{
	return (struct link){.fragment = context->strongest->id,
			     .other = other->id,
			     .rule = rule,
			     .version = people->plan->identity_seq,
			     .is_initiator = true,
			     .ordinal = (uint8_t)context->attempt_count,
			     .seq = context->seq,
			     .t = context->t,
			     .other_identifier = other->text,
			     .actor = STR_NONE,
			     .note = STR_NONE};
}

int link_put_both(struct people *people, const struct link *link, struct str identifier)
{
	struct link mirrored = *link;
	mirrored.fragment = link->other;
	mirrored.other = link->fragment;
	mirrored.is_initiator = !link->is_initiator;
	mirrored.other_identifier = identifier;
	int rc = link_put(people->txn, people->tables.links, link);
	return rc ? rc : link_put(people->txn, people->tables.links, &mirrored);
}

/* ── trying ──────────────────────────────────────────────────────────────── */

/* An attempt that not both sides can keep links nothing, now or later: an unmerge that starts at the other side would not find it. */
static int keep_one_sided(struct people *people, struct slot *slot, struct slot *other, struct link *link)
{
	link->reason = LINK_TOO_MANY_ATTEMPTS;
	link->is_one_sided = true;
	int rc = keep(people, slot, link);
	link->fragment = other->id;
	link->other = slot->id;
	link->is_initiator = false;
	link->other_identifier = slot->fragment.row->identifier;
	return rc ? rc : keep(people, other, link);
}

static int decide(struct people *people, const struct component *a, const struct component *b, const struct link *link,
		  enum link_reason *out)
{
	bool is_cut = false;
	*out = link_decide(people->plan, a, b, link->rule, link->seq);
	int rc = *out ? OK : cut_between(people, a, b, NULL, &is_cut);
	if (is_cut) *out = LINK_CANNOT_LINK;
	return rc;
}

/* Counts the attempt under one of its fragments. Of an erased person who came back, the other side's row of an earlier attempt is
 * still there. */
static int count_attempt(struct people *people, struct slot *slot, const struct link *link)
{
	int rc = people->has_erased ? link_find(people->txn, people->tables.links, link) : ERR_NOT_FOUND;
	if (rc != ERR_NOT_FOUND) return rc;
	slot->fragment.row->attempt_count++;
	return cache_dirty(&people->cache, slot, false);
}

static int count_both(struct people *people, struct slot *slot, struct slot *other, const struct link *link)
{
	struct link mirrored = *link;
	mirrored.fragment = link->other;
	mirrored.other = link->fragment;
	int rc = count_attempt(people, slot, link);
	return rc ? rc : count_attempt(people, other, &mirrored);
}

static int attempt(struct people *people, struct link_context *context, const struct identifier *other, uint8_t rule)
{
	struct slot *slot, *strongest = context->strongest;
	struct component a, b;
	struct link link = make_link(people, context, other, rule);
	context->attempt_count++;
	if (other->is_blocked) {
		link.reason = LINK_BLOCKED_VALUE;
		return keep(people, strongest, &link);
	}
	int rc = fragment_take(people, other, context, &slot);
	if (!rc && (!has_room(people->plan, strongest) || !has_room(people->plan, slot)))
		return keep_one_sided(people, strongest, slot, &link);
	if (!rc) rc = component_of(people, strongest, &a);
	if (!rc) rc = component_of(people, slot, &b);
	if (!rc && a.head != b.head) rc = decide(people, &a, &b, &link, &link.reason);
	if (rc) return rc;
	rc = count_both(people, strongest, slot, &link);
	if (!rc) rc = link_put_both(people, &link, strongest->fragment.row->identifier);
	if (rc || link.reason || a.head == b.head) return rc;
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
