#include "deliver/windows.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

#define ENTRIES_MAX 16 /* of a megabyte or so each */
#define FRESH_US    (2 * US_PER_SECOND)

struct entry {
	const struct stream *stream; /* NULL: free */
	uint64_t position;           /* that is being read, while window is NULL */
	struct stream_window *window;
	int64_t made_at_us;
};

struct windows {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct entry entries[ENTRIES_MAX];
};

int windows_new(struct windows **out)
{
	struct windows *windows = calloc(1, sizeof *windows);
	*out = windows;
	if (!windows) return ERR_NOMEM;
	CHECK(pthread_mutex_init(&windows->lock, NULL) == 0 && pthread_cond_init(&windows->changed, NULL) == 0);
	return OK;
}

void windows_free(struct windows *windows)
{
	if (!windows) return;
	for (size_t i = 0; i < ENTRIES_MAX; i++) window_unref(windows->entries[i].window);
	pthread_cond_destroy(&windows->changed);
	pthread_mutex_destroy(&windows->lock);
	free(windows);
}

static void forget(struct entry *entry)
{
	window_unref(entry->window);
	*entry = (struct entry){.stream = NULL};
}

static struct entry *find(struct windows *w, const struct stream *stream, uint64_t position, int64_t now)
{
	for (size_t i = 0; i < ENTRIES_MAX; i++) {
		struct entry *entry = &w->entries[i];
		if (entry->window && now - entry->made_at_us > FRESH_US) forget(entry);
		if (entry->stream != stream) continue;
		if (entry->window ? entry->window->from <= position && position < entry->window->next
				  : entry->position == position)
			return entry;
	}
	return NULL;
}

/* A place for one more: free, or the oldest that is read. NULL: all are being read. */
static struct entry *make_room(struct windows *w)
{
	struct entry *oldest = NULL;
	for (size_t i = 0; i < ENTRIES_MAX; i++) {
		struct entry *entry = &w->entries[i];
		if (!entry->stream) return entry;
		if (entry->window && (!oldest || entry->made_at_us < oldest->made_at_us)) oldest = entry;
	}
	if (oldest) forget(oldest);
	return oldest;
}

static int read_window(struct stream_reader *reader, const struct stream *stream, uint64_t position,
		       struct stream_window **out)
{
	int rc = window_new(position, out);
	if (rc == OK) rc = stream->gather(reader, position, *out);
	if (rc == OK) return OK;
	window_unref(*out);
	*out = NULL;
	return rc;
}

/* Under the lock: what came of it, for those who wait. An end of the stream is not kept: it is there only until the next record. */
static void settle(struct windows *w, struct entry *entry, struct stream_window *window)
{
	if (window && window->next > window->from) {
		entry->window = window_ref(window);
		entry->made_at_us = clock_mono_us();
	} else {
		*entry = (struct entry){.stream = NULL};
	}
	pthread_cond_broadcast(&w->changed);
}

int windows_get(struct windows *w, struct stream_reader *reader, const struct stream *stream, uint64_t position,
		struct stream_window **out)
{
	struct entry *entry;
	*out = NULL;
	pthread_mutex_lock(&w->lock);
	while ((entry = find(w, stream, position, clock_mono_us())) && !entry->window)
		pthread_cond_wait(&w->changed, &w->lock);
	if (entry) *out = window_ref(entry->window);
	if (!entry && (entry = make_room(w))) *entry = (struct entry){.stream = stream, .position = position};
	pthread_mutex_unlock(&w->lock);
	if (*out) return OK;
	int rc = read_window(reader, stream, position, out);
	if (!entry) return rc;
	pthread_mutex_lock(&w->lock);
	settle(w, entry, *out);
	pthread_mutex_unlock(&w->lock);
	return rc;
}
