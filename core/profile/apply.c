#include "base/encode.h"
#include "profile/block.h"
#include "profile/consent_fold.h"
#include "profile/erase.h"
#include "profile/expiry.h"
#include "profile/feature_eval.h"
#include "profile/link.h"
#include "profile/origin.h"
#include "profile/segments.h"
#include "profile/trait.h"

/* One event on its way into its person. */
struct application {
	struct people *people;
	struct link_context context;
	struct row *rows[2]; /* the fragment's, and its profile's merged row */
	size_t row_count;
	struct slot *head;                 /* of its profile */
	const struct consent_act *consent; /* NULL: the event is none */
	bool took_trait;
	bool is_asked; /* asynchronous enrichers may be asked about it */
};

/* ── identity ────────────────────────────────────────────────────────────── */

static const struct identifier *pick_strongest(const struct identifiers *identifiers)
{
	for (size_t i = 0; i < identifiers->count; i++)
		if (!identifiers->items[i].is_blocked) return &identifiers->items[i];
	return NULL;
}

/* An alias' previousId names the visitor of that anonymous id when there is one, else a user. */
static int link_previous(struct application *app)
{
	struct people *people = app->people;
	struct identifier anonymous, user;
	struct slot *slot;
	struct row *row;
	struct str previous = app->context.event->previous_id;
	const struct hash_key *key = &people->key;
	if (identifier_in(people->plan, key, PART_ANONYMOUS_ID, previous, &people->identifiers, &anonymous)) {
		int rc = cache_slot(&people->cache, &anonymous.id, &slot);
		if (!rc) rc = cache_row(&people->cache, slot, false, &row);
		if (rc != ERR_NOT_FOUND) return rc ? rc : link_try(people, &app->context, &anonymous, LINK_ALIAS);
	}
	if (!identifier_in(people->plan, key, PART_USER_ID, previous, &people->identifiers, &user)) return OK;
	return link_try(people, &app->context, &user, LINK_ALIAS);
}

static int link_others(struct application *app, const struct identifier *strongest)
{
	const struct identifiers *identifiers = &app->people->identifiers;
	const struct cdpd_event *event = app->context.event;
	for (size_t i = 0; i < identifiers->count; i++) {
		const struct identifier *other = &identifiers->items[i];
		if (other == strongest) continue;
		int rc = link_try(app->people, &app->context, other, LINK_SAME_EVENT);
		if (rc) return rc;
	}
	return event->type == EVENT_ALIAS && event->previous_id.len ? link_previous(app) : OK;
}

/* Fragments that this event made and that did not join anybody known are new persons. */
static int announce_new(struct application *app)
{
	struct people *people = app->people;
	const struct link_context *context = &app->context;
	for (size_t i = 0; i < context->created_count; i++) {
		struct slot *slot = context->created[i];
		struct component component;
		if (!fragment_id_eq(&slot->fragment.row->profile, &slot->id)) continue;
		int rc = component_of(people, slot, &component);
		if (!rc && !component_existed(&component, context->seq)) {
			rc = component_announce(people, CHANGE_PROFILE, &slot->id, component.members, component.count,
						context->seq, context->t);
		}
		if (rc) return rc;
	}
	return OK;
}

/* The rows the event goes into. */
static int open_rows(struct application *app)
{
	struct people *people = app->people;
	struct row *row = app->context.strongest->fragment.row, *merged;
	app->rows[0] = row;
	app->row_count = 1;
	app->head = app->context.strongest;
	if (fragment_id_eq(&row->profile, &row->id) && !row->has_merged) return OK;
	int rc = cache_slot(&people->cache, &row->profile, &app->head);
	if (!rc) rc = cache_row(&people->cache, app->head, true, &merged);
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	app->rows[app->row_count++] = merged;
	return cache_dirty(&people->cache, app->head, true);
}

/* ── what the event says ─────────────────────────────────────────────────── */

static void see(struct row *row, const struct cdpd_event *event)
{
	if (event->event_time_us < row->first_seen) row->first_seen = event->event_time_us;
	if (!(event->flags & EVENT_INACTIVE) && event->event_time_us > row->last_seen)
		row->last_seen = event->event_time_us;
	row->event_count++;
}

static int put_trait(struct application *app, const struct row_trait *trait)
{
	enum trait_put put;
	struct arena *arena = &app->people->cache.arena;
	if (trait->name.len == 0) return OK;
	int rc = trait_put(app->rows[0], trait, true, arena, &put);
	if (rc || put == TRAIT_LOST) return rc;
	app->took_trait |= put == TRAIT_TAKEN;
	if (put == TRAIT_TAKEN && trait->origin.len) {
		rc = expiry_note(app->people, origin_expiry(trait->origin), &app->rows[0]->id, app->context.t);
		if (rc) return rc;
	}
	if (put == TRAIT_TAKEN)
		cache_grow(&app->people->cache,
			   app->row_count * (trait->name.len + trait->value.len + trait->origin.len));
	if (app->row_count == 1) return OK;
	if (put == TRAIT_TAKEN) return trait_put(app->rows[1], trait, false, arena, &put);
	app->rows[1]->refused_traits++;
	return OK;
}

struct told_by { /* what the origin of an event's traits is made of; all of it may be absent */
	const struct answered_form *form;
	struct str model; /* an origin already */
};

/* Every member of `object` that is not in `over` too. */
static int put_object(struct application *app, struct json object, const struct json *over, struct stamp *stamp,
		      const struct told_by *by)
{
	struct people *people = app->people;
	struct json_iter it;
	struct json value, hidden;
	struct str name;
	uint8_t origin[ORIGIN_MAX];
	uint32_t flags = app->context.event->flags;
	enum provenance provenance = flags & EVENT_DECLARED   ? PROVENANCE_DECLARED
				     : flags & EVENT_INFERRED ? PROVENANCE_INFERRED
							      : PROVENANCE_OBSERVED;
	for (json_iter_start(object, &it); json_next_member(&it, &name, &value);) {
		if (over && json_get(*over, name, &hidden)) continue;
		buf_clear(&people->json);
		int rc = json_write(&people->json, value);
		if (rc) return rc;
		struct row_trait trait = {
		    .name = name,
		    .value = buf_str(&people->json),
		    .origin = by->form ? str_of(origin, answered_form_origin(by->form, name, origin)) : by->model,
		    .stamp = stamp,
		    .provenance = provenance};
		rc = put_trait(app, &trait);
		if (rc) return rc;
	}
	return OK;
}

static int make_stamp(struct application *app, struct stamp **out)
{
	struct arena *arena = &app->people->cache.arena;
	const struct cdpd_event *event = app->context.event;
	struct stamp *stamp = arena_new(arena, struct stamp);
	if (!stamp) return ERR_NOMEM;
	stamp->time = event->event_time_us;
	int rc = arena_str(arena, event->source_id, &stamp->source);
	if (!rc) rc = arena_str(arena, event->message_id, &stamp->message_id);
	*out = stamp;
	return rc;
}

static int decode_traits(struct application *app)
{
	struct cache *cache = &app->people->cache;
	int rc = cache_cold(cache, app->context.strongest, false);
	return rc || app->row_count == 1 ? rc : cache_cold(cache, app->head, true);
}

/* Traits of an identify lie over those of its context. */
static int apply_traits(struct application *app)
{
	struct event_view *view = &app->people->view;
	struct event_field in_context = {PART_CONTEXT, STR("traits")};
	struct json traits, context;
	struct stamp *stamp;
	uint8_t model[ORIGIN_MAX];
	size_t model_len = 0;
	int rc_traits = event_view_root(view, PART_TRAITS, &traits);
	int rc_context = event_view_get(view, &in_context, &context);
	if (rc_traits == ERR_NOMEM || rc_context == ERR_NOMEM) return ERR_NOMEM;
	if (!rc_context && json_type(context) != JSON_OBJECT) rc_context = ERR_NOT_FOUND;
	if (rc_traits && rc_context) return OK;
	int rc = decode_traits(app);
	if (!rc) rc = make_stamp(app, &stamp);
	if (!rc && app->context.event->flags & EVENT_INFERRED) rc = scoring_model_origin(view, model, &model_len);
	const struct told_by by = {.model = model_len ? str_of((const char *)model, model_len) : STR_NONE};
	if (!rc && !rc_traits) rc = put_object(app, traits, NULL, stamp, &by);
	if (!rc && !rc_context) rc = put_object(app, context, rc_traits ? NULL : &traits, stamp, &by);
	return rc;
}

/* The person token that brought the answers was for a single use. */
static int use_token(struct application *app)
{
	struct people *people = app->people;
	const struct event_field id_field = {PART_PROPERTIES, STR("singleUse.id")};
	const struct event_field expires_field = {PART_PROPERTIES, STR("singleUse.expires")};
	uint8_t id[CONSENT_TOKEN_SIZE];
	struct json value;
	struct str hex;
	int64_t expires;
	int rc = event_view_get(&people->view, &id_field, &value);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	if (!json_str(value, &hex) || hex_decode(hex, id, sizeof id) != OK) return OK;
	rc = event_view_get(&people->view, &expires_field, &value);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	if (!json_int(value, &expires)) return OK;
	return consent_token_use(people->txn, &people->tables, expires, id, app->context.seq, app->context.t);
}

/* A track of a form's answers: what the person told us becomes traits, each with where it was asked. */
static int apply_answers(struct application *app)
{
	struct event_view *view = &app->people->view;
	struct answered_form form;
	struct json traits;
	struct stamp *stamp;
	int rc = event_view_root(view, PART_TRAITS, &traits);
	if (rc) return rc == ERR_NOMEM ? rc : OK;
	rc = answered_form_read(view, &form);
	if (!rc) rc = use_token(app);
	if (!rc) rc = decode_traits(app);
	if (!rc) rc = make_stamp(app, &stamp);
	const struct told_by by = {.form = &form, .model = STR_NONE};
	return rc ? rc : put_object(app, traits, NULL, stamp, &by);
}

/* What the event waits for, before its features are counted; afterwards it is noted. */
static int look_at_awaits(struct application *app, struct feature_tally *tally)
{
	struct people *people = app->people;
	int rc = awaits_of_event(people->plan, &people->view, &tally->awaits);
	if (rc || !tally->awaits) return rc;
	tally->deferred = arena_array(&people->cache.arena, uint64_t, people->plan->feature_count + 1);
	return tally->deferred ? OK : ERR_NOMEM;
}

static int count_features(struct application *app, struct feature_tally *tally)
{
	struct people *people = app->people;
	const struct link_context *context = &app->context;
	int rc = app->is_asked ? look_at_awaits(app, tally) : OK;
	if (!rc)
		rc =
		    features_apply(people->plan, &people->view, app->rows, app->row_count, &people->cache.arena, tally);
	if (rc || !tally->awaits) return rc;
	return awaits_put(people, context->seq, context->t, tally->awaits, tally->deferred, tally->deferred_count);
}

static int apply_content(struct application *app)
{
	struct people *people = app->people;
	struct feature_tally tally = {0};
	for (size_t i = 0; i < app->row_count; i++) {
		see(app->rows[i], app->context.event);
		features_drop_unknown(people->plan, app->rows[i]);
	}
	int rc = count_features(app, &tally);
	if (tally.refused) metric_add(people->refused_inputs, tally.refused);
	if (tally.grown) cache_grow(&people->cache, tally.grown);
	if (rc) return rc;
	const struct cdpd_event *event = app->context.event;
	if (people->is_private) return OK;
	if (event->type == EVENT_IDENTIFY) return apply_traits(app);
	bool is_answer = event->type == EVENT_TRACK && (event->flags & EVENT_DECLARED);
	return is_answer ? apply_answers(app) : OK;
}

static int apply_consent(struct application *app, struct apply_result *out)
{
	int rc = decode_traits(app);
	if (rc) return rc;
	if (!consent_act_fits(app->rows[0], app->consent)) {
		*out = (struct apply_result){.verdict = OUTCOME_REFUSED, .reason = OUTCOME_REASON_CONSENT_LIMIT};
		return OK;
	}
	return consent_act_apply(app->people, app->consent, app->rows, app->row_count, app->head, app->context.t);
}

/* Fragments that this event made stand alone when their link was refused. */
static int look_at_segments(struct application *app)
{
	struct people *people = app->people;
	const struct link_context *context = &app->context;
	for (size_t i = 0; i < context->created_count; i++) {
		if (context->created[i] == app->head) continue;
		int rc = segments_profile_changed(people, context->created[i], context->seq, context->t);
		if (rc) return rc;
	}
	const struct segment_event event = {.head = app->head,
					    .view = app->rows[app->row_count - 1],
					    .is_identity = context->created_count > 0,
					    .took_trait = app->took_trait || app->consent,
					    .seq = context->seq,
					    .t = context->t};
	return segments_event(people, &event);
}

static int apply(struct application *app, const struct identifier *strongest, struct apply_result *out)
{
	struct people *people = app->people;
	int rc = fragment_take(people, strongest, &app->context, &app->context.strongest);
	if (!rc) rc = link_others(app, strongest);
	if (!rc && app->context.created_count) rc = announce_new(app);
	if (!rc) rc = open_rows(app);
	if (!rc && app->consent) rc = apply_consent(app, out);
	if (rc || out->verdict != OUTCOME_APPLIED) return rc;
	rc = apply_content(app);
	if (rc) return rc;
	struct row *row = app->rows[0];
	out->fragment = row->id;
	out->previous_seq = row->chain_head;
	row->chain_head = app->context.seq;
	rc = cache_dirty(&people->cache, app->context.strongest, false);
	if (!rc) rc = look_at_segments(app);
	return rc ? rc : cache_view(&people->cache, app->head, app->context.seq, app->context.t);
}

/* May asynchronous enrichers be asked about it? */
static int may_be_enriched(struct people *people, const struct identifier *strongest, int64_t t, bool *out)
{
	bool is_denied = false;
	int rc = OK;
	*out = people->plan->enricher_count && !(people->view.event->flags & (EVENT_CONSENT | EVENT_UNENRICHED));
	if (*out && people->plan->definitions.consent.gates_enrich)
		rc = consent_gate(people, strongest, STAGE_ENRICH, t, &is_denied);
	*out &= !is_denied;
	return rc;
}

int people_apply(struct people *people, const struct cdpd_event *event, uint64_t seq, int64_t t,
		 struct apply_result *out)
{
	struct application app;
	struct consent_act act;
	bool is_denied = false;
	app.consent = NULL;
	app.people = people;
	app.context.event = event;
	app.context.seq = seq;
	app.context.t = t;
	app.context.created_count = app.context.attempt_count = 0;
	app.took_trait = false;
	*out = (struct apply_result){.verdict = OUTCOME_REFUSED, .reason = OUTCOME_REASON_NO_IDENTIFIER};
	CHECK(people->txn);
	if (!people->plan) return OK;
	event_view_set(&people->view, event);
	int rc = identifiers_collect(people->plan, &people->key, &people->view, &people->identifiers);
	if (rc) return rc;
	if (people->identifiers.count == 0) return OK;
	out->reason = OUTCOME_REASON_BLOCKED_IDENTIFIER;
	const struct identifier *strongest = pick_strongest(&people->identifiers);
	if (!strongest) return OK;
	out->verdict = OUTCOME_APPLIED;
	out->reason = OUTCOME_REASON_NONE;
	if (people->has_erased || people->has_suppressed) {
		rc = blocks_judge(people, strongest, event, seq, out);
		if (rc || out->verdict != OUTCOME_APPLIED) return rc;
	}
	if (event->flags & EVENT_CONSENT) {
		rc = consent_act_read(people, seq, &act, out);
		app.consent = &act;
	} else if (people->plan->definitions.consent.gates_ingest) {
		rc = consent_gate(people, strongest, STAGE_INGEST, t, &is_denied);
		if (!rc && is_denied)
			*out = (struct apply_result){.verdict = OUTCOME_DENIED, .reason = OUTCOME_REASON_CONSENT};
	}
	if (rc || out->verdict != OUTCOME_APPLIED) return rc;
	rc = may_be_enriched(people, strongest, t, &app.is_asked);
	return rc ? rc : apply(&app, strongest, out);
}

/* ── erased events ───────────────────────────────────────────────────────── */

/* Identities are decided as they were when the event was whole, so that whoever is not erased stays who they are. */
static int relive(struct application *app, const struct erased_event *erased)
{
	struct people *people = app->people;
	struct identifiers *all = &people->identifiers;
	const struct identifier *strongest = &all->items[0];
	struct identifier previous;
	int rc = fragment_take(people, strongest, &app->context, &app->context.strongest);
	for (size_t i = 1; !rc && i < all->count; i++)
		rc = link_try(people, &app->context, &all->items[i], LINK_SAME_EVENT);
	if (!rc && erased->previous_anonymous.len) {
		struct slot *slot;
		struct row *row;
		identifier_from_text(people, erased->previous_anonymous, &previous);
		rc = cache_slot(&people->cache, &previous.id, &slot);
		if (!rc) rc = cache_row(&people->cache, slot, false, &row);
		if (rc != ERR_NOT_FOUND) return rc ? rc : link_try(people, &app->context, &previous, LINK_ALIAS);
		rc = OK;
	}
	if (rc || !erased->previous_user.len) return rc;
	identifier_from_text(people, erased->previous_user, &previous);
	return link_try(people, &app->context, &previous, LINK_ALIAS);
}

int people_apply_erased(struct people *people, const struct erased_event *erased, uint64_t seq, int64_t t)
{
	struct cdpd_event event = {
	    .rights = erased->rights, .flags = erased->flags, .event_time_us = erased->event_time_us};
	struct application app = {.people = people, .context = {.event = &event, .seq = seq, .t = t}};
	struct identifiers *all = &people->identifiers;
	CHECK(people->txn);
	if (!erased->identifier_count || !people->plan) return OK;
	all->count = all->text_count = 0;
	for (size_t i = 0; i < erased->identifier_count && i < PLAN_NAMESPACES_MAX; i++)
		identifier_from_text(people, erased->identifiers[i], &all->items[all->count++]);
	int rc = relive(&app, erased);
	return rc || !app.context.created_count ? rc : announce_new(&app);
}
