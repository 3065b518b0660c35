#include "grpc/memory.h"

#include <stdatomic.h>

static atomic_size_t used;

bool grpc_memory_count(size_t *counted, size_t size)
{
	size_t want = size > GRPC_MEMORY_SMALL ? size : 0;
	if (want > *counted) {
		size_t more = want - *counted;
		if (atomic_fetch_add(&used, more) + more > GRPC_MEMORY_MAX) {
			atomic_fetch_sub(&used, more);
			return false;
		}
	} else if (want < *counted) {
		atomic_fetch_sub(&used, *counted - want);
	}
	*counted = want;
	return true;
}

void grpc_memory_release(size_t *counted)
{
	if (*counted) atomic_fetch_sub(&used, *counted);
	*counted = 0;
}

size_t grpc_memory_used(void)
{
	return atomic_load(&used);
}
