/* pattern: a small regular expression that is matched in time linear in the text, whatever text and expression.
 *
 * It is made into a finite automaton once; one that would need more than PATTERN_STATES_MAX states is refused there. Understood:
 * literals, `.`, `[…]` with ranges and `[^…]`, `^`, `$`, `|`, `(…)`, `(?:…)`, `* + ? {n} {n,} {n,m}` (a `?` behind them changes nothing),
 * \d \D \w \W \s \S (ASCII), \n \r \t and a backslash before punctuation. Not understood: back references, look-around, \b, named groups,
 * ranges of characters beyond ASCII. Matches anywhere in the text unless anchored. A compiled pattern is immutable. */
#pragma once

#include "base/arena.h"

#define PATTERN_STATES_MAX 1000
#define PATTERN_TEXT_MAX   500 /* bytes of an expression */

struct pattern;

/* OK; ERR_INVALID with *why a static phrase; ERR_NOMEM. `text` is UTF-8. */
MUST_USE int pattern_compile(struct arena *arena, struct str text, const struct pattern **out, const char **why);
/* `text` is UTF-8. */
bool pattern_matches(const struct pattern *pattern, struct str text);
