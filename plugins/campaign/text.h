/* text: what addresses carry, decoded and checked. */
#pragma once

#include "cdpd_plugin.h"

#define TEXT_MAX 512

struct text {
	char bytes[TEXT_MAX + 1];
	size_t len;
	bool is_cut;
};

/* ASCII only. */
char text_lower(char c);
/* Are they the same but for case? `name` is in lower case. */
bool text_is_key(struct cdpd_str key, const char *name);
/* %XX and plus; a broken escape stays as it is. */
void text_decode(struct cdpd_str raw, struct text *out);
/* Is the text printable UTF-8? Cuts it at `max` bytes, between characters; what the decoder cut may end in half a character. */
bool text_check(struct text *text, size_t max);
