#include "profile/feature_eval.h"

#include <stdlib.h>

#include "profile/feature_types.h"

struct aligned_state {
	_Alignas(8) uint8_t bytes[FEATURE_STATE_MAX];
};

/* ── input ───────────────────────────────────────────────────────────────── */

static size_t skip_digits(struct str text, size_t at)
{
	while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9') at++;
	return at;
}

/* Is the text a number as JSON spells it? ("007" is a label.) */
static bool is_number(struct str text)
{
	size_t at = text.len > 0 && text.ptr[0] == '-';
	size_t whole = skip_digits(text, at);
	if (whole == at || (text.ptr[at] == '0' && whole > at + 1)) return false;
	at = whole;
	if (at < text.len && text.ptr[at] == '.') {
		size_t fraction = skip_digits(text, at + 1);
		if (fraction == at + 1) return false;
		at = fraction;
	}
	if (at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
		at++;
		if (at < text.len && (text.ptr[at] == '+' || text.ptr[at] == '-')) at++;
		size_t exponent = skip_digits(text, at);
		if (exponent == at) return false;
		at = exponent;
	}
	return at == text.len;
}

static void set_string(struct str text, struct cdpd_feature_input *input)
{
	char copy[40];
	input->kind = CDPD_VALUE_STRING;
	input->text = (struct cdpd_str){text.ptr, text.len};
	if (text.len >= sizeof copy || !is_number(text)) return;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	input->number = strtod(copy, NULL);
	input->kind = CDPD_VALUE_NUMBER;
}

static int set_text(struct event_view *view, struct json value, struct cdpd_feature_input *input)
{
	buf_clear(&view->number);
	int rc = json_write(&view->number, value);
	struct str text = buf_str(&view->number);
	input->text = (struct cdpd_str){text.ptr, text.len};
	return rc;
}

static int set_json(struct event_view *view, bool wants_text, struct json value, struct cdpd_feature_input *input)
{
	struct str text;
	bool truth;
	switch (json_type(value)) {
	case JSON_NULL: return ERR_NOT_FOUND;
	case JSON_STRING:
		if (!json_str(value, &text)) return ERR_NOT_FOUND;
		set_string(text, input);
		return input->kind == CDPD_VALUE_NUMBER && wants_text ? set_text(view, value, input) : OK;
	case JSON_BOOL:
		if (!json_bool(value, &truth)) return ERR_NOT_FOUND;
		input->kind = CDPD_VALUE_BOOL;
		input->number = truth;
		input->text = truth ? (struct cdpd_str){"true", 4} : (struct cdpd_str){"false", 5};
		return OK;
	case JSON_INT:
	case JSON_UINT:
	case JSON_DOUBLE:
		input->kind = CDPD_VALUE_NUMBER;
		if (!json_double(value, &input->number)) return ERR_NOT_FOUND;
		return wants_text ? set_text(view, value, input) : OK;
	case JSON_ARRAY:
	case JSON_OBJECT: input->kind = CDPD_VALUE_JSON; return set_text(view, value, input);
	}
	return ERR_NOT_FOUND;
}

/* A field that is the event's own text: quoted JSON for those who take it for a number, as set_json does. */
static int set_own_text(struct event_view *view, struct str text, struct cdpd_feature_input *input)
{
	if (text.len == 0) return ERR_NOT_FOUND;
	set_string(text, input);
	if (input->kind != CDPD_VALUE_NUMBER) return OK;
	buf_clear(&view->number);
	int rc = json_write_str(&view->number, text);
	struct str json = buf_str(&view->number);
	input->text = (struct cdpd_str){json.ptr, json.len};
	return rc;
}

/* ERR_NOT_FOUND: the event lacks the field. */
static int make_input(const struct plan_feature *feature, struct event_view *view, struct cdpd_feature_input *input)
{
	const struct cdpd_event *event = view->event;
	struct str text;
	struct json value;
	*input = (struct cdpd_feature_input){.size = sizeof *input,
					     .time_us = event->event_time_us,
					     .utc_offset_min = event->utc_offset_min,
					     .message_id = {event->message_id.ptr, event->message_id.len},
					     .text = {"", 0}};
	if (feature->field.part == PART_NONE) return OK;
	if (event_view_text(view, feature->field.part, &text)) return set_own_text(view, text, input);
	int rc = event_view_get(view, &feature->field, &value);
	return rc ? rc : set_json(view, feature->wants_text, value, input);
}

static bool is_matched(const struct plan_feature *feature, const struct cdpd_event *event)
{
	switch (feature->filter) {
	case PLAN_EVERY: return true;
	case PLAN_TYPE: return event->type == feature->type;
	case PLAN_NAME: return event->type == EVENT_TRACK && str_eq(event->event, feature->def.event);
	}
	return false;
}

/* ── states ──────────────────────────────────────────────────────────────── */

static size_t find(const struct row *row, uint64_t key)
{
	size_t at = 0;
	while (at < row->feature_count && row->features[at].key < key) at++;
	return at;
}

const struct row_feature *row_feature_find(const struct row *row, uint64_t key)
{
	size_t at = find(row, key);
	return at < row->feature_count && row->features[at].key == key ? &row->features[at] : NULL;
}

static int make_gap(struct row *row, size_t at, struct arena *arena)
{
	if (row->feature_count == row->feature_room) {
		size_t room = row->feature_room ? row->feature_room * 2 : 8;
		struct row_feature *features = arena_alloc(arena, room * sizeof *features);
		if (!features) return ERR_NOMEM;
		if (row->feature_count) memcpy(features, row->features, row->feature_count * sizeof *features);
		row->features = features;
		row->feature_room = room;
	}
	memmove(row->features + at + 1, row->features + at, (row->feature_count - at) * sizeof *row->features);
	row->feature_count++;
	return OK;
}

static int make_writable(const struct cdpd_feature_type *impl, struct row_feature *state, struct arena *arena)
{
	if (state->room) return OK;
	if (state->len > impl->max_state) return ERR_CORRUPT;
	uint8_t *copy = arena_alloc(arena, impl->max_state);
	if (!copy) return ERR_NOMEM;
	memcpy(copy, state->state, state->len);
	state->state = copy;
	state->room = impl->max_state;
	return OK;
}

/* The row's writable state of the feature, made when it is not there yet. */
static int take_state(const struct plan_feature *feature, struct row *row, struct arena *arena,
		      struct row_feature **out)
{
	size_t at = find(row, feature->key);
	if (at == row->feature_count || row->features[at].key != feature->key) {
		uint8_t *state = arena_zalloc(arena, feature->def.impl->max_state);
		int rc = state ? make_gap(row, at, arena) : ERR_NOMEM;
		if (rc) return rc;
		row->features[at] = (struct row_feature){feature->key, state, feature->def.impl->init(state),
							 feature->def.impl->max_state};
	}
	*out = &row->features[at];
	return make_writable(feature->def.impl, *out, arena);
}

_Static_assert(sizeof((struct row *)0)->touched_features * 8 >= PLAN_FEATURES_MAX, "a bit for each feature");

static int apply_one(const struct plan_feature *feature, struct event_view *view, struct row *const *rows,
		     size_t row_count, struct arena *arena, uint64_t *refused)
{
	struct cdpd_feature_input input;
	int rc = make_input(feature, view, &input);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	for (size_t i = 0; i < row_count; i++) {
		struct row_feature *state;
		rc = take_state(feature, rows[i], arena, &state);
		if (rc) return rc;
		feature_note(feature->def.type);
		if (feature->def.impl->add(state->state, &state->len, &input) < 0 && i == 0) *refused += 1;
		feature_note(STR_NONE);
		CHECK(state->len <= state->room);
	}
	return OK;
}

int features_apply(const struct plan *plan, struct event_view *view, struct row *const *rows, size_t row_count,
		   struct arena *arena, uint64_t *refused)
{
	for (size_t i = 0; i < plan->feature_count; i++) {
		const struct plan_feature *feature = &plan->features[i];
		if (!feature->def.impl || !is_matched(feature, view->event)) continue;
		int rc = apply_one(feature, view, rows, row_count, arena, refused);
		if (rc) return rc;
		rows[row_count - 1]->touched_features[i / 64] |= UINT64_C(1) << i % 64; /* for segments */
	}
	return OK;
}

void features_drop_unknown(const struct plan *plan, struct row *row)
{
	size_t kept = 0, at = 0;
	for (size_t i = 0; i < row->feature_count; i++) {
		while (at < plan->feature_count && plan->features[at].key < row->features[i].key) at++;
		if (at < plan->feature_count && plan->features[at].key == row->features[i].key)
			row->features[kept++] = row->features[i];
	}
	row->feature_count = kept;
}

/* States that a plugin says cannot be merged must not stop the fold: the first one stays. */
static void feature_merge(const struct cdpd_feature_type *impl, struct row_feature *into,
			  const struct aligned_state *other, uint32_t other_len)
{
	struct aligned_state before;
	uint32_t before_len = into->len;
	CHECK(before_len <= sizeof before.bytes);
	memcpy(before.bytes, into->state, before_len);
	if (impl->merge(into->state, &into->len, other->bytes, other_len) < 0) {
		memcpy(into->state, before.bytes, before_len);
		into->len = before_len;
	}
	CHECK(into->len <= into->room);
}

int features_merge(const struct plan *plan, struct row *into, const struct row *from, struct arena *arena)
{
	for (size_t i = 0; i < from->feature_count; i++) {
		const struct row_feature *other = &from->features[i];
		const struct plan_feature *feature = plan_feature_find(plan, other->key);
		if (!feature || !feature->def.impl) continue;
		struct aligned_state copy;
		struct row_feature *state;
		if (other->len > sizeof copy.bytes) return ERR_CORRUPT;
		memcpy(copy.bytes, other->state, other->len);
		int rc = take_state(feature, into, arena, &state);
		if (rc) return rc;
		feature_merge(feature->def.impl, state, &copy, other->len);
	}
	return OK;
}

size_t feature_read(const struct plan_feature *feature, const struct row_feature *state, int64_t now,
		    char json[FEATURE_JSON_MAX])
{
	const struct cdpd_feature_type *impl = feature->def.impl;
	struct aligned_state copy;
	int len = -1;
	if (impl && !state) {
		len = impl->read(copy.bytes, impl->init(copy.bytes), now, json, FEATURE_JSON_MAX);
	} else if (impl && state->len <= sizeof copy.bytes) {
		memcpy(copy.bytes, state->state, state->len);
		len = impl->read(copy.bytes, state->len, now, json, FEATURE_JSON_MAX);
	}
	if (len >= 0 && len <= FEATURE_JSON_MAX) return (size_t)len;
	memcpy(json, "null", 4);
	return 4;
}
