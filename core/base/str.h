/* str: borrowed text or bytes. Never owns, never NUL-terminated by promise; `ptr` is
 * never NULL (absent text is the empty string). */
#pragma once

#include <string.h>

#include "base/status.h"

struct str {
	const char *ptr;
	size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE     ((struct str){"", 0})
/* printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int)(s).len, (s).ptr

static inline struct str str_from(const char *text)
{
	return text ? (struct str){text, strlen(text)} : STR_NONE;
}

static inline struct str str_of(const void *ptr, size_t len)
{
	return ptr ? (struct str){(const char *)ptr, len} : STR_NONE;
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* Byte order, shorter first on a common prefix: <0, 0, >0. */
int str_cmp(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII only */
bool str_starts(struct str text, struct str prefix);
struct str str_trim(struct str text); /* ASCII white space off both ends */

/* The nearest of `count` candidates to `word` by edit distance, or NULL when none is near
 * enough to be a likely typing mistake. For "did you mean" texts. */
const char *str_nearest(struct str word, const char *const *candidates, size_t count);

/* Strict decimal: digits only, no sign, no spaces, within uint64_t. */
MUST_USE int str_to_u64(struct str text, uint64_t *out);
MUST_USE int str_to_i64(struct str text, int64_t *out); /* one leading '-' allowed */
bool str_is_number(struct str text);                    /* as JSON spells numbers: "007" is none */
