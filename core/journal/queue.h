/* queue: appends on their way to the journal's thread, in order of arrival, bounded in bytes and in number.
 * An append counts from the push until it is settled. */
#pragma once

#include <pthread.h>

#include "journal/journal.h"

#define QUEUE_COUNT_MAX 65536

struct append_queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct journal_append *first, *last;
	size_t bytes, count;
	size_t bytes_max;
	bool is_closed, is_poked, is_awaited;
};

void queue_init(struct append_queue *queue, size_t bytes_max);
void queue_fini(struct append_queue *queue);
void queue_set_max(struct append_queue *queue, size_t bytes_max);
/* ERR_BUSY; ERR_CLOSED. An urgent append may use a quarter beyond each bound. */
MUST_USE int queue_push(struct append_queue *queue, struct journal_append *append);
/* A chain of what is there, at most about max_bytes and max_count but at least one append; waits up to
 * timeout_us for the first. NULL: none in time, or poked, or closed and empty. */
struct journal_append *queue_take(struct append_queue *queue, size_t max_bytes, size_t max_count, int64_t timeout_us,
				  size_t *bytes);
void queue_settled(struct append_queue *queue, size_t bytes, size_t count); /* these no longer count */
void queue_poke(struct append_queue *queue);                                /* ends a wait */
void queue_close(struct append_queue *queue);
bool queue_is_drained(struct append_queue *queue); /* closed, and nothing left to take */
