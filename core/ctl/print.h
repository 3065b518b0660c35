/* print: aligned columns and short texts for a terminal. What comes from outside is made harmless: control characters of
 * a trait must not steer the operator's terminal. */
#pragma once

#include <stdio.h>

#include "base/json.h"

void print_text(FILE *out, struct str text); /* control characters as '?' */

struct table;
/* `titles`: NULL-terminated, kept by reference. NULL: no memory (every later call does nothing then). */
struct table *table_new(const char *const *titles);
void table_cell(struct table *table, struct str text); /* left to right, row by row; copied */
void table_cell_f(struct table *table, const char *fmt, ...) PRINTF_LIKE(2, 3);
void table_print(struct table *table, FILE *out, int indent); /* and frees it; nothing when it has no rows */
size_t table_rows(const struct table *table);

/* JSON by dotted path; the fallback when absent or of another type. */
struct str json_text_at(struct json root, const char *path);
int64_t json_int_at(struct json root, const char *path);
bool json_bool_at(struct json root, const char *path);
/* Any value on one line: strings bare, the rest as JSON; cut at `max` bytes. */
void table_cell_json(struct table *table, struct json value, size_t max);

void format_bytes(uint64_t bytes, char out[32]);
void format_seconds(int64_t seconds, char out[32]);
