/* schema_format: the light checks behind the keyword `format`. docs/tracking-plan.md says what each looks at. */
#pragma once

#include "config/json_schema.h"

bool schema_format_is(enum schema_format format, struct str text);
