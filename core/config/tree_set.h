/* tree_set: nodes made from text that stands in no file: --set values and the schema's defaults. */
#pragma once

#include "config/tree.h"

/* A plain scalar, or what `value` says in YAML when it begins with a bracket, a brace or a quote. `name` stands for the file in
 * *error. All lines are 0. */
MUST_USE int node_from_text(struct arena *arena, struct str value, const char *name, struct node **out,
			    struct str *error);
bool node_equal(const struct node *a, const struct node *b); /* the same content; lines do not matter */
