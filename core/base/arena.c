#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__has_feature) /* clang's way of telling; gcc has a macro */
#if __has_feature(address_sanitizer)
#define HAS_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN
#endif

#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(ptr, len)   ASAN_POISON_MEMORY_REGION((ptr), (len))
#define UNPOISON(ptr, len) ASAN_UNPOISON_MEMORY_REGION((ptr), (len))
#else
#define POISON(ptr, len)   ((void)(ptr), (void)(len))
#define UNPOISON(ptr, len) ((void)(ptr), (void)(len))
#endif

#define ALIGNMENT 16

struct arena_block {
	struct arena_block *older;
	size_t size; /* this header included */
	_Alignas(ALIGNMENT) char data[];
};

void arena_init(struct arena *arena, size_t block_size, size_t cap)
{
	CHECK(block_size > sizeof(struct arena_block));
	*arena = (struct arena){.cap = cap, .block_size = block_size};
}

static void free_blocks(struct arena_block *block)
{
	while (block) {
		struct arena_block *older = block->older;
		UNPOISON(block, block->size);
		free(block);
		block = older;
	}
}

void arena_fini(struct arena *arena)
{
	free_blocks(arena->blocks);
	arena->blocks = NULL;
	arena->next = arena->end = NULL;
	arena->used = 0;
}

static void start_block(struct arena *arena, struct arena_block *block)
{
	arena->next = block->data;
	arena->end = (char *)block + block->size;
	POISON(block->data, (size_t)(arena->end - arena->next));
}

void arena_reset(struct arena *arena)
{
	struct arena_block *kept = NULL, *others = NULL;
	for (struct arena_block *block = arena->blocks, *older; block; block = older) {
		older = block->older;
		struct arena_block **list = !kept && block->size == arena->block_size ? &kept : &others;
		block->older = *list;
		*list = block;
	}
	free_blocks(others);
	arena->blocks = kept;
	arena->used = kept ? kept->size : 0;
	arena->next = arena->end = NULL;
	if (kept) start_block(arena, kept);
}

/* The size of a new block for `need` bytes: the usual one, or less when the cap is near. 0: the cap forbids it. */
static size_t block_size_for(const struct arena *arena, size_t need)
{
	size_t least, size;
	if (__builtin_add_overflow(need, sizeof(struct arena_block), &least) || least > PTRDIFF_MAX) return 0;
	size = least > arena->block_size ? least : arena->block_size;
	if (arena->cap == 0) return size;
	size_t left = arena->cap > arena->used ? arena->cap - arena->used : 0;
	if (size <= left) return size;
	return least <= left ? left & ~(size_t)(ALIGNMENT - 1) : 0;
}

static void *alloc_in_new_block(struct arena *arena, size_t size)
{
	size_t block_size = block_size_for(arena, size);
	struct arena_block *block = block_size ? malloc(block_size) : NULL;
	if (!block) return NULL;
	block->size = block_size;
	arena->used += block_size;
	size_t spare = block_size - sizeof *block - size;
	if (arena->blocks && (size_t)(arena->end - arena->next) >= spare) {
		/* The current block has more room left than the new one would: keep filling it. */
		block->older = arena->blocks->older;
		arena->blocks->older = block;
		return block->data;
	}
	block->older = arena->blocks;
	arena->blocks = block;
	start_block(arena, block);
	arena->next += size;
	return block->data;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	size_t rounded = (size + (ALIGNMENT - 1)) & ~(size_t)(ALIGNMENT - 1);
	char *ptr;
	if (rounded < size) return NULL;
	if (rounded == 0) rounded = ALIGNMENT;
	if (arena->next && rounded <= (size_t)(arena->end - arena->next)) {
		ptr = arena->next;
		arena->next += rounded;
	} else if (!(ptr = alloc_in_new_block(arena, rounded))) {
		return NULL;
	}
	UNPOISON(ptr, size);
	return ptr;
}

static size_t round_up(size_t size)
{
	return size ? (size + (ALIGNMENT - 1)) & ~(size_t)(ALIGNMENT - 1) : ALIGNMENT;
}

void arena_shrink(struct arena *arena, void *ptr, size_t size, size_t used)
{
	char *end = (char *)ptr + round_up(size);
	if (end != arena->next || used > size) return; /* in a block of its own */
	POISON((char *)ptr + used, (size_t)(end - (char *)ptr) - used);
	arena->next = (char *)ptr + round_up(used);
}

void *arena_zalloc(struct arena *arena, size_t size)
{
	void *ptr = arena_alloc(arena, size);
	if (ptr) memset(ptr, 0, size);
	return ptr;
}

void *arena_zalloc_array(struct arena *arena, size_t count, size_t item_size)
{
	size_t size;
	if (__builtin_mul_overflow(count, item_size, &size)) return NULL;
	return arena_zalloc(arena, size);
}

int arena_str(struct arena *arena, struct str text, struct str *out)
{
	if (text.len == SIZE_MAX) return ERR_NOMEM;
	char *copy = arena_alloc(arena, text.len + 1);
	if (!copy) return ERR_NOMEM;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	*out = (struct str){copy, text.len};
	return OK;
}

int arena_printf(struct arena *arena, struct str *out, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0) return ERR_INVALID;
	char *text = arena_alloc(arena, (size_t)len + 1);
	if (!text) return ERR_NOMEM;
	va_start(args, fmt);
	(void)vsnprintf(text, (size_t)len + 1, fmt, args);
	va_end(args);
	*out = (struct str){text, (size_t)len};
	return OK;
}
