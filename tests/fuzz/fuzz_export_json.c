// rooms: base
/* plugins/files looks into records: from any bytes nothing outside of them is read, and what is found lies inside. */
#include "../../plugins/files/json.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void bytes_add(struct bytes *bytes, const void *ptr, size_t len)
{
	(void)ptr;
	bytes->len += len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = {"a", "type", "properties.total", "a.b.c", ""};
	char *copy = malloc(size ? size : 1); /* exactly as long as it is, so that a step too far is seen */
	if (!copy) return 0;
	memcpy(copy, data, size);
	const struct cdpd_record record = {.json = {copy, size}};
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		struct cdpd_str found;
		struct bytes out = {0};
		struct column column = {(char *)(uintptr_t)paths[i], (char *)(uintptr_t)paths[i]};
		if (json_find(record.json, paths[i], &found) &&
		    (found.ptr < copy || found.ptr + found.len > copy + size))
			abort();
		(void)column_value(&column, &record, &out);
		if (out.len > size * 3) abort();
	}
	free(copy);
	return 0;
}
