/* memory: what all calls of the process may hold together of messages that are not whole yet or wait for a client that does
 * not read. Small buffers are not counted: the caps on connections and streams bound them. Any thread. */
#pragma once

#include "base/status.h"

#define GRPC_MEMORY_MAX   ((size_t)256 * 1024 * 1024)
#define GRPC_MEMORY_SMALL ((size_t)65 * 1024)

/* Counts a buffer whose size has changed to `size`; *counted is what of it is counted. False: there is no room, and
 * nothing has changed. */
MUST_USE bool grpc_memory_count(size_t *counted, size_t size);
void grpc_memory_release(size_t *counted);
size_t grpc_memory_used(void);
