#include "training/columns.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/check.h"

#define COLUMNS_MAX 4096
#define CELL_MAX    ((size_t)1 << 20)

static const struct str NOTHING = {"null", 4};

/* ── what a feature is made of ───────────────────────────────────────────── */

static const char *const interval_members[] = {"events", "count", "mean", "variance", "min", "max"};

static bool is_type(const struct conf_feature *feature, const char *type)
{
	return str_eq(feature->type, str_from(type));
}

static bool is_number_type(const struct conf_feature *feature)
{
	static const char *const types[] = {"count",    "sum",      "min",     "max",   "mean",
					    "variance", "distinct", "decayed", "window"};
	for (size_t i = 0; i < COUNT_OF(types); i++)
		if (is_type(feature, types[i])) return true;
	return false;
}

/* Plugins' types are taken for one value: an object stands in its cell as JSON. */
static bool is_one_value(const struct conf_feature *feature)
{
	return !feature->key.len && !is_type(feature, "intervals") && !is_type(feature, "histogram") &&
	       !is_type(feature, "top");
}

static size_t histogram_size(const struct conf_feature *feature)
{
	const struct node *by = feature->node ? node_child(feature->node, STR("by")) : NULL;
	if (by && str_eq(by->text, STR("weekday"))) return 7;
	return by && str_eq(by->text, STR("hour_of_week")) ? 168 : 24;
}

/* ── choosing ────────────────────────────────────────────────────────────── */

struct choosing {
	struct reading *reading;
	const struct config *config;
	struct columns *out;
	size_t room;
	int line;
};

static size_t feature_index(struct columns *columns, const struct conf_feature *feature)
{
	for (size_t i = 0; i < columns->feature_count; i++)
		if (columns->features[i] == feature) return i;
	columns->features[columns->feature_count] = feature;
	return columns->feature_count++;
}

static struct column *add(struct choosing *c, const struct conf_feature *feature, enum column_part kind)
{
	struct columns *out = c->out;
	if (out->count == c->room) {
		struct column *more = arena_array(c->reading->arena, struct column, 2 * c->room + 64);
		if (!more) {
			c->reading->complaints->status = ERR_NOMEM;
			return NULL;
		}
		if (out->count) memcpy(more, out->items, out->count * sizeof *more);
		out->items = more;
		c->room = 2 * c->room + 64;
	}
	struct column *column = &out->items[out->count++];
	*column = (struct column){.name = feature->name, .feature = feature_index(out, feature), .kind = kind};
	return column;
}

static void name_part(struct choosing *c, struct column *column, const struct conf_feature *feature, struct str part)
{
	struct arena *arena = c->reading->arena;
	int rc = arena_str(arena, part, &column->part);
	if (!rc) rc = arena_printf(arena, &column->name, "%.*s.%.*s", STR_ARG(feature->name), STR_ARG(part));
	if (rc) c->reading->complaints->status = rc;
}

static void add_whole(struct choosing *c, const struct conf_feature *feature)
{
	struct column *column = add(c, feature, COLUMN_WHOLE);
	if (column) column->is_number = is_number_type(feature);
}

static void add_member(struct choosing *c, const struct conf_feature *feature, struct str part)
{
	struct column *column = add(c, feature, COLUMN_MEMBER);
	if (!column) return;
	column->is_number = true;
	name_part(c, column, feature, part);
}

static void add_key(struct choosing *c, const struct conf_feature *feature, struct str part)
{
	struct column *column = add(c, feature, COLUMN_KEY);
	if (!column) return;
	column->is_number = is_number_type(feature);
	name_part(c, column, feature, part);
}

static void add_element(struct choosing *c, const struct conf_feature *feature, size_t index)
{
	char digits[24];
	struct column *column = add(c, feature, COLUMN_ELEMENT);
	if (!column) return;
	(void)snprintf(digits, sizeof digits, "%zu", index);
	column->index = index;
	column->is_number = true;
	name_part(c, column, feature, str_from(digits));
}

/* A feature named without a part: all its columns, where it is told how many there are. */
static void add_all(struct choosing *c, const struct conf_feature *feature)
{
	if (is_one_value(feature)) {
		add_whole(c, feature);
	} else if (feature->key.len) {
		complain(c->reading->complaints, c->line,
			 "training_set.features: '%.*s' has a value for each key, say which: '%.*s.KEY'",
			 STR_ARG(feature->name), STR_ARG(feature->name));
	} else if (is_type(feature, "intervals")) {
		for (size_t i = 0; i < COUNT_OF(interval_members); i++)
			add_member(c, feature, str_from(interval_members[i]));
	} else if (is_type(feature, "histogram")) {
		for (size_t i = 0; i < histogram_size(feature); i++) add_element(c, feature, i);
	} else {
		complain(
		    c->reading->complaints, c->line,
		    "training_set.features: '%.*s' is a list of changing length (type %.*s), it cannot be a column",
		    STR_ARG(feature->name), STR_ARG(feature->type));
	}
}

static void complain_part(struct choosing *c, const struct conf_feature *feature, struct str part, const char *hint)
{
	complain(c->reading->complaints, c->line, "training_set.features: '%.*s' (type %.*s) has no part '%.*s'%s",
		 STR_ARG(feature->name), STR_ARG(feature->type), STR_ARG(part), hint);
}

static void add_part(struct choosing *c, const struct conf_feature *feature, struct str part)
{
	char suggestion[SUGGESTION_SIZE];
	uint64_t index;
	bool is_interval = is_type(feature, "intervals");
	if (feature->key.len && !is_interval) {
		add_key(c, feature, part);
	} else if (is_interval && !feature->key.len) {
		for (size_t i = 0; i < COUNT_OF(interval_members); i++) {
			if (!str_eq(part, str_from(interval_members[i]))) continue;
			add_member(c, feature, part);
			return;
		}
		complain_part(c, feature, part,
			      suggest(part, interval_members, COUNT_OF(interval_members), suggestion));
	} else if (is_type(feature, "histogram") && str_to_u64(part, &index) == OK && index < histogram_size(feature)) {
		add_element(c, feature, (size_t)index);
	} else {
		complain_part(c, feature, part, "");
	}
}

static const struct conf_feature *find(const struct config *config, struct str name)
{
	for (size_t i = 0; i < config->feature_count; i++)
		if (str_eq(config->features[i].name, name)) return &config->features[i];
	return NULL;
}

static void complain_unknown(struct choosing *c, struct str name)
{
	const struct config *config = c->config;
	char suggestion[SUGGESTION_SIZE];
	const char **names = calloc(config->feature_count + 1, sizeof *names);
	if (!names) {
		c->reading->complaints->status = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < config->feature_count; i++) names[i] = config->features[i].name.ptr;
	complain(c->reading->complaints, c->line, "training_set.features: there is no feature '%.*s'%s", STR_ARG(name),
		 suggest(name, names, config->feature_count, suggestion));
	free(names);
}

/* Names of features have no dots: what follows the first is the part. */
static void choose(struct choosing *c, struct str text)
{
	const char *dot = memchr(text.ptr, '.', text.len);
	struct str name = {text.ptr, dot ? (size_t)(dot - text.ptr) : text.len};
	const struct conf_feature *feature = find(c->config, name);
	if (!feature)
		complain_unknown(c, name);
	else if (dot)
		add_part(c, feature, (struct str){dot + 1, text.len - name.len - 1});
	else
		add_all(c, feature);
}

static void check_twice(struct choosing *c)
{
	const struct columns *columns = c->out;
	if (columns->count > COLUMNS_MAX) {
		complain(c->reading->complaints, c->line, "training_set.features: more than %d columns", COLUMNS_MAX);
		return;
	}
	for (size_t i = 0; i < columns->count; i++)
		for (size_t k = 0; k < i; k++)
			if (str_eq(columns->items[i].name, columns->items[k].name))
				complain(c->reading->complaints, c->line,
					 "training_set.features: '%.*s' is there twice",
					 STR_ARG(columns->items[i].name));
}

int columns_make(struct reading *reading, const struct training_set *set, const struct config *config,
		 struct columns *out)
{
	struct choosing c = {.reading = reading, .config = config, .out = out};
	*out = (struct columns){.count = 0};
	out->features = arena_array(reading->arena, const struct conf_feature *, config->feature_count + 1);
	if (!out->features) return ERR_NOMEM;
	for (size_t i = 0; i < set->feature_count && out->count <= COLUMNS_MAX; i++) {
		c.line = line_of_item(set->root, "training_set.features", i);
		choose(&c, set->features[i]);
	}
	for (size_t i = 0; set->feature_count == 0 && i < config->feature_count; i++)
		if (is_one_value(&config->features[i])) add_whole(&c, &config->features[i]);
	c.line = line_of(set->root, "training_set.features");
	check_twice(&c);
	if (reading->complaints->status) return reading->complaints->status;
	return reading->complaints->count ? ERR_INVALID : OK;
}

/* ── reading ─────────────────────────────────────────────────────────────── */

static bool find_part(const struct column *column, struct json root, struct json *out)
{
	struct json_iter it;
	struct json keys;
	if (column->kind == COLUMN_MEMBER) return json_get(root, column->part, out);
	if (column->kind == COLUMN_KEY) return json_get(root, STR("keys"), &keys) && json_get(keys, column->part, out);
	if (json_type(root) != JSON_ARRAY) return false;
	json_iter_start(root, &it);
	for (size_t i = 0; json_next_element(&it, out); i++)
		if (i == column->index) return true;
	return false;
}

static int read_part(const struct column *column, struct json root, struct arena *arena, struct str *cell)
{
	struct json value;
	struct buf text;
	*cell = NOTHING;
	if (!find_part(column, root, &value)) return OK;
	buf_init(&text, CELL_MAX);
	int rc = json_write(&text, value);
	if (!rc) rc = arena_str(arena, buf_str(&text), cell);
	buf_fini(&text);
	return rc;
}

static int read_parts(const struct columns *columns, size_t feature, struct str json, struct json_reader *reader,
		      struct arena *arena, struct str *cells)
{
	struct json root;
	const char *why;
	char *text = arena_alloc(arena, json.len + BUF_SLACK);
	if (!text) return ERR_NOMEM;
	memcpy(text, json.ptr, json.len);
	int rc = json_parse(reader, (struct str){text, json.len}, &root, &why);
	for (size_t i = 0; i < columns->count && !rc; i++)
		if (columns->items[i].feature == feature) rc = read_part(&columns->items[i], root, arena, &cells[i]);
	return rc;
}

int columns_read(const struct columns *columns, size_t feature, struct str json, struct json_reader *reader,
		 struct arena *arena, struct str *cells)
{
	bool has_parts = false;
	for (size_t i = 0; i < columns->count; i++) {
		const struct column *column = &columns->items[i];
		if (column->feature != feature) continue;
		if (column->kind != COLUMN_WHOLE) {
			has_parts = true;
			continue;
		}
		int rc = arena_str(arena, json, &cells[i]);
		if (rc) return rc;
	}
	return has_parts ? read_parts(columns, feature, json, reader, arena, cells) : OK;
}
