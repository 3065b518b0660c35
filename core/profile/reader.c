#include "profile/reader.h"

#include <stdlib.h>

#include "profile/backfill_state.h"
#include "profile/erase.h"
#include "profile/feature_eval.h"
#include "profile/link_row.h"
#include "profile/origin.h"
#include "profile/trait.h"

int people_reader_new(struct people *people, struct people_reader **out)
{
	*out = NULL;
	struct people_reader *reader = calloc(1, sizeof *reader);
	if (!reader) return ERR_NOMEM;
	int rc = store_begin(people->env, false, &reader->txn);
	if (rc) {
		free(reader);
		return rc;
	}
	store_reset(reader->txn);
	reader->people = people;
	*out = reader;
	return OK;
}

void people_reader_free(struct people_reader *reader)
{
	if (!reader) return;
	people_read_end(reader);
	store_abort(reader->txn);
	plan_free(reader->plan);
	free(reader);
}

static int refresh(struct people_reader *reader)
{
	store_db meta = reader->people->tables.meta;
	int rc = checkpoint_read(reader->txn, meta, &reader->checkpoint);
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	uint64_t have = reader->plan ? reader->plan->seq : 0;
	if (reader->checkpoint.plan_seq == have) return OK;
	plan_free(reader->plan);
	rc = plan_read(reader->txn, meta, &reader->plan);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

int people_read_begin(struct people_reader *reader, uint64_t *applied)
{
	CHECK(!reader->is_open);
	int rc = store_renew(reader->txn);
	if (rc) return rc;
	reader->is_open = true;
	rc = refresh(reader);
	if (rc) people_read_end(reader);
	*applied = reader->checkpoint.applied;
	return rc;
}

void people_read_end(struct people_reader *reader)
{
	if (!reader->is_open) return;
	reader->is_open = false;
	store_reset(reader->txn);
}

int reader_row(struct people_reader *reader, const struct fragment_id *id, bool is_merged, bool with_cold,
	       struct arena *arena, struct row **out)
{
	struct stored_row stored;
	struct str hot, cold;
	store_db rows = reader->people->tables.rows;
	CHECK(reader->is_open);
	int rc = stored_row_read(reader->txn, rows, id, is_merged, arena, &stored);
	if (rc) return rc;
	if (with_cold || stored_row_hot_needs_tail(&stored))
		rc = stored_row_read_tail(reader->txn, rows, id, is_merged, arena, &stored);
	if (!rc) rc = stored_row_sections(&stored, arena, &hot, &cold);
	struct row *row = rc ? NULL : arena_alloc(arena, sizeof *row);
	if (!rc && !row) rc = ERR_NOMEM;
	if (!rc) rc = row_decode_hot(hot, arena, id, is_merged, row);
	if (!rc && with_cold) rc = row_decode_cold(cold, arena, row);
	*out = row;
	return rc;
}

static int found_row(int rc)
{
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc; /* what a row points to must be there */
}

/* ── one profile ─────────────────────────────────────────────────────────── */

struct lookup {
	struct people_reader *reader;
	struct arena *arena;
	unsigned parts;
	int64_t now;
	const struct row *view; /* the row that shows the profile */
	struct row **fragments; /* strongest first; loaded when a part needs them */
	size_t fragment_count;
};

static int parse_ref(const struct people_reader *reader, struct str ref, struct fragment_id *id,
		     char memory[ROW_IDENTIFIER_MAX], struct str *identifier)
{
	*identifier = STR_NONE;
	if (str_starts(ref, STR("id:"))) return fragment_id_parse((struct str){ref.ptr + 3, ref.len - 3}, id);
	int rc = identifier_normalize(reader->plan, ref, memory, identifier);
	if (!rc) fragment_id_make(&reader->people->key, *identifier, id);
	return rc;
}

static int load_view(struct lookup *lookup, struct row *fragment)
{
	struct people_reader *reader = lookup->reader;
	struct row *view = NULL;
	bool is_alone = fragment_id_eq(&fragment->profile, &fragment->id) && !fragment->has_merged;
	lookup->view = fragment;
	if (is_alone) return OK;
	int rc = reader_row(reader, &fragment->profile, true, true, lookup->arena, &view);
	lookup->view = view;
	return found_row(rc);
}

static int load_fragments(struct lookup *lookup, struct row *fragment)
{
	size_t count = lookup->view->is_merged ? lookup->view->member_count : 1;
	bool with_cold = lookup->parts & PROFILE_LOSERS;
	lookup->fragments = arena_array(lookup->arena, struct row *, count);
	if (!lookup->fragments) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		if (!lookup->view->is_merged) {
			lookup->fragments[i] = fragment;
			continue;
		}
		int rc = reader_row(lookup->reader, &lookup->view->members[i].id, false, with_cold, lookup->arena,
				    &lookup->fragments[i]);
		if (rc) return found_row(rc);
	}
	lookup->fragment_count = count;
	return OK;
}

static int64_t shown_time(int64_t time)
{
	return time == ROW_TIME_NONE || time == INT64_MAX ? 0 : time;
}

static int fill_identifiers(const struct lookup *lookup, struct profile *out)
{
	out->identifiers = arena_array(lookup->arena, struct profile_identifier, lookup->fragment_count);
	if (!out->identifiers) return ERR_NOMEM;
	for (size_t i = 0; i < lookup->fragment_count; i++) {
		const struct row *row = lookup->fragments[i];
		out->identifiers[i] = (struct profile_identifier){.namespace_ = identifier_namespace(row->identifier),
								  .value = identifier_value(row->identifier),
								  .fragment = row->id,
								  .first_seq = row->created_seq,
								  .first_seen = shown_time(row->first_seen),
								  .last_seen = shown_time(row->last_seen),
								  .event_count = row->event_count,
								  .chain_head = row->chain_head};
	}
	out->identifier_count = lookup->fragment_count;
	return OK;
}

static struct profile_trait shown_trait(const struct row_trait *trait, bool is_winner)
{
	struct trait_origin origin = {.form = STR_NONE, .question = STR_NONE};
	if (trait->origin.len && origin_decode(trait->origin, &origin) != OK)
		origin = (struct trait_origin){.form = STR_NONE, .question = STR_NONE};
	return (struct profile_trait){.name = trait->name,
				      .value = trait->value,
				      .provenance = trait->provenance,
				      .updated_at = trait->stamp->time,
				      .source = trait->stamp->source,
				      .origin = origin,
				      .is_winner = is_winner};
}

static int fill_winners(const struct lookup *lookup, struct profile *out)
{
	const struct row *view = lookup->view;
	out->traits = arena_array(lookup->arena, struct profile_trait, view->trait_count + 1);
	if (!out->traits) return ERR_NOMEM;
	for (size_t i = 0; i < view->trait_count; i = trait_next_name(view, i)) {
		const struct row_trait *winner = trait_in_force(view, i, lookup->now);
		if (winner) out->traits[out->trait_count++] = shown_trait(winner, true);
	}
	return OK;
}

static bool is_same_trait(const struct row_trait *a, const struct row_trait *b)
{
	return a->provenance == b->provenance && a->stamp->time == b->stamp->time && str_eq(a->value, b->value) &&
	       str_eq(a->stamp->message_id, b->stamp->message_id) && str_eq(a->stamp->source, b->stamp->source);
}

/* By name; within a name the stronger class, then the newer value first. */
static int order_told(const void *a, const void *b)
{
	const struct row_trait *x = *(const struct row_trait *const *)a, *y = *(const struct row_trait *const *)b;
	int order = str_cmp(x->name, y->name);
	if (!order) order = (int)x->provenance - (int)y->provenance;
	if (!order) order = x->stamp->time > y->stamp->time ? -1 : x->stamp->time < y->stamp->time;
	if (!order) order = str_cmp(y->stamp->message_id, x->stamp->message_id);
	if (!order) order = str_cmp(y->stamp->source, x->stamp->source);
	return order ? order : str_cmp(y->value, x->value);
}

/* Index of the winner: the newest value of the strongest class whose newest value has not expired; `count`: none. */
static size_t find_in_force(const struct row_trait *const *values, size_t count, int64_t now)
{
	for (size_t i = 0; i < count; i++) {
		bool is_newest = i == 0 || values[i]->provenance != values[i - 1]->provenance;
		if (is_newest && !origin_is_expired(values[i]->origin, now)) return i;
	}
	return count;
}

/* All values of one name, as told: the winner goes first. */
static void fill_name(const struct lookup *lookup, const struct row_trait *const *values, size_t count,
		      struct profile *out)
{
	size_t winner = find_in_force(values, count, lookup->now);
	if (winner < count) out->traits[out->trait_count++] = shown_trait(values[winner], true);
	for (size_t i = 0; i < count; i++) {
		if (i == winner || (i > 0 && is_same_trait(values[i], values[i - 1]))) continue;
		struct profile_trait *shown = &out->traits[out->trait_count++];
		*shown = shown_trait(values[i], false);
		shown->is_expired = origin_is_expired(values[i]->origin, lookup->now);
	}
}

/* The values of all fragments. */
static int fill_all_traits(const struct lookup *lookup, struct profile *out)
{
	size_t room = 0, n = 0;
	for (size_t i = 0; i < lookup->fragment_count; i++) room += lookup->fragments[i]->trait_count;
	const struct row_trait **all = arena_array(lookup->arena, const struct row_trait *, room + 1);
	out->traits = arena_array(lookup->arena, struct profile_trait, room + 1);
	if (!all || !out->traits) return ERR_NOMEM;
	for (size_t i = 0; i < lookup->fragment_count; i++)
		for (size_t k = 0; k < lookup->fragments[i]->trait_count; k++)
			all[n++] = &lookup->fragments[i]->traits[k];
	qsort(all, n, sizeof(struct row_trait *), order_told);
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && str_eq(all[end]->name, all[i]->name);) end++;
		fill_name(lookup, all + i, end - i, out);
	}
	return OK;
}

static int order_texts(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int order_names(const void *a, const void *b)
{
	return str_cmp(((const struct profile_feature *)a)->name, ((const struct profile_feature *)b)->name);
}

static void show_since(const struct plan_feature *feature, const struct backfill_state *state,
		       struct profile_feature *shown)
{
	const struct backfill_feature *item = backfill_find(state, feature->key);
	shown->since_seq = item ? item->from : feature->def.since_seq;
	shown->since_t = item ? item->from_t : INT64_MIN;
	shown->is_complete = !item || item->is_done;
}

static int fill_features(const struct lookup *lookup, struct profile *out)
{
	const struct plan *plan = lookup->reader->plan;
	char json[FEATURE_JSON_MAX];
	struct backfill_state since;
	if (!plan || !plan->feature_count) return OK;
	int rc = backfill_read(lookup->reader->txn, lookup->reader->people->tables.meta, &since);
	if (rc) return rc;
	out->features = arena_array(lookup->arena, struct profile_feature, plan->feature_count + 1);
	if (!out->features) return ERR_NOMEM;
	for (size_t i = 0; i < plan->feature_count; i++) {
		const struct plan_feature *feature = &plan->features[i];
		struct profile_feature *shown = &out->features[i];
		size_t len = feature_read(feature, row_feature_find(lookup->view, feature->key), lookup->now, json);
		rc = arena_str(lookup->arena, (struct str){json, len}, &shown->value);
		if (!rc) rc = arena_str(lookup->arena, feature->def.name, &shown->name);
		if (!rc) rc = arena_str(lookup->arena, feature->def.type, &shown->type);
		if (rc) return rc;
		show_since(feature, &since, shown);
	}
	out->feature_count = plan->feature_count;
	qsort(out->features, out->feature_count, sizeof *out->features, order_names);
	return OK;
}

static int fill_consents(const struct lookup *lookup, struct profile *out)
{
	const struct consent_list *list = &lookup->view->consents;
	out->consents = arena_array(lookup->arena, struct profile_consent, list->count + 1);
	if (!out->consents) return ERR_NOMEM;
	for (size_t i = 0; i < list->count; i++)
		out->consents[i] =
		    (struct profile_consent){list->items[i], consent_state_at(&list->items[i], lookup->now)};
	out->consent_count = list->count;
	return OK;
}

/* Names of what is defined: somebody may still be in a segment that is on its way out. */
static int fill_segments(const struct lookup *lookup, struct profile *out)
{
	const struct row *view = lookup->view;
	const struct plan *plan = lookup->reader->plan;
	if (!plan || view->segment_count == 0) return OK;
	out->segments = arena_array(lookup->arena, struct str, view->segment_count);
	if (!out->segments) return ERR_NOMEM;
	for (size_t i = 0; i < view->segment_count; i++) {
		const struct segment *segment = segment_find(plan->segments, view->segments[i]);
		int rc = segment ? arena_str(lookup->arena, segment->name, &out->segments[out->segment_count++]) : OK;
		if (rc) return rc;
	}
	if (out->segment_count) qsort(out->segments, out->segment_count, sizeof *out->segments, order_texts);
	return OK;
}

static int fill(struct lookup *lookup, struct row *fragment, struct profile *out)
{
	const struct row *view = lookup->view;
	*out = (struct profile){.id = fragment->profile,
				.requested_id = fragment->id,
				.first_seen = shown_time(view->first_seen),
				.last_seen = shown_time(view->last_seen),
				.event_count = view->event_count,
				.refused_traits = view->refused_traits};
	int rc = fill_segments(lookup, out);
	if (!rc && lookup->parts & (PROFILE_IDENTIFIERS | PROFILE_LOSERS)) rc = load_fragments(lookup, fragment);
	if (!rc && lookup->parts & PROFILE_IDENTIFIERS) rc = fill_identifiers(lookup, out);
	if (!rc && lookup->parts & PROFILE_LOSERS)
		rc = fill_all_traits(lookup, out);
	else if (!rc && lookup->parts & PROFILE_TRAITS)
		rc = fill_winners(lookup, out);
	if (!rc && lookup->parts & PROFILE_FEATURES) rc = fill_features(lookup, out);
	if (!rc && lookup->parts & PROFILE_CONSENTS) rc = fill_consents(lookup, out);
	return rc;
}

int people_get(struct people_reader *reader, struct str ref, unsigned parts, int64_t now, struct arena *arena,
	       struct profile *out)
{
	struct lookup lookup = {.reader = reader, .arena = arena, .parts = parts, .now = now};
	char memory[ROW_IDENTIFIER_MAX];
	struct fragment_id id;
	struct str identifier;
	struct row *fragment;
	int rc = parse_ref(reader, ref, &id, memory, &identifier);
	bool with_cold = parts & (PROFILE_TRAITS | PROFILE_LOSERS | PROFILE_CONSENTS);
	if (!rc) rc = reader_row(reader, &id, false, with_cold, arena, &fragment);
	if (rc) return rc;
	/* In a rebuild somebody erased is there by their hash until the erasure is reached. */
	if (identifier.len && !str_eq(identifier, fragment->identifier))
		return identifier_is_hashed(fragment->identifier) ? ERR_NOT_FOUND : ERR_CORRUPT;
	rc = load_view(&lookup, fragment);
	return rc ? rc : fill(&lookup, fragment, out);
}

int people_resolve(struct people_reader *reader, struct str ref, struct arena *arena, struct str *identifier)
{
	char memory[ROW_IDENTIFIER_MAX];
	struct fragment_id id;
	struct row *fragment;
	int rc = parse_ref(reader, ref, &id, memory, identifier);
	if (!rc) rc = reader_row(reader, &id, false, false, arena, &fragment);
	if (rc) return rc;
	if (identifier->len && !str_eq(*identifier, fragment->identifier)) return ERR_CORRUPT;
	*identifier = fragment->identifier;
	return OK;
}

int people_profile_of(struct people_reader *reader, struct str identifier, struct arena *arena, struct fragment_id *out)
{
	struct fragment_id id;
	struct row *fragment;
	fragment_id_make(&reader->people->key, identifier, &id);
	int rc = reader_row(reader, &id, false, false, arena, &fragment);
	if (!rc) *out = fragment->profile;
	return rc;
}

int people_person_of(struct people_reader *reader, const struct fragment_id *fragment, struct arena *arena,
		     struct fragment_id *out)
{
	struct row *row;
	CHECK(reader->is_open);
	int rc = reader_row(reader, fragment, false, false, arena, &row);
	if (!rc) *out = row->profile;
	return rc;
}

int people_find_act(struct people_reader *reader, enum people_act_kind kind, struct str a, struct str b, uint64_t seq,
		    struct arena *arena, struct link_row *out)
{
	struct link key = {.rule = kind == PEOPLE_MERGE ? LINK_MERGE | LINK_TRUSTED : LINK_UNMERGE, .seq = seq}, link;
	const struct hash_key *hash_key = &reader->people->key;
	CHECK(reader->is_open);
	fragment_id_make(hash_key, a, &key.fragment);
	fragment_id_make(hash_key, b, &key.other);
	int rc = link_get(reader->txn, reader->people->tables.links, &key, &link);
	return rc ? rc : link_show(&link, a, arena, out);
}

int reader_members(struct people_reader *reader, const struct fragment_id *profile, struct arena *arena,
		   struct row_member **members, size_t *count)
{
	struct row *row;
	int rc = reader_row(reader, profile, true, true, arena, &row);
	if (!rc) {
		*members = row->members;
		*count = row->member_count;
		return OK;
	}
	if (rc == ERR_NOT_FOUND) rc = reader_row(reader, profile, false, false, arena, &row);
	struct row_member *self = rc ? NULL : arena_new(arena, struct row_member);
	if (!rc && !self) rc = ERR_NOMEM;
	if (rc) return rc;
	*self = (struct row_member){row->id, row->created_seq, row->identifier};
	*members = self;
	*count = 1;
	return OK;
}
