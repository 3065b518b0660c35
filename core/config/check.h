/* check: what more than one key decides: listeners, keys that clash, credentials that must not be public. */
#pragma once

#include "config/schema.h"

/* Completes the draft that read_table filled. `root` tells the lines. */
void check_draft(struct reading *reading, const struct node *root, struct draft *draft);
