#include "profile/feature_eval.h"

#include "profile/feature_input.h"
#include "profile/feature_state.h"
#include "profile/feature_value.h"

#define SMALL_STATE 128 /* states that never get longer have all their room from the start */
#define CLASS_MIN   64

/* ── states ──────────────────────────────────────────────────────────────── */

static size_t find(const struct row *row, uint64_t key)
{
	size_t low = 0, high = row->feature_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (row->features[middle].key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
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

/* Room of at least `len` bytes; in classes, so that a growing state is not moved each time. */
static uint32_t room_of(const struct plan_feature *feature, uint32_t len)
{
	uint32_t room = CLASS_MIN;
	if (feature->max_state <= SMALL_STATE) return feature->max_state;
	while (room < len) room *= 2;
	return room < feature->max_state ? room : feature->max_state;
}

/* The row's state of the feature, made when it is not there yet. */
static int take_state(const struct plan_feature *feature, struct row *row, struct arena *arena,
		      struct row_feature **out)
{
	struct aligned_state fresh;
	size_t at = find(row, feature->key);
	if (at < row->feature_count && row->features[at].key == feature->key) {
		*out = &row->features[at];
		return (*out)->len > feature->max_state ? ERR_CORRUPT : OK;
	}
	uint32_t len = feature_state_init(&feature->def, fresh.bytes), room = room_of(feature, len);
	CHECK(len <= feature->max_state);
	uint8_t *state = arena_alloc(arena, room);
	int rc = state ? make_gap(row, at, arena) : ERR_NOMEM;
	if (rc) return rc;
	memcpy(state, fresh.bytes, len);
	row->features[at] = (struct row_feature){feature->key, state, len, room};
	*out = &row->features[at];
	return OK;
}

/* Puts the state's new bytes where they have room. */
static int put_state(const struct plan_feature *feature, struct row_feature *state, const uint8_t *bytes, uint32_t len,
		     struct arena *arena)
{
	CHECK(len <= feature->max_state);
	if (len > state->room || state->room == 0) {
		uint32_t room = room_of(feature, len);
		uint8_t *larger = arena_alloc(arena, room);
		if (!larger) return ERR_NOMEM;
		state->state = larger;
		state->room = room;
	}
	memcpy(state->state, bytes, len);
	state->len = len;
	return OK;
}

/* ── adding ──────────────────────────────────────────────────────────────── */

/* What goes into one feature of an event's rows. */
struct adding {
	const struct plan_feature *feature;
	struct event_view *view;
	struct row *const *rows;
	size_t row_count;
	struct arena *arena;
	struct feature_tally *tally;
};

static int run_add(const struct plan_feature *feature, struct str key, void *state, uint32_t *len,
		   const struct cdpd_feature_input *input)
{
	feature_note(feature->def.type);
	int rc = feature_state_add(&feature->def, key, state, len, input);
	feature_note(STR_NONE);
	return rc;
}

static int add_to_row(const struct adding *adding, struct row *row, struct str key,
		      const struct cdpd_feature_input *input, bool *is_refused)
{
	const struct plan_feature *feature = adding->feature;
	struct row_feature *state;
	struct aligned_state scratch;
	int rc = take_state(feature, row, adding->arena, &state);
	if (rc) return rc;
	uint32_t len = state->len, before = len;
	if (state->room >= feature->max_state) {
		*is_refused = run_add(feature, key, state->state, &state->len, input) < 0;
		CHECK(state->len <= state->room);
	} else {
		memcpy(scratch.bytes, state->state, len);
		*is_refused = run_add(feature, key, scratch.bytes, &len, input) < 0;
		if (!*is_refused) rc = put_state(feature, state, scratch.bytes, len, adding->arena);
	}
	if (state->len > before) adding->tally->grown += state->len - before;
	return rc;
}

static int add(const struct adding *adding, struct str key, const struct cdpd_feature_input *input)
{
	for (size_t i = 0; i < adding->row_count; i++) {
		bool is_refused;
		int rc = add_to_row(adding, adding->rows[i], key, input, &is_refused);
		if (rc) return rc;
		if (is_refused && i == 0) adding->tally->refused++;
	}
	return OK;
}

/* The key's label; false: it is none that can be kept. */
static bool take_key(const struct cdpd_feature_input *input, struct str *key)
{
	return feature_label(input, key) && key->len > 0 && key->len <= FEATURE_LABEL_MAX;
}

/* A value inside the element, or for paths that do not lead into it the event's own. */
static int set_value(const struct adding *adding, struct buf *scratch, bool wants_text, const struct feature_path *path,
		     const struct json *element, struct cdpd_feature_input *input)
{
	struct json value;
	if (!path->is_array || !element) return input_set_path(adding->view, scratch, wants_text, path, input);
	if (!feature_path_in_element(path, *element, &value)) return ERR_NOT_FOUND;
	return input_set_json(scratch, wants_text, value, input);
}

static int add_one(const struct adding *adding, const struct json *element)
{
	const struct plan_feature *feature = adding->feature;
	struct event_view *view = adding->view;
	struct cdpd_feature_input input, key_input;
	struct str key = STR_NONE;
	input_start(view->event, &input);
	int rc = set_value(adding, &view->number, feature->wants_text, &feature->field, element, &input);
	if (!rc && feature->def.key.len) {
		key_input = (struct cdpd_feature_input){.text = {"", 0}};
		rc = set_value(adding, &view->key, true, &feature->key_field, element, &key_input);
		if (!rc && !take_key(&key_input, &key)) {
			adding->tally->refused++;
			return OK;
		}
	}
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	return add(adding, key, &input);
}

static int add_elements(const struct adding *adding)
{
	const struct plan_feature *feature = adding->feature;
	struct json array, element;
	struct json_iter it;
	size_t count = 0;
	int rc = event_view_get(adding->view, &feature->elements, &array);
	if (rc || json_type(array) != JSON_ARRAY) return rc == ERR_NOMEM ? rc : OK;
	for (json_iter_start(array, &it); !rc && json_next_element(&it, &element);) {
		bool passes;
		if (++count > FEATURE_ELEMENTS_MAX) {
			adding->tally->refused++;
			continue;
		}
		rc = feature_filter_element(&feature->filter, adding->view, element, &passes);
		if (!rc && passes) rc = add_one(adding, &element);
	}
	return rc;
}

_Static_assert(sizeof((struct row *)0)->touched_features * 8 >= PLAN_FEATURES_MAX, "a bit for each feature");

/* Segments look at what the event at hand has added to. */
static void touch(const struct plan *plan, const struct plan_feature *feature, struct row *view)
{
	size_t at = (size_t)(feature - plan->features);
	view->touched_features[at / 64] |= UINT64_C(1) << at % 64;
}

/* One feature, whose route the event is on. */
static int add_event(const struct plan *plan, const struct adding *adding)
{
	const struct plan_feature *feature = adding->feature;
	bool passes;
	int rc = feature_filter_event(&feature->filter, adding->view, &passes);
	if (!rc && passes) rc = feature->is_of_elements ? add_elements(adding) : add_one(adding, NULL);
	if (!rc && passes) touch(plan, feature, adding->rows[adding->row_count - 1]);
	return rc;
}

int features_apply(const struct plan *plan, struct event_view *view, struct row *const *rows, size_t row_count,
		   struct arena *arena, struct feature_tally *tally)
{
	const struct feature_route *route = feature_route_of(&plan->routes, view->event);
	struct adding adding = {NULL, view, rows, row_count, arena, tally};
	for (size_t i = 0; i < route->count; i++) {
		adding.feature = route->features[i];
		if (adding.feature->awaits & tally->awaits) {
			tally->deferred[tally->deferred_count++] = adding.feature->key;
			continue;
		}
		int rc = add_event(plan, &adding);
		if (rc) return rc;
	}
	return OK;
}

int features_apply_some(const struct plan *plan, struct event_view *view, struct row *const *rows, size_t row_count,
			struct arena *arena, struct feature_tally *tally, const uint64_t *keys, size_t key_count)
{
	const struct feature_route *route = feature_route_of(&plan->routes, view->event);
	struct adding adding = {NULL, view, rows, row_count, arena, tally};
	for (size_t i = 0; i < route->count; i++) {
		size_t k = 0;
		adding.feature = route->features[i];
		while (k < key_count && keys[k] != adding.feature->key) k++;
		if (k == key_count) continue;
		int rc = add_event(plan, &adding);
		if (rc) return rc;
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

/* ── merging and reading ─────────────────────────────────────────────────── */

/* States that a plugin says cannot be merged must not stop the fold: the first one stays. */
int features_merge(const struct plan *plan, struct row *into, const struct row *from, struct arena *arena)
{
	for (size_t i = 0; i < from->feature_count; i++) {
		const struct row_feature *other = &from->features[i];
		const struct plan_feature *feature = plan_feature_find(plan, other->key);
		if (!feature || !feature->def.impl) continue;
		struct aligned_state ours, theirs;
		struct row_feature *state;
		if (other->len > feature->max_state) return ERR_CORRUPT;
		int rc = take_state(feature, into, arena, &state);
		if (rc) return rc;
		uint32_t len = state->len;
		memcpy(ours.bytes, state->state, len);
		memcpy(theirs.bytes, other->state, other->len);
		feature_note(feature->def.type);
		int merged = feature_state_merge(&feature->def, ours.bytes, &len, theirs.bytes, other->len);
		feature_note(STR_NONE);
		if (merged < 0) continue;
		rc = put_state(feature, state, ours.bytes, len, arena);
		if (rc) return rc;
	}
	return OK;
}

size_t feature_read(const struct plan_feature *feature, const struct row_feature *state, int64_t now,
		    char json[FEATURE_JSON_MAX])
{
	struct aligned_state copy;
	int len = -1;
	feature_note(feature->def.type);
	if (feature->def.impl && !state) {
		uint32_t fresh = feature_state_init(&feature->def, copy.bytes);
		len = feature_state_read(&feature->def, copy.bytes, fresh, now, json, FEATURE_JSON_MAX);
	} else if (feature->def.impl && state->room) { /* aligned where it lies */
		len = feature_state_read(&feature->def, state->state, state->len, now, json, FEATURE_JSON_MAX);
	} else if (feature->def.impl && state->len <= sizeof copy.bytes) {
		memcpy(copy.bytes, state->state, state->len);
		len = feature_state_read(&feature->def, copy.bytes, state->len, now, json, FEATURE_JSON_MAX);
	}
	feature_note(STR_NONE);
	if (len >= 0 && len <= FEATURE_JSON_MAX) return (size_t)len;
	const struct str none = STR("null");
	memcpy(json, none.ptr, none.len);
	return none.len;
}
