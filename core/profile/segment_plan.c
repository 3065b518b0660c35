#include "profile/segment_plan.h"

#include <stdlib.h>

#include "base/hash.h"
#include "profile/plan.h"
#include "profile/segment_value.h"

/* Not secret: it only has to be the same everywhere and for ever. */
static const struct hash_key segment_hash_key = {"cdpd segment key"};

static const char *const subject_names[SUBJECT_COUNT] = {
    [SUBJECT_FIELD] = "field",           [SUBJECT_SEGMENT] = "segment", [SUBJECT_FEATURE] = "feature",
    [SUBJECT_IDENTIFIER] = "identifier", [SUBJECT_TRAIT] = "trait",     [SUBJECT_CONSENT] = "consent",
};
static const char *const test_names[TEST_COUNT] = {
    [TEST_IS] = "is",           [TEST_IS_NOT] = "is_not",         [TEST_IN] = "in",
    [TEST_GREATER] = "greater", [TEST_AT_LEAST] = "at_least",     [TEST_LESS] = "less",
    [TEST_AT_MOST] = "at_most", [TEST_EXISTS] = "exists",         [TEST_CONTAINS] = "contains",
    [TEST_MATCHES] = "matches", [TEST_BEFORE] = "before",         [TEST_AFTER] = "after",
    [TEST_WITHIN] = "within",   [TEST_NOT_WITHIN] = "not_within",
};
static const char *const field_names[FIELD_COUNT] = {
    [FIELD_FIRST_SEEN] = "first_seen",
    [FIELD_LAST_SEEN] = "last_seen",
    [FIELD_EVENT_COUNT] = "event_count",
    [FIELD_FRAGMENTS] = "fragments",
};

uint64_t segment_key(struct str name)
{
	return hash64(&segment_hash_key, name.ptr, name.len);
}

/* Index of the member's text among `names`; `count` when it is none of them. */
static size_t name_at(struct json object, struct str key, const char *const *names, size_t count)
{
	struct json value;
	struct str text;
	if (!json_get(object, key, &value) || !json_str(value, &text)) return count;
	size_t i = 0;
	while (i < count && !str_eq(str_from(names[i]), text)) i++;
	return i;
}

/* ── compiling one condition ─────────────────────────────────────────────── */

struct compiler {
	struct plan *plan;
	struct arena *arena;
	struct segment_step *steps; /* SEGMENT_STEPS_MAX */
	size_t count;
};

static size_t cost_of(struct json node, unsigned depth)
{
	struct json list, item;
	struct json_iter it;
	size_t most = 0;
	if (depth > SEGMENT_DEPTH_MAX) return 0; /* refused when it is compiled */
	if (json_get(node, STR("not"), &item)) return cost_of(item, depth + 1);
	if (!json_get(node, STR("all"), &list) && !json_get(node, STR("any"), &list))
		return name_at(node, STR("source"), subject_names, SUBJECT_COUNT);
	for (json_iter_start(list, &it); json_next_element(&it, &item);) {
		size_t cost = cost_of(item, depth + 1);
		if (cost > most) most = cost;
	}
	return most;
}

static int take_scalar(struct arena *arena, struct json value, struct segment_operand *out)
{
	struct str text;
	struct buf json;
	*out = (struct segment_operand){.text = STR_NONE};
	if (json_type(value) == JSON_STRING) {
		if (!json_str(value, &text)) return ERR_INVALID;
		int rc = arena_str(arena, text, &out->text);
		out->is_number = !rc && value_text_is_number(out->text, &out->number);
		return rc;
	}
	if (json_type(value) == JSON_ARRAY || json_type(value) == JSON_OBJECT || json_type(value) == JSON_NULL)
		return ERR_INVALID;
	buf_init(&json, 64);
	int rc = json_write(&json, value);
	if (!rc) rc = arena_str(arena, buf_str(&json), &out->text);
	buf_fini(&json);
	out->is_number = json_double(value, &out->number);
	return rc;
}

static int take_list(struct arena *arena, struct json value, struct segment_step *step)
{
	struct json_iter it;
	struct json item;
	if (json_type(value) != JSON_ARRAY || json_count(value) > SEGMENT_VALUES_MAX) return ERR_INVALID;
	step->operands = arena_array(arena, struct segment_operand, json_count(value) + 1);
	if (!step->operands) return ERR_NOMEM;
	for (json_iter_start(value, &it); json_next_element(&it, &item);) {
		int rc = take_scalar(arena, item, &step->operands[step->operand_count++]);
		if (rc) return rc;
	}
	return OK;
}

static int take_operand(struct compiler *c, struct json value, struct segment_step *step)
{
	if (step->subject == SUBJECT_SEGMENT || step->test == TEST_EXISTS)
		return json_bool(value, &step->is_true) ? OK : ERR_INVALID;
	switch (step->test) {
	case TEST_BEFORE:
	case TEST_AFTER: return json_int(value, &step->time) ? OK : ERR_INVALID;
	case TEST_WITHIN:
	case TEST_NOT_WITHIN:
		return json_int(value, &step->time) && step->time > 0 && step->time <= VALUE_SPAN_MAX ? OK
												      : ERR_INVALID;
	case TEST_IN: return take_list(c->arena, value, step);
	default: break;
	}
	step->operands = arena_new(c->arena, struct segment_operand);
	if (!step->operands) return ERR_NOMEM;
	step->operand_count = 1;
	int rc = take_scalar(c->arena, value, step->operands);
	bool wants_number = step->test >= TEST_GREATER && step->test <= TEST_AT_MOST;
	return !rc && wants_number && !step->operands->is_number ? ERR_INVALID : rc;
}

static int find_feature(const struct plan *plan, struct str name, size_t *out)
{
	for (size_t i = 0; i < plan->feature_count; i++) {
		if (!str_eq(plan->features[i].def.name, name)) continue;
		*out = i;
		return OK;
	}
	return ERR_INVALID;
}

static int compile_leaf(struct compiler *c, struct json node, struct segment_step *step)
{
	struct json value;
	struct str name;
	size_t subject = name_at(node, STR("source"), subject_names, SUBJECT_COUNT);
	size_t test = name_at(node, STR("op"), test_names, TEST_COUNT);
	if (subject == SUBJECT_COUNT || test == TEST_COUNT) return ERR_INVALID;
	step->kind = STEP_LEAF;
	step->subject = (enum segment_subject)subject;
	step->test = (enum segment_test)test;
	if (!json_get(node, STR("name"), &value) || !json_str(value, &name)) return ERR_INVALID;
	int rc = arena_str(c->arena, name, &step->name);
	if (!rc && subject == SUBJECT_FEATURE) rc = find_feature(c->plan, name, &step->index);
	if (!rc && subject == SUBJECT_FIELD) {
		step->index = name_at(node, STR("name"), field_names, FIELD_COUNT);
		if (step->index == FIELD_COUNT) rc = ERR_INVALID;
	}
	if (rc) return rc;
	return json_get(node, STR("value"), &value) ? take_operand(c, value, step) : ERR_INVALID;
}

static int compile(struct compiler *c, struct json node, unsigned depth);

/* What is cheap to ask stands first: it often decides. */
static int compile_list(struct compiler *c, struct json list, unsigned depth)
{
	struct json_iter it;
	struct json item;
	if (json_type(list) != JSON_ARRAY || json_count(list) == 0) return ERR_INVALID;
	for (size_t cost = 0; cost <= SUBJECT_COUNT; cost++) {
		for (json_iter_start(list, &it); json_next_element(&it, &item);) {
			int rc = cost_of(item, depth) == cost ? compile(c, item, depth) : OK;
			if (rc) return rc;
		}
	}
	return OK;
}

static int compile(struct compiler *c, struct json node, unsigned depth)
{
	struct json inner;
	if (c->count == SEGMENT_STEPS_MAX || depth > SEGMENT_DEPTH_MAX) return ERR_INVALID;
	struct segment_step *step = &c->steps[c->count++];
	*step = (struct segment_step){.name = STR_NONE};
	int rc;
	if (json_get(node, STR("all"), &inner)) {
		step->kind = STEP_ALL;
		rc = compile_list(c, inner, depth + 1);
	} else if (json_get(node, STR("any"), &inner)) {
		step->kind = STEP_ANY;
		rc = compile_list(c, inner, depth + 1);
	} else if (json_get(node, STR("not"), &inner)) {
		step->kind = STEP_NOT;
		rc = compile(c, inner, depth + 1);
	} else {
		rc = compile_leaf(c, node, step);
	}
	step->end = (uint32_t)c->count;
	return rc;
}

static int compile_text(struct compiler *c, struct json_reader *reader, struct segment *segment)
{
	struct buf copy;
	struct json root;
	const char *why;
	buf_init(&copy, (size_t)4 << 20);
	c->count = 0;
	int rc = buf_append_str(&copy, segment->when);
	if (!rc) rc = json_parse(reader, buf_str(&copy), &root, &why);
	if (!rc) rc = compile(c, root, 0);
	buf_fini(&copy);
	if (rc) return rc;
	segment->steps = arena_array(c->arena, struct segment_step, c->count);
	if (!segment->steps) return ERR_NOMEM;
	memcpy(segment->steps, c->steps, c->count * sizeof *c->steps);
	segment->step_count = c->count;
	return OK;
}

static int compile_all(struct plan *plan, struct segment_plan *segments)
{
	struct json_reader *reader;
	struct compiler compiler = {.plan = plan, .arena = &plan->arena};
	int rc = json_reader_new(&reader);
	if (rc) return rc;
	compiler.steps = calloc(SEGMENT_STEPS_MAX, sizeof *compiler.steps);
	if (!compiler.steps) rc = ERR_NOMEM;
	for (size_t i = 0; i < segments->count && !rc; i++) {
		const struct segment_def *def = &plan->definitions.segments[i];
		segments->items[i] =
		    (struct segment){.key = segment_key(def->name), .name = def->name, .when = def->when};
		rc = compile_text(&compiler, reader, &segments->items[i]);
	}
	free(compiler.steps);
	json_reader_free(reader);
	return rc;
}

/* ── order ───────────────────────────────────────────────────────────────── */

struct sorter {
	const struct segment *from;
	struct segment *to;
	uint8_t *state; /* 0 not seen, 1 on the way, 2 placed */
	size_t count, placed;
};

static size_t find_name(const struct segment *items, size_t count, struct str name)
{
	size_t i = 0;
	while (i < count && !str_eq(items[i].name, name)) i++;
	return i;
}

/* After all it refers to. ERR_INVALID: a circle, or a segment that is not there. */
static int place(struct sorter *sorter, size_t index)
{
	if (index == sorter->count || sorter->state[index] == 1) return ERR_INVALID;
	if (sorter->state[index] == 2) return OK;
	const struct segment *segment = &sorter->from[index];
	sorter->state[index] = 1;
	for (size_t i = 0; i < segment->step_count; i++) {
		const struct segment_step *step = &segment->steps[i];
		if (step->kind != STEP_LEAF || step->subject != SUBJECT_SEGMENT) continue;
		int rc = place(sorter, find_name(sorter->from, sorter->count, step->name));
		if (rc) return rc;
	}
	sorter->state[index] = 2;
	sorter->to[sorter->placed++] = *segment;
	return OK;
}

static int sort(struct plan *plan, struct segment_plan *segments)
{
	struct sorter sorter = {.from = segments->items, .count = segments->count};
	sorter.to = arena_array(&plan->arena, struct segment, segments->count);
	sorter.state = arena_array(&plan->arena, uint8_t, segments->count);
	if (!sorter.to || !sorter.state) return ERR_NOMEM;
	for (size_t i = 0; i < sorter.count; i++) {
		int rc = place(&sorter, i);
		if (rc) return rc;
	}
	segments->items = sorter.to;
	return OK;
}

static int index_keys(struct plan *plan, struct segment_plan *segments)
{
	segments->by_key = arena_array(&plan->arena, size_t, segments->count);
	if (!segments->by_key) return ERR_NOMEM;
	for (size_t i = 0; i < segments->count; i++) {
		size_t at = i;
		uint64_t key = segments->items[i].key;
		for (; at > 0 && segments->items[segments->by_key[at - 1]].key >= key; at--) {
			if (segments->items[segments->by_key[at - 1]].key == key) return ERR_INVALID;
			segments->by_key[at] = segments->by_key[at - 1];
		}
		segments->by_key[at] = i;
	}
	return OK;
}

const struct segment *segment_find(const struct segment_plan *segments, uint64_t key)
{
	size_t low = 0, high = segments ? segments->count : 0;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct segment *item = &segments->items[segments->by_key[middle]];
		if (item->key == key) return item;
		if (item->key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ── what an event can change ────────────────────────────────────────────── */

static void note_leaf(const struct plan *plan, struct segment_plan *segments, size_t index, struct segment_step *step)
{
	switch (step->subject) {
	case SUBJECT_FIELD:
		segment_set_add(step->index == FIELD_FRAGMENTS ? &segments->identities : &segments->every_event, index);
		break;
	case SUBJECT_SEGMENT:
		step->index = find_name(segments->items, segments->count, step->name);
		segment_set_add(&segments->items[step->index].dependents, index);
		break;
	case SUBJECT_FEATURE:
		segment_set_add(&segments->of_feature[step->index], index);
		if (!feature_ages(&plan->features[step->index])) break;
		segment_set_add(&segments->every_event, index);
		segment_set_add(&segments->timed, index);
		break;
	case SUBJECT_IDENTIFIER: segment_set_add(&segments->identities, index); break;
	case SUBJECT_TRAIT:
	case SUBJECT_CONSENT: /* told rarely too, and in the same section of the row; both may run out */
		segment_set_add(&segments->traits, index);
		segment_set_add(&segments->timed, index);
		break;
	case SUBJECT_COUNT: break;
	}
	if (step->test == TEST_WITHIN || step->test == TEST_NOT_WITHIN) segment_set_add(&segments->timed, index);
}

static int note_inputs(struct plan *plan, struct segment_plan *segments)
{
	segments->of_feature = arena_array(&plan->arena, struct segment_set, plan->feature_count + 1);
	if (!segments->of_feature) return ERR_NOMEM;
	segments->feature_count = plan->feature_count;
	for (size_t i = 0; i < segments->count; i++) {
		segment_set_add(&segments->all, i);
		for (size_t k = 0; k < segments->items[i].step_count; k++)
			if (segments->items[i].steps[k].kind == STEP_LEAF)
				note_leaf(plan, segments, i, &segments->items[i].steps[k]);
	}
	return OK;
}

int segment_plan_make(struct plan *plan)
{
	size_t count = plan->definitions.segment_count;
	if (count == 0) return OK;
	if (count > SEGMENTS_MAX) return ERR_INVALID;
	struct segment_plan *segments = arena_new(&plan->arena, struct segment_plan);
	if (!segments) return ERR_NOMEM;
	segments->count = count;
	segments->items = arena_array(&plan->arena, struct segment, count);
	if (!segments->items) return ERR_NOMEM;
	int rc = compile_all(plan, segments);
	if (!rc) rc = sort(plan, segments);
	if (!rc) rc = index_keys(plan, segments);
	if (!rc) rc = note_inputs(plan, segments);
	if (!rc) plan->segments = segments;
	return rc;
}

/* ── two plans ───────────────────────────────────────────────────────────── */

static bool has_same_segments(const struct definitions *a, const struct definitions *b)
{
	if (a->segment_count != b->segment_count) return false;
	for (size_t i = 0; i < a->segment_count; i++)
		if (!str_eq(a->segments[i].name, b->segments[i].name) ||
		    !str_eq(a->segments[i].when, b->segments[i].when))
			return false;
	return true;
}

bool segment_plans_differ(const struct plan *old, const struct plan *new)
{
	bool had = old && old->segments, has = new->segments;
	if (!had || !has) return had || has;
	if (!has_same_segments(&old->definitions, &new->definitions)) return true;
	if (old->feature_count != new->feature_count) return true;
	for (size_t i = 0; i < new->feature_count; i++)
		if (old->features[i].key != new->features[i].key ||
		    !old->features[i].def.impl != !new->features[i].def.impl)
			return true;
	return false;
}
