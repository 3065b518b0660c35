#include "profile/segment_eval.h"

#include "base/clock.h"
#include "profile/consent.h"
#include "profile/origin.h"
#include "profile/trait.h"

bool segment_keys_have(const uint64_t *keys, size_t count, uint64_t key)
{
	size_t at = 0;
	while (at < count && keys[at] < key) at++;
	return at < count && keys[at] == key;
}

static int cold(struct segment_person *person)
{
	return person->view->is_cold_decoded ? OK : person->decode_cold(person->ctx);
}

/* ── values, one function for each kind of subject ───────────────────────── */

static struct segment_value time_of(int64_t us)
{
	bool is_none = us == ROW_TIME_NONE || us == INT64_MAX;
	return is_none ? (struct segment_value){.text = STR_NONE} : value_from_time(us);
}

static int get_field(struct segment_person *person, const struct segment_step *leaf, struct segment_value *out)
{
	const struct row *view = person->view;
	int rc = OK;
	switch ((enum segment_field)leaf->index) {
	case FIELD_FIRST_SEEN: *out = time_of(view->first_seen); break;
	case FIELD_LAST_SEEN: *out = time_of(view->last_seen); break;
	case FIELD_EVENT_COUNT: *out = value_from_number((double)view->event_count, person->json); break;
	case FIELD_FRAGMENTS:
		rc = view->is_merged ? cold(person) : OK;
		if (!rc) *out = value_from_number(view->is_merged ? (double)view->member_count : 1, person->json);
		break;
	case FIELD_COUNT: break;
	}
	return rc;
}

static int get_feature(struct segment_person *person, const struct segment_step *leaf, struct segment_value *out)
{
	const struct plan_feature *feature = &person->plan->features[leaf->index];
	const struct row_feature *state = row_feature_find(person->view, feature->key);
	struct str json = {person->json, feature_read(feature, state, person->now, person->json)};
	return value_from_json(json, person->scratch, out);
}

static int get_trait(struct segment_person *person, const struct segment_step *leaf, struct segment_value *out)
{
	int rc = cold(person);
	const struct row_trait *trait = rc ? NULL : trait_winner(person->view, leaf->name, person->now);
	return trait ? value_from_json(trait->value, person->scratch, out) : rc;
}

/* The record that answers for "purpose[/channel]"; NULL: there is none. The view's cold section is decoded. */
static const struct consent *find_consent(const struct segment_person *person, struct str name, struct str *purpose)
{
	const char *slash = memchr(name.ptr, '/', name.len);
	struct str channel = STR_NONE;
	*purpose = name;
	if (slash) {
		purpose->len = (size_t)(slash - name.ptr);
		channel = (struct str){slash + 1, name.len - purpose->len - 1};
	}
	return consent_lookup(&person->view->consents, *purpose, channel);
}

/* The state's name; without a record the purpose's default. */
static int get_consent(struct segment_person *person, const struct segment_step *leaf, struct segment_value *out)
{
	struct str purpose;
	int rc = cold(person);
	if (rc) return rc;
	const struct consent *record = find_consent(person, leaf->name, &purpose);
	const struct purpose_rule *rule = purpose_rule_find(&person->plan->definitions.consent, purpose);
	enum consent_state none = rule && rule->is_granted_by_default ? CONSENT_GRANTED : CONSENT_DENIED;
	*out = value_from_text(str_from(consent_state_name(record ? consent_state_at(record, person->now) : none)));
	return OK;
}

/* When a declared value of the trait runs out, so that another one or none is in force. */
static int64_t trait_ends(const struct segment_person *person, struct str name)
{
	const struct row_trait *trait = trait_winner(person->view, name, person->now);
	struct trait_origin origin;
	if (!trait || !trait->origin.len || origin_decode(trait->origin, &origin)) return INT64_MAX;
	return origin.expires_at > person->now ? origin.expires_at : INT64_MAX;
}

static int64_t consent_ends(const struct segment_person *person, const struct segment_step *leaf)
{
	struct str purpose;
	const struct consent *record = find_consent(person, leaf->name, &purpose);
	return record && record->expires > person->now ? record->expires : INT64_MAX;
}

typedef int (*get_fn)(struct segment_person *person, const struct segment_step *leaf, struct segment_value *out);
/* Identifiers and segments are no single value: ask_identifier, ask_segment. */
static const get_fn getters[SUBJECT_COUNT] = {
    [SUBJECT_FIELD] = get_field,
    [SUBJECT_FEATURE] = get_feature,
    [SUBJECT_TRAIT] = get_trait,
    [SUBJECT_CONSENT] = get_consent,
};

/* ── tests ───────────────────────────────────────────────────────────────── */

static int64_t never_but(bool is_due, int64_t at)
{
	return is_due ? at : INT64_MAX;
}

/* Within N days: the moment lies less than N days back; a moment to come counts too. */
static void test_time(const struct segment_step *leaf, const struct segment_value *value, int64_t now,
		      struct segment_verdict *out)
{
	int64_t us;
	*out = (struct segment_verdict){false, INT64_MAX};
	if (!value_time(value, &us)) return;
	bool is_within = us + leaf->time > now; /* neither comes near the ends of int64_t */
	switch (leaf->test) {
	case TEST_BEFORE: out->is_member = us < leaf->time; break;
	case TEST_AFTER: out->is_member = us > leaf->time; break;
	case TEST_WITHIN:
	case TEST_NOT_WITHIN:
		out->is_member = is_within == (leaf->test == TEST_WITHIN);
		out->changes_at = never_but(is_within, us + leaf->time);
		break;
	default: break;
	}
}

static bool is_any(const struct segment_step *leaf, const struct segment_value *value)
{
	for (size_t i = 0; i < leaf->operand_count; i++)
		if (value_is(value, &leaf->operands[i])) return true;
	return false;
}

static int test_value(struct segment_person *person, const struct segment_step *leaf, const struct segment_value *value,
		      struct segment_verdict *out)
{
	const struct segment_operand *operand = leaf->operands;
	bool *is_member = &out->is_member;
	*out = (struct segment_verdict){false, INT64_MAX};
	switch (leaf->test) {
	case TEST_IS:
	case TEST_IN: *is_member = is_any(leaf, value); break;
	case TEST_IS_NOT: *is_member = !is_any(leaf, value); break;
	case TEST_GREATER: *is_member = value->is_number && value->number > operand->number; break;
	case TEST_AT_LEAST: *is_member = value->is_number && value->number >= operand->number; break;
	case TEST_LESS: *is_member = value->is_number && value->number < operand->number; break;
	case TEST_AT_MOST: *is_member = value->is_number && value->number <= operand->number; break;
	case TEST_EXISTS: *is_member = (value->kind != VALUE_NONE) == leaf->is_true; break;
	case TEST_CONTAINS: return value_contains(value, operand, person->scratch, is_member);
	case TEST_MATCHES: *is_member = value->kind == VALUE_TEXT && value_matches(value->text, operand->text); break;
	case TEST_BEFORE:
	case TEST_AFTER:
	case TEST_WITHIN:
	case TEST_NOT_WITHIN: test_time(leaf, value, person->now, out); break;
	case TEST_COUNT: break;
	}
	return OK;
}

/* Each person's own time of day, so that not everybody is looked at at midnight. The position of the first event is the same in every replay. */
static int64_t next_daily(const struct row *view, int64_t now)
{
	int64_t offset = (int64_t)(view->created_seq * UINT64_C(7919) % 86400) * US_PER_SECOND;
	int64_t day = (now - offset) / US_PER_DAY;
	int64_t at = day * US_PER_DAY + offset;
	return at > now ? at : at + US_PER_DAY;
}

/* True of any of the identifiers in that namespace; is_not and exists: false speak of all. */
static int ask_identifier(struct segment_person *person, const struct segment_step *leaf, struct segment_verdict *out)
{
	const struct row *view = person->view;
	bool is_negative = leaf->test == TEST_IS_NOT || (leaf->test == TEST_EXISTS && !leaf->is_true), is_found = false;
	struct segment_step positive = *leaf;
	int rc = view->is_merged ? cold(person) : OK;
	if (leaf->test == TEST_IS_NOT) positive.test = TEST_IS;
	positive.is_true = true;
	size_t count = view->is_merged ? view->member_count : 1;
	for (size_t i = 0; i < count && !rc && !is_found; i++) {
		struct str identifier = view->is_merged ? view->members[i].identifier : view->identifier;
		if (!str_eq(identifier_namespace(identifier), leaf->name)) continue;
		struct segment_value value = value_from_text(identifier_value(identifier));
		rc = test_value(person, &positive, &value, out);
		is_found = out->is_member;
	}
	*out = (struct segment_verdict){is_found != is_negative, INT64_MAX};
	return rc;
}

static int ask_segment(struct segment_person *person, const struct segment_step *leaf, struct segment_verdict *out)
{
	uint64_t key = person->plan->segments->items[leaf->index].key;
	bool is_in = segment_keys_have(person->keys, person->key_count, key);
	*out = (struct segment_verdict){is_in == leaf->is_true, INT64_MAX};
	return OK;
}

static int ask(struct segment_person *person, const struct segment_step *leaf, struct segment_verdict *out)
{
	struct segment_value value = {.text = STR_NONE};
	if (leaf->subject == SUBJECT_IDENTIFIER) return ask_identifier(person, leaf, out);
	if (leaf->subject == SUBJECT_SEGMENT) return ask_segment(person, leaf, out);
	int rc = getters[leaf->subject](person, leaf, &value);
	if (!rc) rc = test_value(person, leaf, &value, out);
	if (rc) return rc;
	int64_t ends = INT64_MAX;
	if (leaf->subject == SUBJECT_CONSENT) ends = consent_ends(person, leaf);
	if (leaf->subject == SUBJECT_TRAIT) ends = trait_ends(person, leaf->name);
	if (ends < out->changes_at) out->changes_at = ends;
	if (leaf->subject != SUBJECT_FEATURE || !feature_ages(&person->plan->features[leaf->index])) return OK;
	int64_t daily = next_daily(person->view, person->now);
	if (daily < out->changes_at) out->changes_at = daily;
	return OK;
}

/* ── junctions ───────────────────────────────────────────────────────────── */

static int eval(struct segment_person *person, const struct segment_step *steps, size_t at,
		struct segment_verdict *out);

/* As long as one part decides, the others cannot change the answer. */
static int eval_list(struct segment_person *person, const struct segment_step *steps, size_t at,
		     struct segment_verdict *out)
{
	bool is_all = steps[at].kind == STEP_ALL;
	struct segment_verdict whole = {is_all, INT64_MAX}, part = whole;
	for (size_t i = at + 1; i < steps[at].end; i = steps[i].end) {
		int rc = eval(person, steps, i, &part);
		if (rc) return rc;
		if (part.is_member != is_all) {
			*out = part;
			return OK;
		}
		if (part.changes_at < whole.changes_at) whole.changes_at = part.changes_at;
	}
	*out = whole;
	return OK;
}

static int eval(struct segment_person *person, const struct segment_step *steps, size_t at, struct segment_verdict *out)
{
	int rc;
	switch (steps[at].kind) {
	case STEP_ALL:
	case STEP_ANY: return eval_list(person, steps, at, out);
	case STEP_NOT:
		rc = eval(person, steps, at + 1, out);
		out->is_member = !out->is_member;
		return rc;
	case STEP_LEAF: return ask(person, &steps[at], out);
	}
	return OK;
}

int segment_eval(struct segment_person *person, const struct segment *segment, struct segment_verdict *out)
{
	*out = (struct segment_verdict){false, INT64_MAX};
	return eval(person, segment->steps, 0, out);
}
