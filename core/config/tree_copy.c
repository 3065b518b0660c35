#include "config/tree.h"

int tree_copy(struct arena *arena, const struct node *node, struct node **out)
{
	struct node *copy = arena_new(arena, struct node);
	*out = copy;
	if (!copy) return ERR_NOMEM;
	*copy = *node;
	copy->next = copy->children = NULL;
	int rc = arena_str(arena, node->key, &copy->key);
	if (rc == OK) rc = arena_str(arena, node->text, &copy->text);
	struct node **link = &copy->children;
	for (const struct node *child = node->children; child && rc == OK; child = child->next) {
		rc = tree_copy(arena, child, link); /* as deep as the parser let it be */
		if (rc == OK) link = &(*link)->next;
	}
	return rc;
}

bool tree_is_same(const struct node *a, const struct node *b)
{
	if (!a || !b) return a == b;
	if (a->kind != b->kind || a->is_quoted != b->is_quoted || a->child_count != b->child_count ||
	    !str_eq(a->key, b->key) || !str_eq(a->text, b->text))
		return false;
	const struct node *x = a->children, *y = b->children;
	for (; x && y; x = x->next, y = y->next)
		if (!tree_is_same(x, y)) return false;
	return x == y;
}
