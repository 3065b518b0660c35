/* Sorting what may be more than memory holds: sorted runs in a file, merged as they are read. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "training/job.h"

#define RUN_ITEMS     ((size_t)1 << 22) /* 64 MB */
#define READ_ITEMS    ((size_t)4096)
#define RUNS_MAX      ((size_t)4096)
#define BATCH_RECORDS 1024
#define BATCH_BYTES   ((size_t)1 << 20)

struct item {
	int64_t at_us;
	uint64_t seq;
};

struct run {
	uint64_t next, end; /* items in the file */
	struct item *items; /* what was read ahead */
	size_t count, used;
};

struct order {
	int fd;
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

static int end_run(struct order *order)
{
	if (order->run_count == RUNS_MAX) return ERR_TOO_LARGE;
	struct run *runs = realloc(order->runs, (order->run_count + 1) * sizeof *runs);
	if (!runs) return ERR_NOMEM;
	order->runs = runs;
	qsort(order->run, order->count, sizeof *order->run, order_items);
	int rc = write_all(order->fd, order->run, order->count * sizeof *order->run);
	if (rc) return rc;
	runs[order->run_count++] = (struct run){.next = order->written, .end = order->written + order->count};
	order->written += order->count;
	order->count = 0;
	return OK;
}

static int add(struct order *order, int64_t at_us, uint64_t seq)
{
	order->run[order->count++] = (struct item){at_us, seq};
	return order->count == RUN_ITEMS ? end_run(order) : OK;
}

/* ── when things happened ────────────────────────────────────────────────── */

/* Nothing happens after it arrived. */
static int64_t earlier(int64_t at_us, int64_t t)
{
	return at_us && at_us < t ? at_us : t;
}

static int time_of(struct job *job, const struct record *record, int64_t *at_us)
{
	struct cdpd_event event;
	struct erased_event stub;
	int rc = OK;
	*at_us = record->t;
	arena_reset(&job->scratch);
	if (record->kind == RECORD_EVENT) {
		rc = event_decode(record->payload, &job->scratch, &event);
		if (!rc) *at_us = earlier(event.event_time_us, record->t);
	} else if (record->kind == RECORD_ERASED_EVENT) {
		rc = erased_event_decode(record->payload, &job->scratch, &stub);
		if (!rc) *at_us = earlier(stub.event_time_us, record->t);
	}
	return rc == ERR_CORRUPT ? OK : rc;
}

static bool is_needed(enum record_kind kind)
{
	return kind == RECORD_EVENT || kind == RECORD_ERASED_EVENT || kind == RECORD_MERGE || kind == RECORD_UNMERGE ||
	       kind == RECORD_ERASURE;
}

static int add_batch(struct job *job, struct order *order, const struct journal_batch *batch)
{
	int rc = atomic_load(&job->should_stop) ? ERR_CLOSED : OK;
	for (size_t i = 0; i < batch->count && !rc && batch->records[i].seq < job->end; i++) {
		const struct record *record = &batch->records[i];
		int64_t at_us;
		if (!is_needed(record->kind)) continue;
		rc = time_of(job, record, &at_us);
		if (!rc) rc = add(order, at_us, record->seq);
	}
	return rc;
}

static int add_journal(struct job *job, struct order *order)
{
	struct journal_batch batch;
	journal_batch_init(&batch);
	int rc = OK;
	for (uint64_t seq = job->first; seq < job->end && !rc;) {
		rc = journal_read(job->journal, seq, BATCH_RECORDS, BATCH_BYTES, &batch);
		if (!rc) rc = add_batch(job, order, &batch);
		if (!rc) seq = batch.records[batch.count - 1].seq + 1;
	}
	journal_batch_fini(&batch);
	return rc;
}

/* ── merging ─────────────────────────────────────────────────────────────── */

static const struct item *first_of(const struct run *run)
{
	return &run->items[run->used];
}

/* ERR_NOT_FOUND: the run is over. */
static int refill(struct order *order, struct run *run)
{
	if (run->used < run->count) return OK;
	if (run->next == run->end) return ERR_NOT_FOUND;
	if (!run->items) run->items = malloc(READ_ITEMS * sizeof *run->items);
	if (!run->items) return ERR_NOMEM;
	size_t count = run->end - run->next < READ_ITEMS ? (size_t)(run->end - run->next) : READ_ITEMS;
	size_t len = count * sizeof *run->items;
	ssize_t got = pread(order->fd, run->items, len, (off_t)(run->next * sizeof *run->items));
	if (got != (ssize_t)len) return ERR_IO;
	run->next += count;
	run->count = count;
	run->used = 0;
	return OK;
}

static void sink(struct order *order, size_t at)
{
	for (;;) {
		size_t least = at;
		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < order->heap_count; child++)
			if (is_before(first_of(order->heap[child]), first_of(order->heap[least]))) least = child;
		if (least == at) return;
		struct run *moved = order->heap[at];
		order->heap[at] = order->heap[least];
		order->heap[least] = moved;
		at = least;
	}
}

static int start_merge(struct order *order)
{
	int rc = order->run_count ? end_run(order) : OK;
	if (rc || !order->run_count) {
		qsort(order->run, order->count, sizeof *order->run, order_items);
		return rc;
	}
	order->heap = calloc(order->run_count, sizeof *order->heap);
	if (!order->heap) return ERR_NOMEM;
	for (size_t i = 0; i < order->run_count; i++) {
		rc = refill(order, &order->runs[i]);
		if (rc && rc != ERR_NOT_FOUND) return rc;
		if (!rc) order->heap[order->heap_count++] = &order->runs[i];
	}
	for (size_t i = order->heap_count; i-- > 0;) sink(order, i);
	return OK;
}

int order_make(struct job *job, struct order **out)
{
	char path[sizeof job->folder + 16];
	struct order *order = calloc(1, sizeof *order);
	*out = order;
	if (!order) return ERR_NOMEM;
	(void)snprintf(path, sizeof path, "%s/order", job->folder);
	order->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	order->run = malloc(RUN_ITEMS * sizeof *order->run);
	int rc = order->fd < 0 ? ERR_IO : order->run ? OK : ERR_NOMEM;
	if (!rc) rc = add_journal(job, order);
	if (!rc) rc = start_merge(order);
	if (rc) {
		order_free(order);
		*out = NULL;
	}
	return rc;
}

void order_free(struct order *order)
{
	if (!order) return;
	for (size_t i = 0; i < order->run_count; i++) free(order->runs[i].items);
	if (order->fd >= 0) (void)close(order->fd);
	free(order->runs);
	free(order->heap);
	free(order->run);
	free(order);
}

static int next_in_memory(struct order *order, struct item *out)
{
	if (order->used == order->count) return ERR_NOT_FOUND;
	*out = order->run[order->used++];
	return OK;
}

static int next_merged(struct order *order, struct item *out)
{
	if (!order->heap_count) return ERR_NOT_FOUND;
	struct run *run = order->heap[0];
	*out = run->items[run->used++];
	int rc = refill(order, run);
	if (rc == ERR_NOT_FOUND) {
		order->heap[0] = order->heap[--order->heap_count];
		rc = OK;
	}
	if (order->heap_count) sink(order, 0);
	return rc;
}

int order_next(struct order *order, int64_t *at_us, uint64_t *seq)
{
	struct item item;
	int rc = order->run_count ? next_merged(order, &item) : next_in_memory(order, &item);
	if (rc) return rc;
	*at_us = item.at_us;
	*seq = item.seq;
	return OK;
}
