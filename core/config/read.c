#include "config/read.h"

#include <stdio.h>

#include "config/read_value.h"

#define CANDIDATES_MAX 64
#define ITEMS_MAX      4096
#define PATH_SIZE      256

/* ── unknown keys ──────────────────────────────────────────────────────────── */

/* Is `prefix` a map on the way to some key of the table? */
static bool is_section(const struct table *table, struct str prefix)
{
	for (size_t i = 0; i < table->count; i++) {
		struct str path = str_from(table->keys[i].path);
		if (path.len > prefix.len && str_starts(path, prefix) && path.ptr[prefix.len] == '.') return true;
	}
	return false;
}

static const struct key *find_key(const struct table *table, struct str path)
{
	for (size_t i = 0; i < table->count; i++)
		if (str_eq(str_from(table->keys[i].path), path)) return &table->keys[i];
	return NULL;
}

struct candidates {
	char texts[CANDIDATES_MAX][64];
	const char *list[CANDIDATES_MAX];
	size_t count;
};

/* What may stand in the map `section` ("" or "limits."). */
static void list_candidates(const struct table *table, struct str section, struct candidates *out)
{
	out->count = 0;
	for (size_t i = 0; i < table->count && out->count < CANDIDATES_MAX; i++) {
		struct str path = str_from(table->keys[i].path);
		if (!str_starts(path, section)) continue;
		path = str_of(path.ptr + section.len, path.len - section.len);
		const char *dot = memchr(path.ptr, '.', path.len);
		int len = dot ? (int)(dot - path.ptr) : (int)path.len;
		(void)snprintf(out->texts[out->count], sizeof out->texts[0], "%.*s", len, path.ptr);
		out->list[out->count] = out->texts[out->count];
		out->count++;
	}
}

static void complain_unknown(struct reading *r, const struct table *table, const struct node *node, struct str section,
			     const char *where)
{
	struct candidates candidates;
	char suggestion[SUGGESTION_SIZE];
	list_candidates(table, section, &candidates);
	suggest(node->key, candidates.list, candidates.count, suggestion);
	if (section.len) section.len--; /* the dot */
	bool is_top = section.len == 0 && !*where;
	complain(r->complaints, node->line, "unknown key '%.*s'%s%s%s%.*s%s", STR_ARG(node->key), is_top ? "" : " in ",
		 where, section.len && *where ? "." : "", STR_ARG(section), suggestion);
}

/* `section` is the dotted path of `map` inside the table's map, with a last dot unless empty. */
static void check_keys(struct reading *r, const struct table *table, const struct node *map, struct str section,
		       const char *where)
{
	for (const struct node *child = map->children; child; child = child->next) {
		char text[PATH_SIZE];
		int len = snprintf(text, sizeof text, "%.*s%.*s.", STR_ARG(section), STR_ARG(child->key));
		struct str path = str_of(text, len > 0 ? (size_t)len - 1 : 0);
		bool fits = len > 0 && (size_t)len < sizeof text && !memchr(child->key.ptr, '.', child->key.len);
		if (fits && find_key(table, path)) continue;
		if (fits && table->is_open && section.len == 0) continue;
		if (!fits || !is_section(table, path))
			complain_unknown(r, table, child, section, where);
		else if (child->kind == NODE_MAP)
			check_keys(r, table, child, str_of(text, path.len + 1), where);
		else if (!node_is_absent(child))
			complain(r->complaints, child->line, "%.*s must be a map (lines of 'key: value')",
				 STR_ARG(path));
	}
}

const struct node *node_at(const struct node *map, struct str path)
{
	while (map) {
		const char *dot = memchr(path.ptr, '.', path.len);
		struct str step = str_of(path.ptr, dot ? (size_t)(dot - path.ptr) : path.len);
		map = node_child(map, step);
		if (!dot) return map;
		path = str_of(dot + 1, path.len - step.len - 1);
	}
	return NULL;
}

/* ── items ─────────────────────────────────────────────────────────────────── */

static void read_map(struct reading *r, const struct table *table, const struct node *map, const char *where,
		     void *out);

/* A text where a map is expected stands for the map with the short form's key. */
static const struct node *expand(struct reading *r, const struct table *table, const struct node *node)
{
	if (node->kind != NODE_SCALAR || !table->short_form) return node;
	struct node *map = arena_new(r->arena, struct node), *text = arena_new(r->arena, struct node);
	if (!map || !text) {
		r->complaints->status = ERR_NOMEM;
		return node;
	}
	*text = *node;
	text->key = str_from(table->short_form);
	text->next = NULL;
	*map = (struct node){.kind = NODE_MAP, .line = node->line, .children = text, .child_count = 1};
	map->key = map->text = STR_NONE;
	return map;
}

/* Texts are never NULL pointers, not even those of an item that is refused as a whole: others are compared with it. */
static void clear_texts(const struct table *table, char *item)
{
	const struct str none = STR_NONE;
	for (size_t i = 0; i < table->count; i++)
		if (table->keys[i].type == KEY_TEXT) memcpy(item + table->keys[i].offset, &none, sizeof none);
}

static void read_item(struct reading *r, const struct table *table, const struct node *node, const char *where,
		      void *item)
{
	node = expand(r, table, node);
	clear_texts(table, item);
	if (node->kind != NODE_MAP) {
		complain(r->complaints, node->line, "%s must be a map (lines of 'key: value')", where);
		return;
	}
	read_map(r, table, node, where, item);
	if (table->line_of) *table->line_of(item) = node->line;
	if (table->check) table->check(r, node, where, item);
}

static struct str text_of(const struct key *key, const char *item)
{
	struct str text;
	memcpy(&text, item + key->offset, sizeof text);
	return text;
}

static void check_unique(struct reading *r, const struct key *key, const struct key *list, const struct node *node,
			 const char *items, size_t count)
{
	for (size_t i = 0; i < count; i++, node = node->next) {
		struct str text = text_of(key, items + i * list->items->item_size);
		for (size_t j = 0; j < i && text.len; j++) {
			if (!str_eq(text, text_of(key, items + j * list->items->item_size))) continue;
			complain(r->complaints, node->line, "%s[%zu]: %s '%.*s' is taken by %s[%zu]", list->path, i,
				 key->path, STR_ARG(text), list->path, j);
			break;
		}
	}
}

static void read_items(struct reading *r, const struct key *key, const struct node *list, const char *path, char *out)
{
	const struct table *table = key->items;
	size_t i = 0;
	if (list->kind != NODE_LIST || list->child_count > ITEMS_MAX) {
		complain(r->complaints, list->line,
			 list->kind == NODE_LIST ? "%s has too many items" : "%s must be a list", path);
		return;
	}
	char *items = arena_zalloc_array(r->arena, list->child_count + 1, table->item_size);
	if (!items) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	for (const struct node *node = list->children; node; node = node->next, i++) {
		char where[PATH_SIZE];
		(void)snprintf(where, sizeof where, "%s[%zu]", path, i);
		read_item(r, table, node, where, items + i * table->item_size);
	}
	for (size_t k = 0; k < table->count; k++)
		if (table->keys[k].flags & KEY_UNIQUE) check_unique(r, &table->keys[k], key, list->children, items, i);
	memcpy(out + key->offset, &items, sizeof items);
	memcpy(out + key->count_offset, &i, sizeof i);
}

/* ── maps ──────────────────────────────────────────────────────────────────── */

static void read_node(struct reading *r, const struct key *key, const struct node *node, const char *path, char *out)
{
	if (key->type == KEY_ITEMS)
		read_items(r, key, node, path, out);
	else
		read_value(r, key, node, path, out);
}

static void read_default(struct reading *r, const struct key *key, const char *path, char *out)
{
	const struct node *node = default_node(r, key);
	const struct str none = STR_NONE;
	if (key->type == KEY_TEXT) memcpy(out + key->offset, &none, sizeof none); /* never a NULL pointer */
	if (node) read_node(r, key, node, path, out);
}

static void read_key(struct reading *r, const struct key *key, const struct node *map, const char *where, char *out)
{
	const struct node *node = node_at(map, str_from(key->path));
	bool is_given = node && !node_is_absent(node);
	char path[PATH_SIZE];
	(void)snprintf(path, sizeof path, "%s%s%s", where, *where ? "." : "", key->path);
	/* The default even when a value is given: a wrong value must not cause complaints elsewhere. */
	if (!is_given || key->type != KEY_ITEMS) read_default(r, key, path, out);
	if (is_given)
		read_node(r, key, node, path, out);
	else if (key->flags & KEY_REQUIRED)
		complain(r->complaints, map->line, "%s needs '%s'", where, key->path);
}

static void read_map(struct reading *r, const struct table *table, const struct node *map, const char *where, void *out)
{
	check_keys(r, table, map, STR_NONE, where);
	for (size_t i = 0; i < table->count; i++) read_key(r, &table->keys[i], map, where, out);
}

void read_table(struct reading *reading, const struct table *table, const struct node *map, void *out)
{
	read_map(reading, table, map, "", out);
}
