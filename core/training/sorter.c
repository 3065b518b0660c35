#include "training/sorter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_ITEMS ((size_t)4096)
#define RUNS_MAX   ((size_t)4096)

struct item {
	int64_t at_us;
	uint64_t seq;
};

struct run {
	uint64_t next, end; /* items in the file */
	struct item *items; /* what was read ahead */
	size_t count, used;
};

struct sorter {
	char *path;
	int fd;           /* -1: no file yet */
	size_t room;      /* of `run` */
	struct item *run; /* being filled; the only one when no other was written */
	size_t count, used;
	struct run *runs;
	size_t run_count;
	uint64_t written;  /* items */
	struct run **heap; /* by their first items */
	size_t heap_count;
};

static bool is_before(const struct item *a, const struct item *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static int order_items(const void *a, const void *b)
{
	return is_before(a, b) ? -1 : is_before(b, a);
}

/* ── runs ────────────────────────────────────────────────────────────────── */

static int write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;
	while (len) {
		ssize_t done = write(fd, at, len);
		if (done < 0 && errno == EINTR) continue;
		if (done <= 0) return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
		at += done;
		len -= (size_t)done;
	}
	return OK;
}

static int end_run(struct sorter *sorter)
{
	if (sorter->run_count == RUNS_MAX) return ERR_TOO_LARGE;
	if (sorter->fd < 0) {
		sorter->fd = open(sorter->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (sorter->fd < 0) return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
		(void)unlink(sorter->path); /* its bytes go with the sorter */
	}
	struct run *runs = realloc(sorter->runs, (sorter->run_count + 1) * sizeof *runs);
	if (!runs) return ERR_NOMEM;
	sorter->runs = runs;
	qsort(sorter->run, sorter->count, sizeof *sorter->run, order_items);
	int rc = write_all(sorter->fd, sorter->run, sorter->count * sizeof *sorter->run);
	if (rc) return rc;
	runs[sorter->run_count++] = (struct run){.next = sorter->written, .end = sorter->written + sorter->count};
	sorter->written += sorter->count;
	sorter->count = 0;
	return OK;
}

int sorter_add(struct sorter *sorter, int64_t at_us, uint64_t seq)
{
	sorter->run[sorter->count++] = (struct item){at_us, seq};
	return sorter->count == sorter->room ? end_run(sorter) : OK;
}

/* ── merging ─────────────────────────────────────────────────────────────── */

static const struct item *first_of(const struct run *run)
{
	return &run->items[run->used];
}

/* ERR_NOT_FOUND: the run is over. */
static int refill(struct sorter *sorter, struct run *run)
{
	if (run->used < run->count) return OK;
	if (run->next == run->end) return ERR_NOT_FOUND;
	if (!run->items) run->items = malloc(READ_ITEMS * sizeof *run->items);
	if (!run->items) return ERR_NOMEM;
	size_t count = run->end - run->next < READ_ITEMS ? (size_t)(run->end - run->next) : READ_ITEMS;
	size_t len = count * sizeof *run->items;
	ssize_t got = pread(sorter->fd, run->items, len, (off_t)(run->next * sizeof *run->items));
	if (got != (ssize_t)len) return ERR_IO;
	run->next += count;
	run->count = count;
	run->used = 0;
	return OK;
}

static void sink(struct sorter *sorter, size_t at)
{
	for (;;) {
		size_t least = at;
		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < sorter->heap_count; child++)
			if (is_before(first_of(sorter->heap[child]), first_of(sorter->heap[least]))) least = child;
		if (least == at) return;
		struct run *moved = sorter->heap[at];
		sorter->heap[at] = sorter->heap[least];
		sorter->heap[least] = moved;
		at = least;
	}
}

int sorter_start(struct sorter *sorter)
{
	int rc = sorter->run_count ? end_run(sorter) : OK;
	if (rc || !sorter->run_count) {
		qsort(sorter->run, sorter->count, sizeof *sorter->run, order_items);
		return rc;
	}
	sorter->heap = calloc(sorter->run_count, sizeof *sorter->heap);
	if (!sorter->heap) return ERR_NOMEM;
	for (size_t i = 0; i < sorter->run_count; i++) {
		rc = refill(sorter, &sorter->runs[i]);
		if (rc && rc != ERR_NOT_FOUND) return rc;
		if (!rc) sorter->heap[sorter->heap_count++] = &sorter->runs[i];
	}
	for (size_t i = sorter->heap_count; i-- > 0;) sink(sorter, i);
	return OK;
}

int sorter_new(const char *path, size_t run, struct sorter **out)
{
	struct sorter *sorter = calloc(1, sizeof *sorter);
	*out = sorter;
	if (!sorter) return ERR_NOMEM;
	sorter->fd = -1;
	sorter->room = run;
	sorter->path = strdup(path);
	sorter->run = malloc(run * sizeof *sorter->run);
	if (sorter->path && sorter->run) return OK;
	sorter_free(sorter);
	*out = NULL;
	return ERR_NOMEM;
}

void sorter_free(struct sorter *sorter)
{
	if (!sorter) return;
	for (size_t i = 0; i < sorter->run_count; i++) free(sorter->runs[i].items);
	if (sorter->fd >= 0) (void)close(sorter->fd);
	free(sorter->runs);
	free(sorter->heap);
	free(sorter->run);
	free(sorter->path);
	free(sorter);
}

static int next_in_memory(struct sorter *sorter, struct item *out)
{
	if (sorter->used == sorter->count) return ERR_NOT_FOUND;
	*out = sorter->run[sorter->used++];
	return OK;
}

static int next_merged(struct sorter *sorter, struct item *out)
{
	if (!sorter->heap_count) return ERR_NOT_FOUND;
	struct run *run = sorter->heap[0];
	*out = run->items[run->used++];
	int rc = refill(sorter, run);
	if (rc == ERR_NOT_FOUND) {
		sorter->heap[0] = sorter->heap[--sorter->heap_count];
		rc = OK;
	}
	if (sorter->heap_count) sink(sorter, 0);
	return rc;
}

int sorter_next(struct sorter *sorter, int64_t *at_us, uint64_t *seq)
{
	struct item item;
	int rc = sorter->run_count ? next_merged(sorter, &item) : next_in_memory(sorter, &item);
	if (rc) return rc;
	*at_us = item.at_us;
	*seq = item.seq;
	return OK;
}
