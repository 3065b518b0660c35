/* arena: bump allocation with a cap. Everything allocated lives until arena_reset or
 * arena_fini; nothing is freed singly. One owner, no locking.
 *
 * Anything a peer can size is allocated from an arena with a cap: running into the cap
 * is the ordinary error ERR_NOMEM (a NULL return), never an abort. */
#pragma once

#include "base/str.h"

struct arena_block;
struct arena {
	struct arena_block *blocks; /* newest first */
	char *next, *end;           /* free part of the newest block */
	size_t used, cap;           /* bytes of all blocks; the cap on them */
	size_t block_size;
};

/* Allocates nothing yet. `cap` 0 means unlimited (only for what we size ourselves). */
void arena_init(struct arena *arena, size_t block_size, size_t cap);
void arena_fini(struct arena *arena);
/* Forgets everything; keeps one block of block_size for reuse. */
void arena_reset(struct arena *arena);

/* 16-byte aligned, uninitialised; NULL when the cap or memory is exhausted. */
MUST_USE void *arena_alloc(struct arena *arena, size_t size);
MUST_USE void *arena_zalloc(struct arena *arena, size_t size);
/* The newest allocation, of `size` bytes, turned out to need only `used`: the rest serves the next one (where it can). */
void arena_shrink(struct arena *arena, void *ptr, size_t size, size_t used);
#define arena_new(arena, type) ((type *)arena_zalloc((arena), sizeof(type)))
/* NULL on overflow of count * sizeof(type) too. */
#define arena_array(arena, type, count) ((type *)arena_zalloc_array((arena), (count), sizeof(type)))
MUST_USE void *arena_zalloc_array(struct arena *arena, size_t count, size_t item_size);

/* Copies; the copy is followed by a NUL that is not counted. */
MUST_USE int arena_str(struct arena *arena, struct str text, struct str *out);
MUST_USE int arena_printf(struct arena *arena, struct str *out, const char *fmt, ...) PRINTF_LIKE(3, 4);
