/* tree_json: a JSON document as the nodes that a YAML file would have given, for definitions that come over the API. What reads nodes
 * cannot tell the two apart; where YAML remembers lines, these nodes are numbered, and a number leads back to its JSON pointer. */
#pragma once

#include "base/json.h"
#include "config/tree.h"

/* Members that are null are left out. ERR_INVALID with *error and *pointer (both in the arena): nested too deeply, a name twice, a NUL; ERR_NOMEM. */
MUST_USE int tree_from_json(struct arena *arena, struct json value, struct node **root, struct str *error,
			    struct str *pointer);
/* JSON pointer of the node with that number; the empty text is the whole document, and stands for numbers that no node has. */
MUST_USE int tree_pointer(struct arena *arena, const struct node *root, int number, struct str *out);
