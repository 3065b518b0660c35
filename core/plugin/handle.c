#include "plugin/handle.h"

#include <pthread.h>
#include <stdlib.h>

#define INDEX_BITS 18
#define GROWTH     256

_Static_assert(HANDLES_MAX == 1 << INDEX_BITS, "an index fits");

struct entry {
	void *object; /* NULL: free */
	uint32_t generation;
	enum handle_kind kind;
	uint32_t next_free;
};

static struct {
	pthread_mutex_t lock;
	struct entry *entries;
	uint32_t count, room;
	uint32_t first_free, last_free; /* 0: none. Oldest first, so that a name comes back as late as possible */
} table = {.lock = PTHREAD_MUTEX_INITIALIZER, .count = 1 /* 0 is no handle */};

static uint32_t index_of(const void *handle)
{
	return (uint32_t)((uintptr_t)handle & (HANDLES_MAX - 1));
}

static struct entry *find(const void *handle)
{
	uint32_t index = index_of(handle);
	if (index == 0 || index >= table.count) return NULL;
	struct entry *entry = &table.entries[index];
	return entry->object && entry->generation == (uintptr_t)handle >> INDEX_BITS ? entry : NULL;
}

static bool grow(void)
{
	if (table.count < table.room) return true;
	uint32_t room = table.room ? table.room * 2 : GROWTH;
	if (room > HANDLES_MAX) return false;
	struct entry *entries = realloc(table.entries, room * sizeof *entries);
	if (!entries) return false;
	table.entries = entries;
	table.room = room;
	return true;
}

static uint32_t take_index(void)
{
	uint32_t index = table.first_free;
	if (index) {
		table.first_free = table.entries[index].next_free;
		if (!table.first_free) table.last_free = 0;
		return index;
	}
	if (!grow()) return 0;
	table.entries[table.count] = (struct entry){.object = NULL};
	return table.count++;
}

void *handle_new(enum handle_kind kind, void *object)
{
	void *handle = NULL;
	(void)pthread_mutex_lock(&table.lock);
	uint32_t index = take_index();
	if (index) {
		struct entry *entry = &table.entries[index];
		entry->object = object;
		entry->kind = kind;
		entry->generation++;
		handle = (void *)((uintptr_t)entry->generation << INDEX_BITS | index); /* NOLINT: never dereferenced */
	}
	(void)pthread_mutex_unlock(&table.lock);
	return handle;
}

void *handle_lock(enum handle_kind kind, const void *handle)
{
	(void)pthread_mutex_lock(&table.lock);
	const struct entry *entry = find(handle);
	return entry && entry->kind == kind ? entry->object : NULL;
}

void handle_unlock(void)
{
	(void)pthread_mutex_unlock(&table.lock);
}

void handle_release_locked(const void *handle)
{
	struct entry *entry = find(handle);
	uint32_t index = index_of(handle);
	if (!entry) return;
	entry->object = NULL;
	entry->next_free = 0;
	if (table.last_free)
		table.entries[table.last_free].next_free = index;
	else
		table.first_free = index;
	table.last_free = index;
}

void handle_release(const void *handle)
{
	(void)pthread_mutex_lock(&table.lock);
	handle_release_locked(handle);
	(void)pthread_mutex_unlock(&table.lock);
}
