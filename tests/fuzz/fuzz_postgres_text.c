// rooms: base
/* Escapes that jsonb refuses: mended text has the same length, none of them is left, and mending it again finds nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugins/postgres/text.c"
#include "base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *json = malloc(len ? len : 1), *text = malloc(3 * len + 1);
	CHECK(json && text);
	memcpy(json, data, len);
	text_mend_json(json, len);
	CHECK(text_mend_json(json, len) == 0);
	size_t made = text_mend_nul(json, len, text);
	CHECK(made == text_mend_nul(json, len, NULL) && made >= len);
	CHECK(!memchr(text, 0, made));
	free(json);
	free(text);
	return 0;
}
