// rooms: base
/* What exporters ask of a record, and the protobuf that kafka makes of it: from any bytes nothing outside of them is read, and the message's length is what was
 * announced. The first byte picks kind and flags. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugins/kafka/envelope.c"
#include "../../plugins/shared/records.c"
#include "base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0) return 0;
	char *copy = malloc(size), tail[RECORD_TAIL_MAX];
	CHECK(copy);
	memcpy(copy, data, size);
	const struct cdpd_record record = {.size = sizeof record,
					   .kind = data[0] & 7,
					   .flags = data[0] >> 3,
					   .json = {copy + 1, size - 1},
					   .position = {copy, size / 2},
					   .delivery_id = {copy, size / 3},
					   .profile_id = {copy, size / 4},
					   .message_id = {"", 0},
					   .other_id = {"", 0},
					   .time_us = -(int64_t)size};
	struct cdpd_str why = record_why_gone(&record);
	CHECK(why.len == 0 || (why.ptr >= copy && why.ptr + why.len <= copy + size));
	CHECK(record_tail(&record, tail) <= sizeof tail);
	(void)record_notice(&record);
	(void)record_stream(&record);
	size_t len = envelope_size(&record);
	char *message = malloc(len + 1);
	CHECK(message);
	message[len] = 'x';
	envelope_write(&record, message);
	CHECK(message[len] == 'x');
	free(message);
	free(copy);
	return 0;
}
