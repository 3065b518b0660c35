/* words: finds which of many words stands in a text, in one pass whatever the words are. Case does not matter. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define WORDS_WHY_MAX 200

struct words;

/* One word a line: letters, digits and marks. A '|' at an end wants an edge there: no letter beside it. A line that begins with '!' is an
 * exception: a word that ends where it ends does not count. '#' begins a remark. NULL: why. */
struct words *words_new(const char *lines, size_t len, char why[WORDS_WHY_MAX]);
void words_free(struct words *words); /* NULL is fine */
/* The end of the first word found, 0: none. */
size_t words_find(const struct words *words, const char *text, size_t len);
