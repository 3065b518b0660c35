/* mapping_path: paths of a mapping. */
#pragma once

#include "config/mapping.h"

/* Names joined by dots, each maybe followed by [index]; a name in double quotes may hold dots and brackets. NULL, or what is wrong
 * ("has an empty name in it"). Borrows the text. `item` is left empty. */
const char *mapping_path_read(struct str text, struct mapping_path *out);
