/* query: a command of Bitrix24's batch: a method and its parameters as PHP reads them from a query. */
#pragma once

#include <jansson.h>

#include "../shared/writer.h"

void query_begin(struct writer *query, const char *method);
void query_add(struct writer *query, const char *name, const char *value);
/* As http_build_query of PHP: name[member]=…, name[0]=…; null is empty, true is 1. What is nested deeper than anything there is left out. */
void query_add_value(struct writer *query, const char *name, const json_t *value);
