/* json_mend: what RFC 8259 allows and simdjson refuses, respelled: integers past 64 bits (become doubles) and
 * \u escapes of lone surrogates (become U+FFFD; JavaScript sends them when it cuts an emoji in two). */
#pragma once

#include "base/str.h"

/* A mended copy of `text`, malloc'd and followed by BUF_SLACK readable bytes; free it.
 * ERR_NOT_FOUND when there is nothing to mend, ERR_NOMEM. */
MUST_USE int json_mend(struct str text, char **copy, size_t *len);
