#include "config/tree_set.h"

#define LIST_MAX 4096 /* items that --set may count up to */

static void forget_lines(struct node *node)
{
	node->line = 0;
	for (struct node *child = node->children; child; child = child->next) forget_lines(child);
}

int node_from_text(struct arena *arena, struct str value, const char *name, struct node **out, struct str *error)
{
	struct str trimmed = str_trim(value);
	if (trimmed.len && strchr("[{\"'", trimmed.ptr[0])) {
		int rc = tree_parse(arena, trimmed, name, out, error);
		if (rc == OK) forget_lines(*out);
		return rc;
	}
	struct node *node = arena_new(arena, struct node);
	if (!node) return ERR_NOMEM;
	*node = (struct node){.kind = NODE_SCALAR, .key = STR_NONE};
	*out = node;
	return arena_str(arena, value, &node->text);
}

bool node_equal(const struct node *a, const struct node *b)
{
	if (!a || !b) return a == b;
	if (a->kind != b->kind || a->is_quoted != b->is_quoted || a->child_count != b->child_count) return false;
	if (!str_eq(a->key, b->key) || !str_eq(a->text, b->text)) return false;
	const struct node *x = a->children, *y = b->children;
	while (x && y && node_equal(x, y)) x = x->next, y = y->next;
	return !x && !y;
}

/* ── --set ─────────────────────────────────────────────────────────────────── */

struct setter {
	struct arena *arena;
	struct str path, error;
};

static int refuse(struct setter *s, struct str step, const char *what)
{
	int rc = arena_printf(s->arena, &s->error, "--set %.*s: '%.*s' %s", STR_ARG(s->path), STR_ARG(step), what);
	return rc == OK ? ERR_INVALID : rc;
}

static struct node *append_new(struct arena *arena, struct node *parent, struct str key)
{
	struct node **at = &parent->children;
	while (*at) at = &(*at)->next;
	*at = arena_new(arena, struct node);
	if (!*at) return NULL;
	**at = (struct node){.kind = NODE_SCALAR, .key = key, .text = STR_NONE};
	parent->child_count++;
	return *at;
}

static int step_into_map(struct setter *s, struct node *map, struct str step, struct node **out)
{
	struct str key;
	for (*out = map->children; *out; *out = (*out)->next)
		if (str_eq((*out)->key, step)) return OK;
	if (arena_str(s->arena, step, &key) != OK) return ERR_NOMEM;
	*out = append_new(s->arena, map, key);
	return *out ? OK : ERR_NOMEM;
}

static int step_into_list(struct setter *s, struct node *list, struct str step, struct node **out)
{
	uint64_t index;
	if (str_to_u64(step, &index) != OK) return refuse(s, step, "must be the number of a list item");
	if (index > list->child_count) return refuse(s, step, "is past the end of the list");
	if (index >= LIST_MAX) return refuse(s, step, "is too large");
	if (index == list->child_count) {
		*out = append_new(s->arena, list, STR_NONE);
		return *out ? OK : ERR_NOMEM;
	}
	*out = list->children;
	while (index--) *out = (*out)->next;
	return OK;
}

/* A key that is there without a value, or was only just made, becomes a map. */
static int step_into(struct setter *s, struct node *node, struct str step, struct node **out)
{
	if (step.len == 0) return refuse(s, step, "is no key: the path has an empty step");
	if (node->kind == NODE_SCALAR && !node->is_quoted && node->text.len == 0) node->kind = NODE_MAP;
	switch (node->kind) {
	case NODE_MAP: return step_into_map(s, node, step, out);
	case NODE_LIST: return step_into_list(s, node, step, out);
	default: return refuse(s, node->key, "has a value, not keys");
	}
}

static int find_target(struct setter *s, struct node *root, struct node **out)
{
	struct str rest = s->path;
	*out = root;
	for (size_t depth = 0; depth < 16; depth++) {
		const char *dot = memchr(rest.ptr, '.', rest.len);
		struct str step = str_of(rest.ptr, dot ? (size_t)(dot - rest.ptr) : rest.len);
		int rc = step_into(s, *out, step, out);
		if (rc != OK || !dot) return rc;
		rest = str_of(dot + 1, rest.len - step.len - 1);
	}
	return refuse(s, rest, "is too deep");
}

int tree_set(struct arena *arena, struct node *root, struct str path, struct str value, struct str *error)
{
	struct setter s = {.arena = arena, .path = path, .error = STR_NONE};
	struct node *made, *target;
	struct str name;
	int rc = arena_printf(arena, &name, "--set %.*s", STR_ARG(path));
	if (rc == OK) rc = find_target(&s, root, &target);
	*error = s.error;
	if (rc == OK) rc = node_from_text(arena, value, name.ptr, &made, error);
	if (rc != OK) return rc;
	made->key = target->key;
	made->next = target->next;
	*target = *made;
	return OK;
}
