#include "profile/delta.h"

#include "profile/change_row.h"
#include "profile/feature_eval.h"
#include "profile/trait.h"

/* ── a change being written ──────────────────────────────────────────────── */

struct draft {
	struct people *people;
	const struct slot *slot;
	enum change_kind kind;
	struct json_out out;
	bool is_open;
};

static void open_draft(struct draft *draft)
{
	if (draft->is_open) return;
	buf_clear(&draft->people->json);
	json_out_init(&draft->out, &draft->people->json);
	jo_object(&draft->out);
	jo_key(&draft->out, draft->kind == CHANGE_TRAIT ? STR("traits") : STR("features"));
	jo_object(&draft->out);
	draft->is_open = true;
}

static int close_draft(struct draft *draft)
{
	if (!draft->is_open) return OK;
	draft->is_open = false;
	jo_end_object(&draft->out);
	jo_end_object(&draft->out);
	if (draft->out.status) return draft->out.status;
	struct change change = {.kind = draft->kind,
				.cause_seq = draft->slot->cause_seq,
				.t = draft->slot->cause_t,
				.body = buf_str(&draft->people->json)};
	memcpy(change.profile, draft->slot->id.bytes, sizeof change.profile);
	return people_append_change(draft->people, &change);
}

/* A body that grew long is closed; the next value begins another change. */
static int end_value(struct draft *draft)
{
	if (draft->out.status) return draft->out.status;
	return draft->people->json.len > CHANGE_BODY_USUAL ? close_draft(draft) : OK;
}

/* ── features ────────────────────────────────────────────────────────────── */

static bool is_same_state(const struct row_feature *a, const struct row_feature *b)
{
	return a && b && a->len == b->len && memcmp(a->state, b->state, a->len) == 0;
}

static int compare_feature(struct draft *draft, const struct plan_feature *feature, const struct row *old,
			   const struct row_feature *state)
{
	char now[FEATURE_JSON_MAX], before[FEATURE_JSON_MAX];
	const struct row_feature *was = old ? row_feature_find(old, feature->key) : NULL;
	if (is_same_state(was, state)) return OK;
	struct str value = {now, feature_read(feature, state, draft->slot->cause_t, now)};
	if (was && !feature->tells) {
		size_t len = feature_read(feature, was, draft->slot->cause_t, before);
		if (str_eq(value, (struct str){before, len})) return OK;
	}
	open_draft(draft);
	jo_key(&draft->out, feature->def.name);
	jo_raw(&draft->out, value);
	return end_value(draft);
}

/* After a split: what only others have seen reads as if nothing had been. */
static int tell_gone_features(struct draft *draft, const struct row *old, const struct row *new)
{
	for (size_t i = 0; i < old->feature_count; i++) {
		uint64_t key = old->features[i].key;
		const struct plan_feature *feature = plan_feature_find(draft->people->plan, key);
		if (!feature || !feature->def.impl || row_feature_find(new, key)) continue;
		int rc = compare_feature(draft, feature, old, NULL);
		if (rc) return rc;
	}
	return OK;
}

static int compare_features(struct people *people, const struct slot *slot, const struct row *old,
			    const struct row *new)
{
	struct draft draft = {.people = people, .slot = slot, .kind = CHANGE_FEATURE};
	if (old && slot->has_new_members) {
		int rc = tell_gone_features(&draft, old, new);
		if (rc) return rc;
	}
	for (size_t i = 0; i < new->feature_count; i++) {
		const struct plan_feature *feature = plan_feature_find(people->plan, new->features[i].key);
		if (!feature || !feature->def.impl) continue;
		int rc = compare_feature(&draft, feature, old, &new->features[i]);
		if (rc) return rc;
	}
	return close_draft(&draft);
}

/* ── traits ──────────────────────────────────────────────────────────────── */

/* After a split: a trait that only others have told is null here. */
static int tell_gone_traits(struct draft *draft, const struct row *old, const struct row *new)
{
	for (size_t i = 0; i < old->trait_count; i = trait_next_name(old, i)) {
		if (trait_winner(new, old->traits[i].name, draft->slot->cause_t)) continue;
		open_draft(draft);
		jo_key(&draft->out, old->traits[i].name);
		jo_raw(&draft->out, STR("{\"value\":null}"));
		int rc = end_value(draft);
		if (rc) return rc;
	}
	return OK;
}

/* NULL: a value that had run out when it came took the place of one that counted. */
static int tell_trait(struct draft *draft, struct str name, const struct row_trait *winner)
{
	open_draft(draft);
	jo_key(&draft->out, name);
	if (!winner) {
		jo_raw(&draft->out, STR("{\"value\":null}"));
		return end_value(draft);
	}
	jo_object(&draft->out);
	jo_key(&draft->out, STR("value"));
	jo_raw(&draft->out, winner->value);
	jo_key(&draft->out, STR("provenance"));
	jo_str(&draft->out, str_from(provenance_name(winner->provenance)));
	jo_end_object(&draft->out);
	return end_value(draft);
}

static bool is_shown_alike(const struct row_trait *a, const struct row_trait *b)
{
	if (!a || !b) return !a && !b;
	return a->provenance == b->provenance && str_eq(a->value, b->value);
}

static int compare_traits(struct people *people, const struct slot *slot, const struct row *old, const struct row *new)
{
	struct draft draft = {.people = people, .slot = slot, .kind = CHANGE_TRAIT};
	if (old && slot->has_new_members) {
		int rc = tell_gone_traits(&draft, old, new);
		if (rc) return rc;
	}
	for (size_t i = 0; i < new->trait_count; i = trait_next_name(new, i)) {
		const struct row_trait *winner = trait_in_force(new, i, slot->cause_t);
		struct str name = new->traits[i].name;
		/* What ran out in this transaction and had been replaced before was not told. */
		const struct row_trait *before = old ? trait_winner(old, name, people->committed.applied_t) : NULL;
		const struct row_trait *since =
		    before && before->origin.len ? trait_winner(old, name, slot->cause_t) : before;
		if (!slot->has_expired && is_shown_alike(before, winner) && is_shown_alike(since, winner)) continue;
		if (!winner && slot->has_new_members) continue; /* told as gone */
		int rc = tell_trait(&draft, name, winner);
		if (rc) return rc;
	}
	return close_draft(&draft);
}

/* ── profiles ────────────────────────────────────────────────────────────── */

/* The row that shows the profile this slot heads, now; NULL: it heads none any more. */
static struct row *current_view(const struct slot *slot)
{
	const struct row *fragment = slot->fragment.row;
	if (!slot->fragment.is_loaded) return slot->merged.row; /* only the merged row was touched */
	if (!fragment || !fragment_id_eq(&fragment->profile, &slot->id)) return NULL;
	return fragment->has_merged ? slot->merged.row : slot->fragment.row;
}

/* The same as the transaction found it; NULL: the profile is new under this id. */
static int original_view(struct people *people, const struct slot *slot, bool with_cold, struct row **out)
{
	struct row *fragment = NULL;
	*out = NULL;
	int rc = cache_original(&people->cache, slot, true, with_cold, out);
	if (rc || *out) return rc;
	rc = cache_original(&people->cache, slot, false, with_cold, &fragment);
	if (!rc && fragment && fragment_id_eq(&fragment->profile, &slot->id)) *out = fragment;
	return rc;
}

static int append_one(struct people *people, const struct slot *slot)
{
	struct row *old, *new = current_view(slot);
	if (!new) return OK;
	bool with_cold = new->is_cold_decoded && (new->is_cold_changed || slot->has_new_members || slot->is_forgotten);
	int rc = original_view(people, slot, with_cold, &old);
	if (slot->is_forgotten) old = NULL;
	if (!rc && with_cold) rc = compare_traits(people, slot, old, new);
	return rc ? rc : compare_features(people, slot, old, new);
}

int delta_append_all(struct people *people)
{
	for (size_t i = 0; i < people->cache.viewed.count; i++) {
		int rc = append_one(people, people->cache.viewed.items[i]);
		if (rc) return rc;
	}
	return OK;
}
