#include "config/segments.h"

#include <stdio.h>

#include "config/segment_condition.h"

/* ── the file ──────────────────────────────────────────────────────────────── */

/* A relative path starts where the configuration lies. */
static int path_beside(struct arena *arena, const char *config_file, struct str path, struct str *out)
{
	const char *slash = strrchr(config_file, '/');
	int folder = slash && path.ptr[0] != '/' ? (int)(slash - config_file) + 1 : 0;
	return arena_printf(arena, out, "%.*s%.*s", folder, config_file, STR_ARG(path));
}

/* The file may be the list itself, or a map with `segments:`. */
static const struct node *as_map(struct reading *r, struct node *root)
{
	if (root->kind != NODE_LIST) return root;
	struct node *map = arena_new(r->arena, struct node);
	if (!map) {
		r->complaints->status = ERR_NOMEM;
		return root;
	}
	*map = (struct node){.kind = NODE_MAP, .line = root->line, .children = root, .child_count = 1};
	map->key = map->text = STR_NONE;
	root->key = STR("segments");
	return map;
}

static void read_file(struct reading *r, struct str path, struct segment_file *out)
{
	struct node *root;
	struct str error;
	int rc = tree_parse_file(r->arena, path.ptr, &root, &error);
	if (rc == ERR_NOMEM) r->complaints->status = rc;
	if (rc != OK) {
		if (rc != ERR_NOMEM) complain_whole(r->complaints, error);
		return;
	}
	const struct node *map = as_map(r, root);
	if (map->kind == NODE_MAP)
		read_table(r, &schema_segment_file, map, out);
	else
		complain(r->complaints, root->line, "must be a list of segments");
}

static void set_file(struct conf_segment *segments, size_t count, struct str file)
{
	for (size_t i = 0; i < count; i++) segments[i].file = file;
}

static void append(struct reading *r, struct config *config, const struct segment_file *more)
{
	size_t count = config->segment_count;
	struct conf_segment *all = arena_array(r->arena, struct conf_segment, count + more->count + 1);
	if (!all) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	if (count) memcpy(all, config->segments, count * sizeof *all);
	if (more->count) memcpy(all + count, more->items, more->count * sizeof *all);
	config->segments = all;
	config->segment_count = count + more->count;
}

static void add_file(struct reading *r, struct config *config)
{
	struct segment_file more = {0};
	struct str path;
	const char *config_file = r->complaints->file;
	if (config->segments_file.len == 0) return;
	if (path_beside(r->arena, config_file, config->segments_file, &path) != OK) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	r->complaints->file = path.ptr;
	read_file(r, path, &more);
	r->complaints->file = config_file;
	set_file(more.items, more.count, path);
	append(r, config, &more);
}

/* ── checks across segments ────────────────────────────────────────────────── */

static const struct conf_segment *find(const struct config *config, struct str name)
{
	for (size_t i = 0; i < config->segment_count; i++)
		if (str_eq(config->segments[i].name, name)) return &config->segments[i];
	return NULL;
}

static void complain_in(struct reading *r, const struct conf_segment *segment, int line, const char *fmt, struct str a)
{
	const char *config_file = r->complaints->file;
	r->complaints->file = segment->file.ptr;
	complain(r->complaints, line, fmt, STR_ARG(segment->name), STR_ARG(a));
	r->complaints->file = config_file;
}

static void check_unique(struct reading *r, const struct config *config)
{
	for (size_t i = 0; i < config->segment_count; i++) {
		const struct conf_segment *segment = &config->segments[i], *first = find(config, segment->name);
		if (segment->name.len && first != segment && !str_eq(first->file, segment->file))
			complain_in(r, segment, segment->line, "segment '%.*s' is already in %.*s", first->file);
	}
}

struct walk {
	struct reading *r;
	const struct config *config;
	uint8_t *state; /* of each segment: 0 not seen, 1 on the way, 2 done */
	const struct conf_segment *at;
	size_t depth;
};

static void visit(struct walk *walk, size_t index);

static void follow(void *ctx, struct str name, int line)
{
	struct walk *walk = ctx;
	const struct conf_segment *next = find(walk->config, name), *here = walk->at;
	size_t index = next ? (size_t)(next - walk->config->segments) : 0;
	if (!next || walk->state[index] == 2) return;
	if (walk->state[index] == 1) {
		complain_in(walk->r, here, line,
			    "segment '%.*s': segments may not refer to each other in a circle, as "
			    "'%.*s' does",
			    name);
		return;
	}
	visit(walk, index);
	walk->at = here;
}

static void visit(struct walk *walk, size_t index)
{
	walk->state[index] = 1;
	walk->at = &walk->config->segments[index];
	segment_condition_references(walk->at->when, follow, walk);
	walk->state[index] = 2;
}

static void check_circles(struct reading *r, const struct config *config)
{
	struct walk walk = {.r = r, .config = config};
	walk.state = arena_array(r->arena, uint8_t, config->segment_count + 1);
	if (!walk.state) r->complaints->status = ERR_NOMEM;
	for (size_t i = 0; walk.state && i < config->segment_count; i++)
		if (walk.state[i] == 0) visit(&walk, i);
}

/* ── conditions ────────────────────────────────────────────────────────────── */

static const char **names_of(struct reading *r, const void *items, size_t count, size_t size, size_t offset)
{
	const char **names = arena_array(r->arena, const char *, count + 1);
	for (size_t i = 0; names && i < count; i++) {
		struct str name, copy;
		memcpy(&name, (const char *)items + i * size + offset, sizeof name);
		if (arena_str(r->arena, name.ptr ? name : STR_NONE, &copy) != OK) return NULL;
		names[i] = copy.ptr;
	}
	return names;
}

static void read_conditions(struct reading *r, struct config *config)
{
	struct condition_names names = {
	    .config = config,
	    .features = names_of(r, config->features, config->feature_count, sizeof *config->features,
				 offsetof(struct conf_feature, name)),
	    .segments = names_of(r, config->segments, config->segment_count, sizeof *config->segments,
				 offsetof(struct conf_segment, name)),
	    .namespaces = names_of(r, config->namespaces, config->namespace_count, sizeof *config->namespaces,
				   offsetof(struct conf_namespace, name)),
	    .purposes = names_of(r, config->purposes, config->purpose_count, sizeof *config->purposes,
				 offsetof(struct conf_purpose, name)),
	};
	const char *config_file = r->complaints->file;
	if (!names.features || !names.segments || !names.namespaces || !names.purposes) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < config->segment_count; i++) {
		r->complaints->file = config->segments[i].file.ptr;
		if (config->segments[i].when) segment_condition_read(r, &names, &config->segments[i]);
	}
	r->complaints->file = config_file;
}

void segments_check(struct reading *reading, const struct node *root, struct draft *draft)
{
	struct config *config = &draft->config;
	struct str file = str_from(reading->complaints->file);
	set_file(config->segments, config->segment_count, file);
	add_file(reading, config);
	if (config->segment_count > CONF_SEGMENTS_MAX)
		complain(reading->complaints, root->line, "segments: at most %d", CONF_SEGMENTS_MAX);
	if (reading->complaints->status || config->segment_count == 0 || config->segment_count > CONF_SEGMENTS_MAX)
		return;
	check_unique(reading, config);
	read_conditions(reading, config);
	check_circles(reading, config);
}
