/* tree: a YAML document as nodes that remember where they stood. libyaml lives here.
 *
 * Scalars keep their text and whether they were quoted; typing is the schema's work. Refused: aliases
 * and anchors (expansion bombs), tags, several documents, duplicate keys, depth > 32, files > 1 MB. */
#pragma once

#include "base/arena.h"

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	int line;              /* 1-based; 0 for values made by --set */
	bool is_quoted;        /* scalar in quotes: never a number, bool or null */
	struct str key;        /* in a map */
	struct str text;       /* scalar */
	struct node *children; /* first child of a list or map, in source order */
	struct node *next;     /* next sibling */
	size_t child_count;
};

/* On failure *error is a complete text "file:line: what" in the arena. */
MUST_USE int tree_parse_file(struct arena *arena, const char *path, struct node **root, struct str *error);
MUST_USE int tree_parse(struct arena *arena, struct str text, const char *name, struct node **root, struct str *error);
const struct node *node_child(const struct node *map, struct str key);
/* A copy with everything below, next siblings not. ERR_NOMEM. */
MUST_USE int tree_copy(struct arena *arena, const struct node *node, struct node **out);
/* Sets root.a.b.c (maps are made on the way; list items by number: "sources.0.id") to a scalar, or to
 * the YAML flow value in `value` ("[a, b]"). ERR_INVALID with *error. */
MUST_USE int tree_set(struct arena *arena, struct node *root, struct str path, struct str value, struct str *error);
