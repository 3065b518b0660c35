// rooms: base
/* Subjects of whatever bytes: never longer than their place, never an empty token, nothing that means something to NATS. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugins/nats/subject.c"
#include "../../plugins/shared/records.c"
#include "base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char template[] = "a.{type}.{event}.{source}.{change}";
	char *json = malloc(len ? len : 1), out[SUBJECT_SIZE], pattern[SUBJECT_SIZE];
	CHECK(json);
	memcpy(json, data, len);
	struct cdpd_record record = {.json = {json, len}, .profile_id = {"0123", 4}};
	subject_make(template, &record, out);
	size_t dots = 0;
	for (size_t i = 0; out[i]; i++) {
		CHECK((unsigned char)out[i] > ' ' && !strchr("*>$\x7f", out[i]));
		dots += out[i] == '.';
		CHECK(out[i] != '.' || (out[i + 1] && out[i + 1] != '.'));
	}
	CHECK(dots == 4 && strlen(out) <= 5 + 4 * SUBJECT_TOKEN_MAX);
	free(json);

	char *text = malloc(len + 1);
	CHECK(text);
	memcpy(text, data, len);
	text[len] = '\0';
	if (!subject_check(text)) {
		record.json = (struct cdpd_str){"{}", 2};
		subject_make(text, &record, out);
		(void)subject_pattern(text, pattern);
	}
	free(text);
	return 0;
}
