/* descriptors: a serialized google.protobuf.FileDescriptorSet, looked through in place. */
#pragma once

#include "base/arena.h"

#define DESCRIPTOR_FILES_MAX 64

struct descriptors;
/* `set` is borrowed for ever; our own files of health and reflection are added to it. Of a name that comes twice the first counts.
 * ERR_INVALID: it is none, or has more than DESCRIPTOR_FILES_MAX files. */
MUST_USE int descriptors_new(struct arena *arena, struct str set, struct descriptors **out);
/* A FileDescriptorProto's bytes; empty: there is no such file. */
struct str descriptors_file(const struct descriptors *descriptors, struct str name);
/* The file that defines a message, enum, service, method, field or enum value by its full name. */
struct str descriptors_symbol(const struct descriptors *descriptors, struct str name);
/* Calls fn for the file and everything it imports, each once. */
void descriptors_each_needed(const struct descriptors *descriptors, struct str file,
			     void (*fn)(void *ctx, struct str file), void *ctx);
