#include "grpc/unpack.h"

#include "base/encode.h"
#include "base/wire.h"

#define ARENA_SPARE       ((size_t)64 * 1024)
#define ARENA_PER_BYTE    4
#define ARENA_PER_ELEMENT 512 /* the structure of a message, what protobuf-c notes of it, and its place in a list */

/* ── the check ───────────────────────────────────────────────────────────── */

struct level {
	const ProtobufCMessageDescriptor *descriptor; /* NULL: nothing is known of these bytes */
	struct str rest;
};

static int refuse(const char **why, const char *text)
{
	*why = text;
	return ERR_INVALID;
}

static enum wire_type wire_type_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE: return WIRE_FIXED64;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT: return WIRE_FIXED32;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
	default: return WIRE_VARINT;
	}
}

static int check_packed(enum wire_type type, struct str bytes, size_t *elements, const char **why)
{
	uint64_t ignored;
	size_t width = type == WIRE_FIXED64 ? 8 : 4;
	if (type != WIRE_VARINT) {
		*elements += bytes.len / width;
		return bytes.len % width ? refuse(why, "a packed list has a broken length") : OK;
	}
	for (; bytes.len; (*elements)++)
		if (!wire_take_varint(&bytes, &ignored)) return refuse(why, "a packed list holds a broken number");
	return OK;
}

static int check_string(struct str text, const char **why)
{
	if (memchr(text.ptr, '\0', text.len)) return refuse(why, "a text holds a NUL");
	return utf8_is_valid(text) ? OK : refuse(why, "a text is not valid UTF-8");
}

/* One field; a message opens a level. */
static int check_field(const ProtobufCFieldDescriptor *field, const struct wire_field *wire, struct level *inner,
		       size_t *elements, const char **why)
{
	enum wire_type want = wire_type_of(field->type);
	bool is_packed = field->label == PROTOBUF_C_LABEL_REPEATED && want != WIRE_BYTES && wire->type == WIRE_BYTES;
	if (is_packed) return check_packed(want, wire->bytes, elements, why);
	if (wire->type != want) return refuse(why, "a field has another type than the message's definition");
	if (field->type == PROTOBUF_C_TYPE_STRING) return check_string(wire->bytes, why);
	if (field->type == PROTOBUF_C_TYPE_MESSAGE) *inner = (struct level){field->descriptor, wire->bytes};
	return OK;
}

int unpack_check(const ProtobufCMessageDescriptor *descriptor, struct str bytes, size_t *elements, const char **why)
{
	struct level levels[UNPACK_DEPTH_MAX] = {{descriptor, bytes}};
	size_t depth = 1;
	*elements = 0;
	while (depth > 0) {
		struct level *at = &levels[depth - 1], inner = {NULL, STR_NONE};
		struct wire_field wire;
		if (!at->rest.len) {
			depth--;
			continue;
		}
		if (!wire_take(&at->rest, &wire)) return refuse(why, "the message is not valid protobuf");
		const ProtobufCFieldDescriptor *field =
		    protobuf_c_message_descriptor_get_field(at->descriptor, wire.number);
		int rc = field ? check_field(field, &wire, &inner, elements, why) : OK;
		if (rc != OK) return rc;
		if (++*elements > UNPACK_ELEMENTS_MAX) return refuse(why, "the message has too many fields");
		if (!inner.descriptor) continue;
		if (depth == UNPACK_DEPTH_MAX) return refuse(why, "messages are nested too deep");
		levels[depth++] = inner;
	}
	return OK;
}

/* ── unpacking ───────────────────────────────────────────────────────────── */

static void *allocate(void *ctx, size_t size)
{
	return arena_alloc(ctx, size);
}

static void release(void *ctx, void *memory)
{
	(void)ctx, (void)memory; /* goes with the arena */
}

int unpack(struct arena *arena, const ProtobufCMessageDescriptor *descriptor, struct str bytes, ProtobufCMessage **out,
	   const char **why)
{
	ProtobufCAllocator allocator = {.alloc = allocate, .free = release, .allocator_data = arena};
	size_t elements;
	int rc = unpack_check(descriptor, bytes, &elements, why);
	if (rc != OK) return rc;
	arena->cap = arena->used + ARENA_SPARE + bytes.len * ARENA_PER_BYTE + elements * ARENA_PER_ELEMENT;
	*out = protobuf_c_message_unpack(descriptor, &allocator, bytes.len, (const uint8_t *)bytes.ptr);
	return *out ? OK : refuse(why, "the message is malformed or too rich in fields");
}
