#include "profile/consent_fold.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/encode.h"
#include "profile/link_row.h"

/* ── reading an act ──────────────────────────────────────────────────────── */

static int get(struct event_view *view, enum event_part part, const char *path, struct json *out)
{
	struct event_field field = {part, str_from(path)};
	return event_view_get(view, &field, out);
}

/* Empty when absent. False: there, but no text. */
static bool text_at(struct event_view *view, enum event_part part, const char *path, struct str *out)
{
	struct json value;
	*out = STR_NONE;
	return get(view, part, path, &value) != OK || json_str(value, out);
}

static bool hex_at(struct event_view *view, const char *path, uint8_t *out, size_t len)
{
	struct str text;
	return text_at(view, PART_ENRICHMENT, path, &text) && hex_decode(text, out, len) == OK;
}

static bool is_confirmed(struct event_view *view)
{
	struct json value;
	bool is_true = false;
	return get(view, PART_ENRICHMENT, "consent.confirmed", &value) == OK && json_bool(value, &is_true) && is_true;
}

static bool read_expiry(struct event_view *view, struct consent *record)
{
	struct str text;
	int16_t offset;
	if (!text_at(view, PART_PROPERTIES, "expires_at", &text)) return false;
	return text.len == 0 || clock_parse(text, &record->expires, &offset) == OK;
}

static bool read_basis(struct event_view *view, const struct purpose_rule *rule, struct consent *record)
{
	struct str text;
	record->basis = rule->basis;
	if (!text_at(view, PART_PROPERTIES, "basis", &text)) return false;
	return text.len == 0 || lawful_basis_from_name(text, &record->basis);
}

static bool read_token(struct event_view *view, struct consent_act *act)
{
	struct json value;
	act->has_token = get(view, PART_ENRICHMENT, "consent.token", &value) == OK;
	if (!act->has_token) return true;
	return get(view, PART_ENRICHMENT, "consent.token.expires", &value) == OK &&
	       json_int(value, &act->token_expires) &&
	       hex_at(view, "consent.token.id", act->token_id, sizeof act->token_id);
}

/* Everything but the purpose, which is looked up before. */
static bool read_content(struct event_view *view, uint64_t seq, struct consent_act *act)
{
	struct consent *record = &act->record;
	const struct cdpd_event *event = view->event;
	struct str state;
	record->position = seq;
	record->time = event->event_time_us;
	record->source = event->source_id;
	record->message_id = event->message_id;
	if (!text_at(view, PART_PROPERTIES, "channel", &record->channel) || record->channel.len > 64) return false;
	if (!text_at(view, PART_PROPERTIES, "state", &state) || !consent_state_from_name(state, &record->state))
		return false;
	if (!read_basis(view, act->rule, record) || !read_expiry(view, record)) return false;
	if (record->state != CONSENT_GRANTED) record->expires = 0;
	if (record->state == CONSENT_GRANTED && act->rule->needs_confirmation && !is_confirmed(view)) {
		record->state = CONSENT_PENDING;
		record->expires = 0;
	}
	return hex_at(view, "consent.salt", act->salt, sizeof act->salt) && read_token(view, act);
}

static void refuse(struct apply_result *verdict, enum outcome_reason reason)
{
	*verdict = (struct apply_result){.verdict = OUTCOME_REFUSED, .reason = reason};
}

int consent_act_read(struct people *people, uint64_t seq, struct consent_act *act, struct apply_result *verdict)
{
	struct event_view *view = &people->view;
	struct json ignored;
	*act = (struct consent_act){.record = {.purpose = STR_NONE, .channel = STR_NONE}};
	*verdict = (struct apply_result){.verdict = OUTCOME_APPLIED};
	/* Both parts are parsed once here: later look-ups only find or do not find. */
	int rc_said = event_view_root(view, PART_PROPERTIES, &ignored);
	int rc_attested = event_view_root(view, PART_ENRICHMENT, &ignored);
	if (rc_said == ERR_NOMEM || rc_attested == ERR_NOMEM) return ERR_NOMEM;
	if (rc_said || rc_attested || !text_at(view, PART_PROPERTIES, "purpose", &act->record.purpose)) {
		refuse(verdict, OUTCOME_REASON_UNDECODABLE);
		return OK;
	}
	act->rule = purpose_rule_find(&people->plan->definitions.consent, act->record.purpose);
	if (!act->rule) {
		refuse(verdict, OUTCOME_REASON_UNKNOWN_PURPOSE);
		return OK;
	}
	act->record.purpose = act->rule->name;
	if (!read_content(view, seq, act)) {
		refuse(verdict, OUTCOME_REASON_UNDECODABLE);
		return OK;
	}
	if (!act->has_token) return OK;
	int rc =
	    consent_token_find(people->txn, &people->tables, act->token_expires, act->token_id, &verdict->previous_seq);
	if (rc == OK) verdict->verdict = OUTCOME_DUPLICATE;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* ── changes ─────────────────────────────────────────────────────────────── */

struct told {
	const struct consent *now;
	enum consent_state state, previous;
	bool is_by_link;
};

static int append_change(struct people *people, const uint8_t profile[16], const struct told *told, uint64_t seq,
			 int64_t t)
{
	struct json_out out;
	buf_clear(&people->json);
	json_out_init(&out, &people->json);
	jo_object(&out);
	jo_key(&out, STR("purpose"));
	jo_str(&out, told->now->purpose);
	if (told->now->channel.len) {
		jo_key(&out, STR("channel"));
		jo_str(&out, told->now->channel);
	}
	jo_key(&out, STR("state"));
	jo_str(&out, str_from(consent_state_name(told->state)));
	jo_key(&out, STR("previous"));
	jo_str(&out, str_from(consent_state_name(told->previous)));
	jo_key(&out, STR("basis"));
	jo_str(&out, str_from(lawful_basis_name(told->now->basis)));
	if (told->now->expires) {
		jo_key(&out, STR("expiresAt"));
		jo_time(&out, told->now->expires);
	}
	jo_key(&out, STR("cause"));
	jo_str(&out, told->is_by_link ? STR("link") : STR("act"));
	jo_end_object(&out);
	if (out.status) return out.status;
	struct change change = {.kind = CHANGE_CONSENT, .cause_seq = seq, .t = t, .body = buf_str(&people->json)};
	memcpy(change.profile, profile, sizeof change.profile);
	return people_append_change(people, &change);
}

/* One direction: what `of` says and `other` says otherwise. */
static int tell_differences(struct people *people, const struct row *old, const struct row *new, uint64_t seq,
			    int64_t t)
{
	for (size_t i = 0; i < new->consents.count; i++) {
		const struct consent *now = &new->consents.items[i];
		const struct consent *was = consent_lookup(&old->consents, now->purpose, now->channel);
		struct told told = {now, consent_state_at(now, t), consent_state_at(was, t), true};
		int rc = told.state == told.previous ? OK : append_change(people, new->id.bytes, &told, seq, t);
		if (rc) return rc;
	}
	return OK;
}

int consent_tell(struct people *people, const struct row *old, const struct row *new, uint64_t seq, int64_t t)
{
	int rc = tell_differences(people, old, new, seq, t);
	/* What was said of one channel and is no longer: the answer for all of them holds again, or none. */
	for (size_t i = 0; i < old->consents.count && !rc; i++) {
		struct consent was = old->consents.items[i];
		const struct consent *now = consent_lookup(&new->consents, was.purpose, was.channel);
		if (now && str_eq(now->channel, was.channel)) continue;
		enum consent_state before = consent_state_at(&was, t);
		if (now) was.basis = now->basis;
		was.expires = now ? now->expires : 0;
		struct told told = {&was, consent_state_at(now, t), before, true};
		if (told.state != told.previous) rc = append_change(people, new->id.bytes, &told, seq, t);
	}
	return rc;
}

/* ── an act ──────────────────────────────────────────────────────────────── */

bool consent_act_fits(const struct row *row, const struct consent_act *act)
{
	if (row->consents.count < CONSENTS_MAX) return true;
	const struct consent *old = consent_lookup(&row->consents, act->record.purpose, act->record.channel);
	return old && str_eq(old->channel, act->record.channel);
}

/* What the log keeps of the person's words. */
static int write_payload(struct people *people, const struct row *fragment)
{
	const struct cdpd_event *event = people->view.event;
	struct json_out out;
	buf_clear(&people->json);
	json_out_init(&out, &people->json);
	jo_object(&out);
	jo_key(&out, STR("identifier"));
	jo_str(&out, fragment->identifier);
	jo_key(&out, STR("messageId"));
	jo_str(&out, event->message_id);
	jo_key(&out, STR("source"));
	jo_str(&out, event->source_id);
	jo_key(&out, STR("at"));
	jo_time(&out, event->event_time_us);
	jo_key(&out, STR("ip"));
	jo_str(&out, event->ip);
	jo_key(&out, STR("userAgent"));
	jo_str(&out, event->user_agent);
	jo_key(&out, STR("said"));
	jo_raw(&out, event->properties);
	jo_end_object(&out);
	return out.status;
}

static int append_log(struct people *people, const struct consent_act *act, const struct row *fragment, uint64_t *n)
{
	struct consent_log_row row = {.position = act->record.position,
				      .fragment = fragment->id,
				      .state = act->record.state,
				      .purpose = act->record.purpose,
				      .channel = act->record.channel};
	int rc = write_payload(people, fragment);
	if (!rc) rc = consent_log_append(people->txn, &people->tables, &row, act->salt, buf_str(&people->json));
	*n = row.n;
	return rc;
}

static int copy_texts(struct arena *arena, struct consent *record)
{
	struct str *const texts[] = {&record->purpose, &record->channel, &record->source, &record->message_id};
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		int rc = arena_str(arena, *texts[i], texts[i]);
		if (rc) return rc;
	}
	return OK;
}

int consent_act_apply(struct people *people, const struct consent_act *act, struct row *const *rows, size_t count,
		      const struct slot *head, int64_t t)
{
	struct arena *arena = &people->cache.arena;
	struct consent record = act->record;
	struct row *view = rows[count - 1];
	enum consent_state previous =
	    consent_state_at(consent_lookup(&view->consents, record.purpose, record.channel), t);
	bool is_taken = false;
	int rc = copy_texts(arena, &record);
	if (!rc) rc = append_log(people, act, rows[0], &record.log);
	if (!rc && act->has_token)
		rc = consent_token_use(people->txn, &people->tables, act->token_expires, act->token_id, record.position,
				       t);
	for (size_t i = 0; i < count && !rc; i++) {
		rc = consent_put(&rows[i]->consents, &record, arena, &is_taken);
		if (is_taken) rows[i]->is_cold_changed = true;
		cache_grow(&people->cache, 256);
	}
	if (rc || !is_taken) return rc;
	struct told told = {&record, consent_state_at(&record, t), previous, false};
	return append_change(people, head->id.bytes, &told, record.position, t);
}

/* ── links ───────────────────────────────────────────────────────────────── */

struct edge {
	uint64_t seq;
	size_t a, b;
};

struct edges {
	struct edge *items;
	size_t count, room;
};

static int push_edge(struct edges *edges, struct arena *arena, struct edge edge)
{
	if (edges->count == edges->room) {
		size_t room = edges->room ? edges->room * 2 : 64;
		struct edge *items = arena_array(arena, struct edge, room);
		if (!items) return ERR_NOMEM;
		if (edges->count) memcpy(items, edges->items, edges->count * sizeof *items);
		edges->items = items;
		edges->room = room;
	}
	edges->items[edges->count++] = edge;
	return OK;
}

static size_t find_fragment(struct row *const *fragments, size_t count, const struct fragment_id *id)
{
	for (size_t i = 0; i < count; i++)
		if (fragment_id_eq(&fragments[i]->id, id)) return i;
	return count;
}

static int collect_edges(struct store_txn *txn, store_db links, struct row *const *fragments, size_t count, size_t at,
			 struct arena *arena, struct edges *edges)
{
	struct store_cursor *cursor;
	const struct fragment_id *id = &fragments[at]->id;
	struct str key = {(const char *)id->bytes, sizeof id->bytes}, value;
	int rc = store_cursor_open(txn, links, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	while (!rc) {
		struct link link;
		rc = link_decode(key, value, &link);
		if (rc || !fragment_id_eq(&link.fragment, id)) break;
		bool is_link = link.reason == LINK_OK && link.rule != LINK_UNMERGE;
		size_t other = is_link ? find_fragment(fragments, count, &link.other) : count;
		if (other < count) rc = push_edge(edges, arena, (struct edge){link.seq, at, other});
		if (!rc) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int order_edges(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Grows the groups link by link: whoever is in the two groups that a link unites is joined since that link. */
static void unite(struct joins *joins, size_t *group, const struct edge *edge)
{
	size_t of_a = group[edge->a], of_b = group[edge->b];
	if (of_a == of_b) return;
	for (size_t i = 0; i < joins->count; i++)
		for (size_t k = 0; k < joins->count && group[i] == of_a; k++) {
			if (group[k] != of_b) continue;
			joins->joined[i * joins->count + k] = joins->joined[k * joins->count + i] = edge->seq;
		}
	for (size_t i = 0; i < joins->count; i++)
		if (group[i] == of_b) group[i] = of_a;
}

int consent_joins(struct store_txn *txn, store_db links, struct row *const *fragments, size_t count,
		  struct arena *arena, struct joins **out)
{
	struct edges edges = {0};
	size_t holders = 0;
	*out = NULL;
	for (size_t i = 0; i < count; i++) holders += fragments[i]->consents.count > 0;
	if (holders < 2) return OK;
	struct joins *joins = arena_new(arena, struct joins);
	size_t *group = arena_array(arena, size_t, count);
	if (!joins || !group) return ERR_NOMEM;
	joins->count = count;
	joins->joined = arena_array(arena, uint64_t, count * count);
	if (!joins->joined) return ERR_NOMEM;
	/* Without evidence of a link nothing supersedes: the most restrictive holds. */
	for (size_t i = 0; i < count * count; i++) joins->joined[i] = UINT64_MAX;
	for (size_t i = 0; i < count; i++) {
		group[i] = i;
		int rc = collect_edges(txn, links, fragments, count, i, arena, &edges);
		if (rc) return rc;
	}
	if (edges.count) qsort(edges.items, edges.count, sizeof *edges.items, order_edges);
	for (size_t i = 0; i < edges.count; i++) unite(joins, group, &edges.items[i]);
	*out = joins;
	return OK;
}

/* ── the gate at ingest ──────────────────────────────────────────────────── */

enum answer { ANSWER_NONE, ANSWER_YES, ANSWER_NO };

/* What the person of a fragment says; *profile is set when there is one. */
static int ask(struct people *people, const struct identifier *identifier, const struct purpose_rule *rule, int64_t t,
	       struct slot **profile, enum answer *out)
{
	struct slot *slot;
	struct row *row;
	*out = ANSWER_NONE;
	*profile = NULL;
	int rc = cache_slot(&people->cache, &identifier->id, &slot);
	if (!rc) rc = cache_row(&people->cache, slot, false, &row);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	bool is_alone = fragment_id_eq(&row->profile, &row->id) && !row->has_merged;
	if (!is_alone) rc = cache_slot(&people->cache, &row->profile, &slot);
	if (!rc && !is_alone) rc = cache_row(&people->cache, slot, true, &row);
	if (!rc) rc = cache_cold(&people->cache, slot, !is_alone);
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	*profile = slot;
	enum consent_state state = consent_state_at(consent_lookup(&row->consents, rule->name, STR_NONE), t);
	if (state != CONSENT_NONE) *out = state == CONSENT_GRANTED ? ANSWER_YES : ANSWER_NO;
	return OK;
}

/* Two that are not one person although they were seen together: a rule keeps them apart, and this event will not join them. */
static int is_kept_apart(struct people *people, const struct identifier *a, const struct identifier *b, bool *out)
{
	static const uint8_t rules[] = {LINK_SAME_EVENT, LINK_SAME_EVENT | LINK_TRUSTED};
	*out = false;
	for (size_t i = 0; i < COUNT_OF(rules) && !*out; i++) {
		struct link link = {
		    .fragment = a->id, .other = b->id, .rule = rules[i], .version = people->plan->identity_seq};
		int rc = link_find(people->txn, people->tables.links, &link);
		if (rc && rc != ERR_NOT_FOUND) return rc;
		*out = rc == OK;
	}
	return OK;
}

static int ask_others(struct people *people, const struct identifier *strongest, const struct slot *profile,
		      const struct purpose_rule *rule, int64_t t, enum answer *answer)
{
	const struct identifiers *identifiers = &people->identifiers;
	for (size_t i = 0; i < identifiers->count && *answer != ANSWER_NO; i++) {
		const struct identifier *other = &identifiers->items[i];
		struct slot *others;
		enum answer theirs;
		bool is_apart = false;
		if (other == strongest || other->is_blocked) continue;
		int rc = ask(people, other, rule, t, &others, &theirs);
		if (!rc && others && others != profile) rc = is_kept_apart(people, strongest, other, &is_apart);
		if (rc) return rc;
		if (!is_apart && theirs != ANSWER_NONE) *answer = theirs;
	}
	return OK;
}

int consent_gate(struct people *people, const struct identifier *strongest, enum consent_stage stage, int64_t t,
		 bool *is_denied)
{
	const struct consent_rules *rules = &people->plan->definitions.consent;
	const struct cdpd_event *event = people->view.event;
	struct slot *profile;
	enum answer answer;
	*is_denied = false;
	const struct purpose_rule *rule = purpose_rule_of_event(rules, event->event, event->source_id);
	if (!rule || !(stage == STAGE_INGEST ? rule->gates_ingest : rule->gates_enrich)) return OK;
	int rc = ask(people, strongest, rule, t, &profile, &answer);
	if (!rc && answer != ANSWER_NO) rc = ask_others(people, strongest, profile, rule, t, &answer);
	*is_denied = answer == ANSWER_NO || (answer == ANSWER_NONE && !rule->is_granted_by_default);
	return rc;
}
