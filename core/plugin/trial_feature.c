/* A feature type in a trial: the promises that a rebuild and a merge rest on. The same events added in order, backwards and in two
 * halves that are merged either way must read the same, if the type calls itself exact; the same adds must give the same bytes. */
#include <stdio.h>

#include "plugin/trial_internal.h"

#define STATE_MAX   8192
#define JSON_MAX    65536
#define OPTIONS_MAX 32
#define NOW_US      ((int64_t)1900000000 * 1000000)

struct state {
	_Alignas(8) unsigned char bytes[STATE_MAX];
	uint32_t len;
};
struct feature {
	struct trial_run *run;
	const struct cdpd_feature_type *type;
	struct cdpd_params params;
	struct cdpd_param values[OPTIONS_MAX];
	bool has_options;
	struct cdpd_feature_input *inputs;
};

static void init(struct feature *feature, struct state *state)
{
	memset(state->bytes, 0xa5, sizeof state->bytes); /* what init leaves unwritten must not be read */
	state->len = feature->has_options ? feature->type->init_with(&feature->params, state->bytes)
					  : feature->type->init(state->bytes);
}

static int add(struct feature *feature, struct state *state, size_t index)
{
	const struct cdpd_feature_input *input = &feature->inputs[index];
	trial_at(feature->run, "add", &feature->run->events[index]);
	return feature->has_options ? feature->type->add_with(&feature->params, state->bytes, &state->len, input)
				    : feature->type->add(state->bytes, &state->len, input);
}

static int merge(struct feature *feature, struct state *into, const struct state *other)
{
	trial_at(feature->run, "merge", NULL);
	return feature->has_options
		   ? feature->type->merge_with(&feature->params, into->bytes, &into->len, other->bytes, other->len)
		   : feature->type->merge(into->bytes, &into->len, other->bytes, other->len);
}

/* The reading as text; what is no JSON is a finding. */
static struct str reading(struct feature *feature, const struct state *state, char json[JSON_MAX])
{
	struct json root;
	const char *why;
	trial_at(feature->run, "read", NULL);
	int len = feature->has_options
		      ? feature->type->read_with(&feature->params, state->bytes, state->len, NOW_US, json,
						 JSON_MAX - BUF_SLACK)
		      : feature->type->read(state->bytes, state->len, NOW_US, json, JSON_MAX - BUF_SLACK);
	if (len < 0 || len > (int)(JSON_MAX - BUF_SLACK)) {
		trial_find(feature->run, "read answered %d", len);
		return STR("");
	}
	memset(json + len, 0, BUF_SLACK);
	if (json_parse(feature->run->reader, str_of(json, (size_t)len), &root, &why))
		trial_find(feature->run, "read wrote what is no JSON: %.*s", len, json);
	return str_of(json, (size_t)len);
}

static size_t add_all(struct feature *feature, struct state *state, size_t from, size_t to, bool is_backwards)
{
	size_t refused = 0;
	for (size_t i = from; i < to; i++) {
		if (add(feature, state, is_backwards ? to - 1 - (i - from) : i) < 0) refused++;
		if (state->len > feature->type->max_state) {
			trial_find(feature->run, "add made a state of %u bytes, the type promises at most %u",
				   state->len, feature->type->max_state);
			break;
		}
	}
	return refused;
}

static void compare(struct feature *feature, const struct state *state, struct str wanted, const char *how)
{
	static char json[JSON_MAX];
	struct str got = reading(feature, state, json);
	if (str_eq(got, wanted)) return;
	printf("%s: %.*s\n", how, STR_ARG(got));
	if (feature->type->exact) trial_find(feature->run, "it calls itself exact, but reads otherwise %s", how);
}

static void try_orders(struct feature *feature, size_t count)
{
	static struct state forwards, again, backwards, first, second, other_first, other_second;
	static char json[JSON_MAX];
	init(feature, &forwards);
	size_t refused = add_all(feature, &forwards, 0, count, false);
	struct str wanted = reading(feature, &forwards, json);
	printf("state: %u of at most %u bytes, %zu inputs refused\nreads: %.*s\n", forwards.len,
	       feature->type->max_state, refused, STR_ARG(wanted));
	init(feature, &again);
	(void)add_all(feature, &again, 0, count, false);
	if (again.len != forwards.len || memcmp(again.bytes, forwards.bytes, again.len) != 0)
		trial_find(feature->run, "the same adds gave other bytes: it looks at something besides its inputs");
	init(feature, &backwards);
	(void)add_all(feature, &backwards, 0, count, true);
	compare(feature, &backwards, wanted, "added backwards");
	init(feature, &first);
	init(feature, &second);
	(void)add_all(feature, &first, 0, count / 2, false);
	(void)add_all(feature, &second, count / 2, count, false);
	other_first = first;
	other_second = second;
	if (merge(feature, &first, &second) < 0) trial_find(feature->run, "two halves could not be merged");
	compare(feature, &first, wanted, "as two halves merged");
	if (merge(feature, &other_second, &other_first) < 0) trial_find(feature->run, "two halves could not be merged");
	compare(feature, &other_second, wanted, "as two halves merged the other way round");
}

static void time_adds(struct feature *feature, size_t count)
{
	static struct state state;
	init(feature, &state);
	for (size_t i = 0; i < count; i++) {
		int64_t from = trial_now_ns();
		(void)add(feature, &state, i);
		feature->run->took_ns[i] = trial_now_ns() - from;
	}
	trial_print_times(feature->run, "add");
}

/* ── what the type is given ──────────────────────────────────────────────── */

static int read_input(struct trial_run *run, struct enrich_view *view, size_t index, const struct field_path *path,
		      struct cdpd_feature_input *out)
{
	struct trial_event *event = &run->events[index];
	struct cdpd_value value = {.kind = CDPD_VALUE_NONE, .text = {"", 0}};
	struct json root;
	const char *why;
	int rc = json_parse(run->reader, event->text, &root, &why);
	if (rc == OK) {
		enrich_view_begin(view, &event->event, &root, &run->arena);
		if (path->text.len) rc = enrich_view_get(view, path, &value);
	}
	*out = (struct cdpd_feature_input){
	    .size = sizeof *out,
	    .time_us = event->event.event_time_us,
	    .utc_offset_min = event->event.utc_offset_min,
	    .message_id = sdk_str(event->event.message_id),
	    .kind = value.kind,
	    .number = value.number,
	    .text = value.text,
	};
	return rc;
}

static int read_inputs(struct feature *feature)
{
	struct trial_run *run = feature->run;
	struct enrich_view view;
	struct field_path path = {.text = run->trial->field ? str_from(run->trial->field) : STR_NONE};
	path.head = field_head_of(path.text, &path.rest);
	feature->inputs = arena_zalloc_array(&run->arena, run->event_count + 1, sizeof *feature->inputs);
	if (!feature->inputs) return ERR_NOMEM;
	enrich_view_init(&view);
	int rc = OK;
	for (size_t i = 0; i < run->event_count && rc == OK; i++)
		rc = read_input(run, &view, i, &path, &feature->inputs[i]);
	enrich_view_fini(&view);
	return rc;
}

static int read_param(struct feature *feature, const struct cdpd_option *option, const struct node *node,
		      struct cdpd_param *out)
{
	struct option_value value = {.text = STR_NONE};
	struct str why = STR_NONE, text = node                   ? node->text
					  : option->default_text ? str_from(option->default_text)
								 : STR_NONE;
	if (text.len && option_read(&feature->run->arena, option, text, &value, &why)) {
		trial_find(feature->run, "option '%s' %.*s", option->name, STR_ARG(why));
		return ERR_INVALID;
	}
	*out = (struct cdpd_param){value.integer, value.number, sdk_str(value.text)};
	if (option->type == CDPD_OPTION_BOOL) out->integer = value.boolean;
	for (const char *at = option->values; at && option->type == CDPD_OPTION_ENUM; out->integer++) {
		const char *bar = strchr(at, '|');
		if (str_eq(value.text, str_of(at, bar ? (size_t)(bar - at) : strlen(at)))) break;
		at = bar ? bar + 1 : NULL;
	}
	return OK;
}

static int read_params(struct feature *feature)
{
	const struct cdpd_feature_type *type = feature->type;
	struct trial_run *run = feature->run;
	struct node *root = NULL;
	struct str error;
	feature->has_options = plugin_feature_has_options(type) && type->options.count > 0;
	if (!feature->has_options) return OK;
	if (type->options.count > OPTIONS_MAX) return ERR_TOO_LARGE;
	if (run->trial->options && tree_parse(&run->arena, str_from(run->trial->options), "options", &root, &error)) {
		trial_find(run, "%.*s", STR_ARG(error));
		return ERR_INVALID;
	}
	for (size_t i = 0; i < type->options.count; i++) {
		const struct cdpd_option *option = plugin_option(&type->options, i);
		const struct node *node = root ? node_child(root, str_from(option->name)) : NULL;
		int rc = read_param(feature, option, node, &feature->values[i]);
		if (rc) return rc;
	}
	feature->params = (struct cdpd_params){sizeof feature->params, (uint32_t)type->options.count, feature->values};
	const char *wrong = type->check ? type->check(&feature->params) : NULL;
	if (wrong) trial_find(run, "%s", wrong);
	return wrong ? ERR_INVALID : OK;
}

int trial_feature(struct trial_run *run)
{
	struct feature feature = {.run = run, .type = run->table->feature};
	if (feature.type->needs_field && !run->trial->field) {
		trial_find(run, "the type needs a field: say which (--field properties.total)");
		return ERR_INVALID;
	}
	int rc = read_params(&feature);
	if (rc == OK) rc = read_inputs(&feature);
	if (rc || run->event_count == 0) return rc;
	try_orders(&feature, run->event_count);
	time_adds(&feature, run->event_count);
	return OK;
}
