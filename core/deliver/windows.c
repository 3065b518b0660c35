#include "deliver/windows.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define ENTRIES_MAX 48 /* of a megabyte or so each */
#define WISHES_MAX  8
#define FRESH_US    (2 * US_PER_SECOND)

struct entry {
	const struct stream *stream; /* NULL: free */
	uint64_t position;           /* that is being read, while window is NULL */
	struct stream_window *window;
	int64_t made_at_us;
};

struct windows {
	struct deliver_shared *shared;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed, asked;
	bool stop;
	struct {
		const struct stream *stream;
		uint64_t position;
	} wishes[WISHES_MAX]; /* oldest first */
	size_t wish_count;
	struct entry entries[ENTRIES_MAX];
};

int windows_new(struct deliver_shared *shared, struct windows **out)
{
	pthread_condattr_t attr;
	struct windows *windows = calloc(1, sizeof *windows);
	*out = windows;
	if (!windows) return ERR_NOMEM;
	windows->shared = shared;
	CHECK(pthread_mutex_init(&windows->lock, NULL) == 0 && pthread_cond_init(&windows->changed, NULL) == 0 &&
	      pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
	      pthread_cond_init(&windows->asked, &attr) == 0);
	pthread_condattr_destroy(&attr);
	return OK;
}

void windows_free(struct windows *windows)
{
	if (!windows) return;
	for (size_t i = 0; i < ENTRIES_MAX; i++) window_unref(windows->entries[i].window);
	pthread_cond_destroy(&windows->changed);
	pthread_cond_destroy(&windows->asked);
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
	if (stream->is_private) return read_window(reader, stream, position, out);
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

/* ── reading ahead ───────────────────────────────────────────────────────── */

/* Also whose they are, which is what takes the longest after the reading. What goes wrong is met again by whoever asks for it. */
static void read_wish(struct windows *w, struct stream_reader *reader, const struct stream *stream, uint64_t position)
{
	struct stream_window *window;
	struct window_people *people;
	uint64_t applied;
	if (windows_get(w, reader, stream, position, &window)) return;
	if (people_read_begin(reader->people, &applied) == OK) {
		if (window_look(window, w->shared->people, reader->people, applied, &reader->scratch, &people) == OK)
			window_people_unref(people);
		people_read_end(reader->people);
	}
	window_unref(window);
}

static bool forget_old(struct windows *w, int64_t now)
{
	bool has_any = false;
	for (size_t i = 0; i < ENTRIES_MAX; i++) {
		struct entry *entry = &w->entries[i];
		if (entry->window && now - entry->made_at_us > FRESH_US) forget(entry);
		has_any = has_any || entry->window;
	}
	return has_any;
}

/* Under the lock. Memory is given back when nobody asks any more. */
static void wait_for_wish(struct windows *w)
{
	int64_t until = clock_mono_us() + US_PER_SECOND;
	const struct timespec ts = {(time_t)(until / US_PER_SECOND), (long)(until % US_PER_SECOND) * 1000};
	if (forget_old(w, clock_mono_us()))
		pthread_cond_timedwait(&w->asked, &w->lock, &ts);
	else
		pthread_cond_wait(&w->asked, &w->lock);
}

static void *run(void *ctx)
{
	struct windows *w = ctx;
	struct people_reader *people;
	struct stream_reader reader;
	if (people_reader_new(w->shared->people, &people)) return NULL; /* whoever asks reads for himself */
	stream_reader_init(&reader, w->shared, people);
	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		if (!w->wish_count) {
			wait_for_wish(w);
			continue;
		}
		const struct stream *stream = w->wishes[0].stream;
		uint64_t position = w->wishes[0].position;
		memmove(w->wishes, w->wishes + 1, --w->wish_count * sizeof w->wishes[0]);
		pthread_mutex_unlock(&w->lock);
		read_wish(w, &reader, stream, position);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	stream_reader_fini(&reader);
	people_reader_free(people);
	return NULL;
}

int windows_start(struct windows *w)
{
	w->stop = false;
	if (pthread_create(&w->thread, NULL, run, w)) return ERR_NOMEM;
	(void)pthread_setname_np(w->thread, "cdpd-windows");
	w->has_thread = true;
	return OK;
}

void windows_stop(struct windows *w)
{
	if (!w->has_thread) return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->asked);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	w->has_thread = false;
}

void windows_ahead(struct windows *w, const struct stream *stream, uint64_t position)
{
	if (stream->is_private) return;
	pthread_mutex_lock(&w->lock);
	if (w->wish_count < WISHES_MAX && !find(w, stream, position, clock_mono_us())) {
		w->wishes[w->wish_count].stream = stream;
		w->wishes[w->wish_count++].position = position;
		pthread_cond_signal(&w->asked);
	}
	pthread_mutex_unlock(&w->lock);
}
