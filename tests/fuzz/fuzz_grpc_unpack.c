// rooms: grpc
/* Every message of ours from any bytes; the first two choose which. What passes the check is unpacked within its bound of memory, holds clean
 * texts, and survives packing. */
#include <stdlib.h>

#include "base/encode.h"
#include "grpc/unpack.h"
#include "message_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_texts(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const char *at = (const char *)message + field->offset;
	if (field->type != PROTOBUF_C_TYPE_STRING || field->label == PROTOBUF_C_LABEL_REPEATED) return;
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) return; /* the place may hold something else */
	const char *text = *(const char *const *)(const void *)at;
	if (text) CHECK(utf8_is_valid(str_from(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2) return 0;
	const ProtobufCMessageDescriptor *descriptor = messages[(data[0] | (size_t)data[1] << 8) % COUNT_OF(messages)];
	struct arena arena;
	ProtobufCMessage *message;
	const char *why = NULL;
	char *copy = malloc(size - 2 ? size - 2 : 1);
	CHECK(copy);
	memcpy(copy, data + 2, size - 2);
	arena_init(&arena, 4096, 0);
	int rc = unpack(&arena, descriptor, str_of(copy, size - 2), &message, &why);
	CHECK(rc == OK || (rc == ERR_INVALID && why));
	CHECK(arena.used <= 64 * 1024 + (4 + 512) * size + 8192);
	if (rc == OK) {
		for (unsigned i = 0; i < descriptor->n_fields; i++) check_texts(message, &descriptor->fields[i]);
		size_t len = protobuf_c_message_get_packed_size(message);
		uint8_t *packed = malloc(len ? len : 1);
		CHECK(packed && protobuf_c_message_pack(message, packed) == len);
		free(packed);
	}
	arena_fini(&arena);
	free(copy);
	return 0;
}
