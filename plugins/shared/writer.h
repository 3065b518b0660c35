/* writer: text that grows, for bodies and headers that plugins send. Compiled into each plugin that asks for it.
 *
 * Once memory is short it stays short: what is written after that is ignored, so only the end result is asked (`is_short`). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cdpd_plugin.h"

struct writer { /* {0} is empty */
	char *ptr;
	size_t len, size;
	bool is_short;
};

void writer_put(struct writer *writer, const void *bytes, size_t len);
void writer_text(struct writer *writer, const char *text);
void writer_str(struct writer *writer, struct cdpd_str text);
void writer_json(struct writer *writer, struct cdpd_str text);   /* as a JSON string, quotes and all */
void writer_form(struct writer *writer, struct cdpd_str text);   /* percent-encoded, as in a form's body or a query */
void writer_base64(struct writer *writer, struct cdpd_str text); /* padded */
void writer_clear(struct writer *writer);                        /* keeps the memory */
void writer_free(struct writer *writer);
/* What was written; "" and 0 when it is short. Valid until the next write. */
struct cdpd_str writer_get(const struct writer *writer);

/* Replaces `secret` in `text`, wherever others have repeated it. NULL is fine; what is shorter than 6 bytes stays: half of a text would go. */
void writer_hide(char *text, const char *secret);

static inline struct cdpd_str writer_of(const char *text)
{
	return (struct cdpd_str){text, __builtin_strlen(text)};
}
