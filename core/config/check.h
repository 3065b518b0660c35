/* check: what more than one key decides: listeners, keys that clash, credentials that must not be public. */
#pragma once

#include "config/schema.h"

/* Completes the draft that read_table filled. `root` tells the lines. */
void check_draft(struct reading *reading, const struct node *root, struct draft *draft);

/* check_consent.c: purposes, and who refers to them. */
void check_consent(struct reading *reading, const struct node *root, const struct config *config);

/* check_destinations.c: what is handed to whom, and as what. */
void check_destinations(struct reading *reading, const struct node *root, const struct config *config);

/* check_records.c: which kinds of records, which changes. */
void check_records(struct reading *reading, const struct node *root, const struct config *config);

/* Line of a key, or of one item of a list; the root's when it is not there. */
int line_of(const struct node *root, const char *path);
int line_of_item(const struct node *root, const char *path, size_t index);
/* … and of a key of that item. */
int line_of_item_key(const struct node *root, const char *path, size_t index, const char *key);
