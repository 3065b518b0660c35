/* condition: one item of a feature's `where`. */
#pragma once

#include "config/read.h"

extern const struct table condition_table; /* reads a struct conf_condition */
