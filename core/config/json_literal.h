/* json_literal: a scalar of YAML as the JSON value it stands for. Quoted is text; plain null, true, false and numbers as JSON spells them are
 * what they look like; everything else is text. */
#pragma once

#include "config/json_schema.h"

/* False: a map or a list, or a number beyond a double. */
bool json_literal_read(const struct node *node, struct schema_literal *out);
