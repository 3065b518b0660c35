/* unpack: protobuf from outside. protobuf-c itself knows no depth, takes invalid UTF-8, ends strings at their first NUL and makes
 * thirty bytes of memory of one: what would hurt is refused before it sees it. */
#pragma once

#include <google/protobuf-c/protobuf-c.h>

#include "base/arena.h"

#define UNPACK_DEPTH_MAX    16
#define UNPACK_ELEMENTS_MAX ((size_t)20000) /* fields on the wire, nested ones included */

/* ERR_INVALID with *why, a text for the client. *elements is how many fields there are. */
MUST_USE int unpack_check(const ProtobufCMessageDescriptor *descriptor, struct str bytes, size_t *elements,
			  const char **why);
/* Checks, then unpacks into the arena, whose cap is set here. ERR_INVALID with *why. */
MUST_USE int unpack(struct arena *arena, const ProtobufCMessageDescriptor *descriptor, struct str bytes,
		    ProtobufCMessage **out, const char **why);
