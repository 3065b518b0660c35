#include "journal/queue.h"

#include <time.h>

#include "base/clock.h"

/* What an entry costs on disk and in the transaction beside its bytes. */
#define ENTRY_COST 64

void queue_init(struct append_queue *queue, size_t bytes_max)
{
	*queue = (struct append_queue){.bytes_max = bytes_max};
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&queue->filled, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&queue->lock, NULL);
}

void queue_fini(struct append_queue *queue)
{
	pthread_cond_destroy(&queue->filled);
	pthread_mutex_destroy(&queue->lock);
}

void queue_set_max(struct append_queue *queue, size_t bytes_max)
{
	pthread_mutex_lock(&queue->lock);
	queue->bytes_max = bytes_max;
	pthread_mutex_unlock(&queue->lock);
}

static size_t append_bytes(const struct journal_append *append)
{
	size_t bytes = ENTRY_COST * (append->entry_count + append->reject_count + 1);
	for (size_t i = 0; i < append->entry_count; i++) bytes += append->entries[i].payload.len;
	for (size_t i = 0; i < append->reject_count; i++) {
		const struct journal_reject *reject = &append->rejects[i];
		bytes += reject->source_id.len + reject->message_id.len + reject->pointer.len + reject->detail.len +
			 reject->excerpt.len;
	}
	return bytes;
}

static int admit(const struct append_queue *queue, const struct journal_append *append)
{
	if (queue->is_closed) return ERR_CLOSED;
	size_t bytes_max = queue->bytes_max, count_max = QUEUE_COUNT_MAX;
	if (append->is_urgent) {
		bytes_max += bytes_max / 4;
		count_max += count_max / 4;
	}
	if (queue->count >= count_max) return ERR_BUSY;
	return queue->bytes + append->bytes > bytes_max ? ERR_BUSY : OK;
}

int queue_push(struct append_queue *queue, struct journal_append *append)
{
	append->next = NULL;
	append->bytes = append_bytes(append);
	pthread_mutex_lock(&queue->lock);
	int rc = admit(queue, append);
	bool is_awaited = queue->is_awaited;
	if (rc == OK) {
		if (queue->last)
			queue->last->next = append;
		else
			queue->first = append;
		queue->last = append;
		queue->bytes += append->bytes;
		queue->count++;
		queue->is_awaited = false; /* one signal is enough */
	}
	pthread_mutex_unlock(&queue->lock);
	if (rc == OK && is_awaited) pthread_cond_signal(&queue->filled);
	return rc;
}

static void await(struct append_queue *queue, int64_t timeout_us)
{
	int64_t end = clock_mono_us() + timeout_us;
	struct timespec deadline = {end / US_PER_SECOND, end % US_PER_SECOND * 1000};
	while (!queue->first && !queue->is_poked && !queue->is_closed) {
		queue->is_awaited = true;
		if (pthread_cond_timedwait(&queue->filled, &queue->lock, &deadline) != 0) break;
	}
	queue->is_awaited = queue->is_poked = false;
}

struct journal_append *queue_take(struct append_queue *queue, size_t max_bytes, size_t max_count, int64_t timeout_us,
				  size_t *bytes)
{
	pthread_mutex_lock(&queue->lock);
	if (!queue->first) await(queue, timeout_us);
	struct journal_append *first = queue->first, *last = NULL;
	size_t count = 0;
	*bytes = 0;
	for (struct journal_append *it = first; it && count < max_count; it = it->next, count++) {
		if (last && *bytes + it->bytes > max_bytes) break;
		*bytes += it->bytes;
		last = it;
	}
	if (last) {
		queue->first = last->next;
		if (!queue->first) queue->last = NULL;
		last->next = NULL;
	}
	pthread_mutex_unlock(&queue->lock);
	return first;
}

void queue_settled(struct append_queue *queue, size_t bytes, size_t count)
{
	pthread_mutex_lock(&queue->lock);
	CHECK(queue->bytes >= bytes && queue->count >= count);
	queue->bytes -= bytes;
	queue->count -= count;
	pthread_mutex_unlock(&queue->lock);
}

void queue_poke(struct append_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->is_poked = true;
	pthread_mutex_unlock(&queue->lock);
	pthread_cond_signal(&queue->filled);
}

void queue_close(struct append_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->is_closed = true;
	pthread_mutex_unlock(&queue->lock);
	pthread_cond_signal(&queue->filled);
}

bool queue_is_drained(struct append_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	bool is_drained = queue->is_closed && !queue->first;
	pthread_mutex_unlock(&queue->lock);
	return is_drained;
}
