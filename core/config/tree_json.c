#include "config/tree_json.h"

#define DEPTH_MAX   32
#define MEMBERS_MAX 4096 /* of one object or list */
#define POINTER_MAX 2048

struct making {
	struct arena *arena;
	int count; /* nodes so far */
	int fault; /* the node at which it failed */
	const char *why;
};

static int fail(struct making *m, const struct node *node, const char *why)
{
	m->fault = node->line;
	m->why = why;
	return ERR_INVALID;
}

static int take(struct making *m, struct json value, int depth, struct node *node);

static struct node *add_child(struct making *m, struct node *parent, struct node **tail, struct str key)
{
	struct node *child = arena_new(m->arena, struct node);
	if (!child) return NULL;
	child->text = STR_NONE;
	if (arena_str(m->arena, key, &child->key) != OK) return NULL;
	if (*tail)
		(*tail)->next = child;
	else
		parent->children = child;
	*tail = child;
	parent->child_count++;
	return child;
}

static int take_object(struct making *m, struct json value, int depth, struct node *node)
{
	struct json_iter it;
	struct json member;
	struct str key;
	struct node *tail = NULL;
	node->kind = NODE_MAP;
	for (json_iter_start(value, &it); json_next_member(&it, &key, &member);) {
		if (json_type(member) == JSON_NULL) continue;
		if (node->child_count >= MEMBERS_MAX) return fail(m, node, "has too many members");
		if (node_child(node, key)) return fail(m, node, "has a member twice");
		if (memchr(key.ptr, '\0', key.len)) return fail(m, node, "NUL characters are not supported");
		struct node *child = add_child(m, node, &tail, key);
		int rc = child ? take(m, member, depth + 1, child) : ERR_NOMEM;
		if (rc != OK) return rc;
	}
	return OK;
}

static int take_array(struct making *m, struct json value, int depth, struct node *node)
{
	struct json_iter it;
	struct json element;
	struct node *tail = NULL;
	node->kind = NODE_LIST;
	for (json_iter_start(value, &it); json_next_element(&it, &element);) {
		if (node->child_count >= MEMBERS_MAX) return fail(m, node, "has too many elements");
		struct node *child = add_child(m, node, &tail, STR_NONE);
		int rc = child ? take(m, element, depth + 1, child) : ERR_NOMEM;
		if (rc != OK) return rc;
	}
	return OK;
}

static int take_scalar(struct making *m, struct json value, struct node *node)
{
	struct str text;
	struct buf written;
	node->kind = NODE_SCALAR;
	if (json_str(value, &text)) {
		node->is_quoted = true;
		if (memchr(text.ptr, '\0', text.len)) return fail(m, node, "NUL characters are not supported");
		return arena_str(m->arena, text, &node->text);
	}
	buf_init(&written, 64);
	int rc = json_write_canonical(&written, value);
	if (rc == OK) rc = arena_str(m->arena, buf_str(&written), &node->text);
	buf_fini(&written);
	return rc;
}

static int take(struct making *m, struct json value, int depth, struct node *node)
{
	node->line = ++m->count;
	if (depth > DEPTH_MAX) return fail(m, node, "nested too deeply");
	switch (json_type(value)) {
	case JSON_OBJECT: return take_object(m, value, depth, node);
	case JSON_ARRAY: return take_array(m, value, depth, node);
	default: return take_scalar(m, value, node);
	}
}

int tree_from_json(struct arena *arena, struct json value, struct node **root, struct str *error, struct str *pointer)
{
	struct making m = {.arena = arena};
	*error = *pointer = STR_NONE;
	*root = arena_new(arena, struct node);
	if (!*root) return ERR_NOMEM;
	(*root)->key = (*root)->text = STR_NONE;
	int rc = take(&m, value, 1, *root);
	if (rc != ERR_INVALID) return rc;
	int named = tree_pointer(arena, *root, m.fault, pointer);
	*error = str_from(m.why);
	return named == OK ? ERR_INVALID : named;
}

/* ── back ──────────────────────────────────────────────────────────────────── */

/* RFC 6901: ~ is ~0, / is ~1. */
static int put_step(struct buf *path, struct str key)
{
	int rc = buf_putc(path, '/');
	for (size_t i = 0; i < key.len && rc == OK; i++) {
		char c = key.ptr[i];
		rc = c == '~'   ? buf_append_str(path, STR("~0"))
		     : c == '/' ? buf_append_str(path, STR("~1"))
				: buf_putc(path, c);
	}
	return rc;
}

static bool find(const struct node *node, int number, struct buf *path)
{
	size_t index = 0, len = path->len;
	if (node->line == number) return true;
	for (const struct node *child = node->children; child; child = child->next, index++) {
		int rc = node->kind == NODE_MAP ? put_step(path, child->key) : buf_printf(path, "/%zu", index);
		if (rc == OK && find(child, number, path)) return true;
		buf_cut(path, len);
	}
	return false;
}

int tree_pointer(struct arena *arena, const struct node *root, int number, struct str *out)
{
	struct buf path;
	buf_init(&path, POINTER_MAX);
	*out = STR_NONE;
	int rc = find(root, number, &path) ? arena_str(arena, buf_str(&path), out) : OK;
	buf_fini(&path);
	return rc;
}
