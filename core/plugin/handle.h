/* handle: names for what plugins hold on to (tickets, cache slots), in the shape of pointers that nobody dereferences. A handle that was
 * released is never valid again: a plugin that answers twice, late or after its end is told so, and touches nothing. Any thread. */
#pragma once

#include "base/status.h"

enum handle_kind { HANDLE_NONE, HANDLE_TICKET, HANDLE_CACHE_SLOT, HANDLE_DECODE };

#define HANDLES_MAX 262144 /* at a time, of the whole process */

/* NULL: too many. */
void *handle_new(enum handle_kind kind, void *object);
/* The lock is held until handle_unlock, whatever is found: what the handle names does not go away meanwhile. NULL: it is none of that kind (any more). */
void *handle_lock(enum handle_kind kind, const void *handle);
void handle_unlock(void);
void handle_release_locked(const void *handle); /* between the two */
void handle_release(const void *handle);
