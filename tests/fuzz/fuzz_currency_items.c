// rooms: base
/* The walk over the items of a list, with any bytes: it stays inside them and comes to an end. */
#include "../../plugins/currency/items.c"

#include "base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct items items;
	const char *item, *value, *text = (const char *)data;
	size_t len, value_len, count = 0;
	if (!items_begin(&items, text, size)) return 0;
	while (count++ <= size && items_next(&items, &item, &len)) {
		CHECK(item >= text && item + len <= text + size);
		if (!item_get(item, len, "price", &value, &value_len)) continue;
		CHECK(value >= item && value + value_len <= item + len);
	}
	CHECK(count <= size + 1);
	return 0;
}
