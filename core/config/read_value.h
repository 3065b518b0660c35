/* read_value: one key's value, from the text of a file to the field of a struct, and the comparison of two. */
#pragma once

#include "config/read.h"

/* "key:" with nothing, ~ or null after it: as if the key were not there. */
bool node_is_absent(const struct node *node);
/* The key's default as a node of line 0, or NULL when it has none. */
const struct node *default_node(struct reading *reading, const struct key *key);
/* Every type but KEY_ITEMS. `path` is for texts; `out` is the struct. */
void read_value(struct reading *reading, const struct key *key, const struct node *node, const char *path, char *out);
