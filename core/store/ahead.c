#include "store/ahead.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

#define STEP_BYTES  (1u << 20) /* at once: an ack may have to wait while so much is synced */
#define PAGE_BYTES  4096
#define DEPTH_MIN   (256u << 10)
#define ROOM_DEPTHS 8 /* nothing is written ahead on a disk with less room than that many times the depth */

struct ahead {
	int fd;
	bool is_broken; /* the thread's own */
	char *path;
	uint64_t depth_max;
	pthread_t thread;
	pthread_mutex_t lock; /* of the rest */
	pthread_cond_t changed;
	uint64_t written; /* below it the file has its blocks */
	uint64_t used;    /* by LMDB's count */
	uint64_t claim;   /* a commit may write anything below it; 0: no commit is under way */
	uint64_t from;    /* where zeros are being written */
	bool is_armed;    /* the writer has made its first claim: before it, databases are created without one */
	bool is_writing;  /* without the lock */
	bool has_failed;  /* until the writer has used up what is there */
	bool should_stop;
};

static bool has_room(const struct ahead *ahead)
{
	uint64_t free_bytes;
	return store_free_bytes(ahead->path, &free_bytes) == OK && free_bytes > ROOM_DEPTHS * ahead->depth_max;
}

/* How far ahead: a small file by little, half of what is used already. */
static uint64_t depth_of(const struct ahead *ahead)
{
	uint64_t depth = ahead->used / 2;
	if (depth < DEPTH_MIN) return DEPTH_MIN;
	return depth < ahead->depth_max ? depth : ahead->depth_max;
}

static bool write_zeros(struct ahead *ahead, uint64_t from)
{
	static char zeros[STEP_BYTES]; /* never written: all of it is the kernel's one page of zeros */
	if (ahead->is_broken || !has_room(ahead)) return false;
	for (size_t done = 0; done < sizeof zeros;) {
		ssize_t n = pwrite(ahead->fd, zeros + done, sizeof zeros - done, (off_t)(from + done));
		if (n <= 0) return false;
		done += (size_t)n;
	}
	if (fdatasync(ahead->fd) == 0) return true;
	ahead->is_broken = true; /* a disk that failed once is not asked again; the writer will find out for itself */
	return false;
}

static bool is_due(const struct ahead *ahead)
{
	return ahead->is_armed && !ahead->has_failed && ahead->written < ahead->used + depth_of(ahead);
}

static uint64_t start_of(const struct ahead *ahead)
{
	uint64_t start = ahead->written > ahead->used ? ahead->written : ahead->used;
	return start > ahead->claim ? start : ahead->claim;
}

static void *run(void *arg)
{
	struct ahead *ahead = arg;
	(void)pthread_mutex_lock(&ahead->lock);
	while (!ahead->should_stop) {
		if (!is_due(ahead)) {
			(void)pthread_cond_wait(&ahead->changed, &ahead->lock);
			continue;
		}
		uint64_t from = ahead->from = start_of(ahead);
		ahead->is_writing = true;
		(void)pthread_mutex_unlock(&ahead->lock);
		bool is_written = write_zeros(ahead, from);
		(void)pthread_mutex_lock(&ahead->lock);
		ahead->is_writing = false;
		if (is_written) ahead->written = from + STEP_BYTES;
		ahead->has_failed = !is_written;
		(void)pthread_cond_broadcast(&ahead->changed);
	}
	(void)pthread_mutex_unlock(&ahead->lock);
	return NULL;
}

static int open_data(struct ahead *ahead, const char *path)
{
	char file[4096];
	if (snprintf(file, sizeof file, "%s/data.mdb", path) >= (int)sizeof file) return ERR_TOO_LARGE;
	ahead->fd = open(file, O_WRONLY | O_CLOEXEC);
	return ahead->fd < 0 ? ERR_IO : OK;
}

static void release(struct ahead *ahead)
{
	if (ahead->fd >= 0) (void)close(ahead->fd);
	free(ahead->path);
	free(ahead);
}

int ahead_start(const char *path, uint64_t depth_max, struct ahead **out)
{
	*out = NULL;
	struct ahead *ahead = calloc(1, sizeof *ahead);
	if (!ahead) return ERR_NOMEM;
	ahead->fd = -1;
	ahead->depth_max = depth_max;
	ahead->path = strdup(path);
	int rc = ahead->path ? open_data(ahead, path) : ERR_NOMEM;
	if (!rc) {
		(void)pthread_mutex_init(&ahead->lock, NULL);
		(void)pthread_cond_init(&ahead->changed, NULL);
		if (pthread_create(&ahead->thread, NULL, run, ahead)) rc = ERR_NOMEM;
	}
	if (rc) {
		release(ahead);
		return rc;
	}
	(void)pthread_setname_np(ahead->thread, "cdpd-ahead");
	*out = ahead;
	return OK;
}

void ahead_stop(struct ahead *ahead, uint64_t used)
{
	if (!ahead) return;
	(void)pthread_mutex_lock(&ahead->lock);
	ahead->should_stop = true;
	(void)pthread_cond_broadcast(&ahead->changed);
	(void)pthread_mutex_unlock(&ahead->lock);
	(void)pthread_join(ahead->thread, NULL);
	/* Zeros that stay behind are no harm: the next opening counts them as ready. */
	if (used && ahead->is_armed && ftruncate(ahead->fd, (off_t)used)) ahead->has_failed = true;
	(void)pthread_cond_destroy(&ahead->changed);
	(void)pthread_mutex_destroy(&ahead->lock);
	release(ahead);
}

/* Whatever the file is long already, by an earlier life's writing ahead too, has its blocks. */
static void arm(struct ahead *ahead)
{
	struct stat st;
	if (fstat(ahead->fd, &st) == 0) ahead->written = (uint64_t)st.st_size;
	ahead->is_armed = true;
}

void ahead_claim(struct ahead *ahead, uint64_t bound)
{
	(void)pthread_mutex_lock(&ahead->lock);
	if (!ahead->is_armed) arm(ahead);
	ahead->claim = (bound + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
	/* The next step starts above the claim, so one is all there is to wait for. */
	while (ahead->is_writing && bound > ahead->from) (void)pthread_cond_wait(&ahead->changed, &ahead->lock);
	(void)pthread_mutex_unlock(&ahead->lock);
}

void ahead_used(struct ahead *ahead, uint64_t used)
{
	(void)pthread_mutex_lock(&ahead->lock);
	CHECK(used <= ahead->claim); /* or zeros could have been written over it */
	ahead->used = used;
	ahead->claim = 0;
	if (used >= ahead->written) ahead->has_failed = false;
	if (is_due(ahead) && !ahead->is_writing) (void)pthread_cond_broadcast(&ahead->changed);
	(void)pthread_mutex_unlock(&ahead->lock);
}
