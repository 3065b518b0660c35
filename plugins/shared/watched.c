#include "watched.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct version {
	void *object;
	const struct watched_kind *kind;
	struct version *next; /* while retired */
	unsigned refs;        /* under `lock` */
};

struct stamp { /* what tells one state of a file from another */
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec modified;
};

struct watched {
	struct watched *next;
	const struct watched_kind *kind;
	char path[PATH_MAX];
	struct stamp stamp, seen; /* of what was loaded; of the last look */
	int64_t every_ms, due_ms;
	struct version *current;
	_Atomic(unsigned) generation;
	struct watched_reader *readers;
};

struct watched_reader {
	struct watched_reader *next;
	struct watched *watched;
	struct version *version;
	unsigned generation;
	watched_fn tell;
	void *ctx;
};

/* `lock` guards the lists, versions' counts and `is_stopping`; it is never held while a file is read or unloaded. `life` is held by
 * whoever opens or closes, and by nobody else. */
static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER, lock = PTHREAD_MUTEX_INITIALIZER;
/* Held while somebody is told, so that a reader that has closed is told nothing more. */
static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake;
static pthread_t thread;
static bool is_running, is_stopping;
static struct watched *files;
static struct version *retired; /* for the thread to unload: that may take long */

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool read_stamp(const char *path, struct stamp *out)
{
	struct stat st;
	memset(out, 0, sizeof *out);
	if (stat(path, &st) != 0) return false;
	*out = (struct stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
	return true;
}

static bool is_same(const struct stamp *a, const struct stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->modified.tv_sec == b->modified.tv_sec &&
	       a->modified.tv_nsec == b->modified.tv_nsec;
}

static struct version *load(const struct watched_kind *kind, const char *path, char why[WATCHED_WHY_MAX])
{
	struct version *version = calloc(1, sizeof *version);
	snprintf(why, WATCHED_WHY_MAX, "out of memory");
	if (!version) return NULL;
	version->refs = 1;
	version->kind = kind;
	version->object = kind->load(path, why);
	if (version->object) return version;
	free(version);
	return NULL;
}

/* With `lock` held. */
static void drop(struct version *version)
{
	if (--version->refs > 0) return;
	version->next = retired;
	retired = version;
}

/* With `lock` held, which is let go meanwhile. */
static void unload_retired(void)
{
	while (retired) {
		struct version *version = retired;
		retired = version->next;
		pthread_mutex_unlock(&lock);
		version->kind->unload(version->object);
		free(version);
		pthread_mutex_lock(&lock);
	}
}

/* ── the watching thread ─────────────────────────────────────────────────── */

static void tell(struct watched *file, enum watched_news news, const char *why)
{
	struct watched_reader *first = NULL;
	pthread_mutex_lock(&telling);
	pthread_mutex_lock(&lock);
	for (struct watched_reader *reader = file->readers; reader; reader = reader->next) first = reader;
	pthread_mutex_unlock(&lock);
	if (first && first->tell) first->tell(first->ctx, news, file->path, why);
	pthread_mutex_unlock(&telling);
}

/* What is still being written is left alone until it looks the same twice. */
static bool has_settled(struct watched *file, bool *is_there)
{
	struct stamp stamp;
	*is_there = read_stamp(file->path, &stamp);
	bool is_steady = is_same(&stamp, &file->seen);
	file->seen = stamp;
	if (!is_steady || is_same(&stamp, &file->stamp)) return false;
	file->stamp = stamp;
	return true;
}

static void look(struct watched *file)
{
	char why[WATCHED_WHY_MAX];
	bool is_there;
	if (!has_settled(file, &is_there)) return;
	snprintf(why, sizeof why, "%s", strerror(ENOENT));
	struct version *version = is_there ? load(file->kind, file->path, why) : NULL;
	if (!version) {
		tell(file, WATCHED_FAILED, why);
		return;
	}
	pthread_mutex_lock(&lock);
	drop(file->current);
	file->current = version;
	atomic_fetch_add_explicit(&file->generation, 1, memory_order_release);
	pthread_mutex_unlock(&lock);
	tell(file, WATCHED_LOADED, "");
}

/* The file that is due first; *wait_ms: how long until then. With `lock` held. */
static struct watched *next_due(int64_t now, int64_t *wait_ms)
{
	struct watched *first = NULL;
	for (struct watched *file = files; file; file = file->next) {
		if (file->every_ms > 0 && (!first || file->due_ms < first->due_ms)) first = file;
	}
	*wait_ms = first ? first->due_ms - now : 3600 * 1000;
	return first && first->due_ms <= now ? first : NULL;
}

static void wait_for(int64_t ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&wake, &lock, &until);
}

/* A file is freed only when the thread does not look at it: remove_file waits. */
static struct watched *looked_at;
static pthread_cond_t looked;

static void *watch(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		unload_retired();
		if (is_stopping) break; /* asked here, because unload_retired lets go of the lock */
		int64_t now = now_ms(), wait_ms;
		struct watched *file = next_due(now, &wait_ms);
		if (!file) {
			wait_for(wait_ms);
			continue;
		}
		file->due_ms = now + file->every_ms;
		looked_at = file;
		pthread_mutex_unlock(&lock);
		look(file);
		pthread_mutex_lock(&lock);
		looked_at = NULL;
		pthread_cond_broadcast(&looked);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Signals belong to the daemon's own threads. */
static bool start_thread(void)
{
	sigset_t all, old;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&wake, &attr);
	pthread_cond_init(&looked, NULL);
	pthread_condattr_destroy(&attr);
	is_stopping = false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	is_running = pthread_create(&thread, NULL, watch, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return is_running;
}

static void stop_thread(void)
{
	pthread_mutex_lock(&lock);
	is_stopping = true;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
	pthread_mutex_lock(&lock);
	unload_retired();
	pthread_mutex_unlock(&lock);
	pthread_cond_destroy(&wake);
	pthread_cond_destroy(&looked);
	is_running = false;
}

/* ── readers ─────────────────────────────────────────────────────────────── */

static struct watched *find(const struct watched_kind *kind, const char *path)
{
	for (struct watched *file = files; file; file = file->next) {
		if (file->kind == kind && strcmp(file->path, path) == 0) return file;
	}
	return NULL;
}

static struct watched *add_file(const struct watched_kind *kind, const char *path, char why[WATCHED_WHY_MAX])
{
	struct watched *file = calloc(1, sizeof *file);
	snprintf(why, WATCHED_WHY_MAX, "out of memory");
	if (!file) return NULL;
	snprintf(file->path, sizeof file->path, "%s", path);
	file->kind = kind;
	if (!read_stamp(path, &file->stamp)) /* before it is read: a change in between is seen later */
		snprintf(why, WATCHED_WHY_MAX, "%s", strerror(errno));
	else
		file->current = load(kind, path, why);
	if (!file->current) {
		free(file);
		return NULL;
	}
	file->seen = file->stamp;
	pthread_mutex_lock(&lock);
	file->next = files;
	files = file;
	pthread_mutex_unlock(&lock);
	return file;
}

static void add_reader(struct watched *file, struct watched_reader *reader, int64_t every_ms)
{
	pthread_mutex_lock(&lock);
	reader->watched = file;
	reader->version = file->current;
	reader->version->refs++;
	reader->generation = atomic_load_explicit(&file->generation, memory_order_relaxed);
	reader->next = file->readers;
	file->readers = reader;
	if (every_ms > 0 && (file->every_ms == 0 || every_ms < file->every_ms)) {
		file->every_ms = every_ms;
		file->due_ms = now_ms() + every_ms;
		pthread_cond_signal(&wake);
	}
	pthread_mutex_unlock(&lock);
}

static bool open_locked(const struct watched_kind *kind, const char *path, int64_t every_ms,
			struct watched_reader *reader, char why[WATCHED_WHY_MAX])
{
	struct watched *file = find(kind, path);
	if (!file) file = add_file(kind, path, why);
	if (!file) return false;
	add_reader(file, reader, every_ms);
	return true;
}

struct watched_reader *watched_open(const struct watched_kind *kind, const char *path, int64_t every_ms,
				    watched_fn tell_fn, void *ctx, char why[WATCHED_WHY_MAX])
{
	struct watched_reader *reader = calloc(1, sizeof *reader);
	snprintf(why, WATCHED_WHY_MAX, "out of memory");
	if (!reader) return NULL;
	reader->tell = tell_fn;
	reader->ctx = ctx;
	if (strlen(path) >= PATH_MAX) {
		snprintf(why, WATCHED_WHY_MAX, "%s", strerror(ENAMETOOLONG));
		free(reader);
		return NULL;
	}
	pthread_mutex_lock(&life);
	snprintf(why, WATCHED_WHY_MAX, "no thread can be started");
	bool is_open = (is_running || start_thread()) && open_locked(kind, path, every_ms, reader, why);
	if (!files && is_running) stop_thread();
	pthread_mutex_unlock(&life);
	if (is_open) return reader;
	free(reader);
	return NULL;
}

const void *watched_get(struct watched_reader *reader, int *is_new)
{
	struct watched *file = reader->watched;
	*is_new = atomic_load_explicit(&file->generation, memory_order_acquire) != reader->generation;
	if (!*is_new) return reader->version->object;
	pthread_mutex_lock(&lock);
	drop(reader->version);
	reader->version = file->current;
	reader->version->refs++;
	reader->generation = atomic_load_explicit(&file->generation, memory_order_relaxed);
	if (retired) pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
	return reader->version->object;
}

/* Takes the reader off its file; returns the file when nobody reads it any more. With `life` held. */
static struct watched *remove_reader(struct watched_reader *reader)
{
	struct watched *file = reader->watched;
	pthread_mutex_lock(&telling);
	pthread_mutex_lock(&lock);
	struct watched_reader **at = &file->readers;
	while (*at != reader) at = &(*at)->next;
	*at = reader->next;
	drop(reader->version);
	bool is_left = file->readers != NULL;
	pthread_mutex_unlock(&lock);
	pthread_mutex_unlock(&telling);
	return is_left ? NULL : file;
}

static void remove_file(struct watched *file)
{
	pthread_mutex_lock(&lock);
	struct watched **at = &files;
	while (*at != file) at = &(*at)->next;
	*at = file->next;
	while (looked_at == file) pthread_cond_wait(&looked, &lock);
	drop(file->current);
	if (retired) pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
	free(file);
	if (!files && is_running) stop_thread();
}

void watched_close(struct watched_reader *reader)
{
	if (!reader) return;
	pthread_mutex_lock(&life);
	struct watched *file = remove_reader(reader);
	if (file) remove_file(file);
	pthread_mutex_unlock(&life);
	free(reader);
}
