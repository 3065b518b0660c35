// rooms: grpc
/* gRPC's framing. The first byte says in which steps the rest is fed, the second how; the messages must be those of feeding all at once. */
#include <stdlib.h>

#include "grpc/memory.h"
#include "grpc/reader.h"

#define MESSAGE_MAX 5000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
	enum grpc_read last;
	size_t messages, bytes;
	uint32_t sum;
	bool is_between;
};

static void take(struct result *result, struct str message)
{
	CHECK(message.len <= MESSAGE_MAX);
	result->messages++;
	result->bytes += message.len;
	for (size_t i = 0; i < message.len; i++) result->sum = result->sum * 31 + (uint8_t)message.ptr[i];
	for (size_t i = 0; i < BUF_SLACK; i++) { /* may be read */
		volatile char sink = message.ptr[message.len + i];
		(void)sink;
	}
}

static struct result feed(const uint8_t *data, size_t size, size_t step, uint8_t how)
{
	struct grpc_reader reader;
	struct result result = {.last = GRPC_READ_MORE};
	grpc_reader_init(&reader, MESSAGE_MAX, how & 1, how & 2);
	for (size_t at = 0; at < size && result.last <= GRPC_READ_MESSAGE;) {
		size_t len = size - at < step ? size - at : step;
		char *copy = malloc(len);
		CHECK(copy);
		memcpy(copy, data + at, len);
		struct str in = str_of(copy, len), message;
		while (in.len && result.last <= GRPC_READ_MESSAGE) {
			result.last = grpc_reader_take(&reader, &in, &message);
			CHECK(result.last != GRPC_READ_MORE || in.len == 0);
			if (result.last == GRPC_READ_MESSAGE) take(&result, message);
		}
		at += len;
		free(copy);
	}
	result.is_between = grpc_reader_is_between(&reader);
	grpc_reader_fini(&reader);
	CHECK(grpc_memory_used() == 0);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3) return 0;
	size_t step = data[0] ? data[0] : 1;
	struct result whole = feed(data + 2, size - 2, size, data[1]), parts = feed(data + 2, size - 2, step, data[1]);
	CHECK(whole.last == parts.last && whole.messages == parts.messages && whole.bytes == parts.bytes);
	CHECK(whole.sum == parts.sum && whole.is_between == parts.is_between);
	return 0;
}
