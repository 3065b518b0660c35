// rooms: base
/* plugins/kafka names topics: from any bytes a legal name, or none. */
#include "../../plugins/kafka/topic.c"
#include "../../plugins/shared/records.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char out[TOPIC_MAX + 1], *copy = malloc(size ? size : 1);
	if (!copy) return 0;
	memcpy(copy, data, size);
	const struct cdpd_record record = {.kind = CDPD_RECORD_PROFILE, .json = {copy, size}};
	if (topic_make("cdpd.{type}.{kind}", &record, out) &&
	    (strlen(out) > TOPIC_MAX || strspn(out, LEGAL) != strlen(out)))
		abort();
	free(copy);
	return 0;
}
