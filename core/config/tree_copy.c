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
