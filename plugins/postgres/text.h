/* text: what PostgreSQL's types refuse although JSON and UTF-8 allow it. Pure functions. */
#pragma once

#include <stddef.h>

/* In place, in a JSON text: escapes that jsonb refuses (\u0000, halves of surrogate pairs) become \ufffd. Returns how many. Any bytes
 * may be given; what is no JSON stays what it is. */
size_t text_mend_json(char *json, size_t len);

/* The length of `len` bytes with each NUL written as U+FFFD; writes them when `out` is not NULL. */
size_t text_mend_nul(const char *text, size_t len, char *out);
