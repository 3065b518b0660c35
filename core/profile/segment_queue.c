#include "profile/segment_queue.h"

#include <stdlib.h>

#define ROOM_MIN      256
#define ROWS_PER_PAGE 50 /* of some 80 that fit: random keys split pages early */

void segment_queue_fini(struct segment_queue *queue)
{
	free(queue->items);
	*queue = (struct segment_queue){0};
}

static int next_wish(struct segment_queue *queue, struct store_txn *txn, store_db db, struct segment_wish **out)
{
	if (queue->count == 0) {
		int rc = store_count(txn, db, &queue->rows);
		if (rc) return rc;
	}
	if (queue->count == queue->room) {
		size_t room = queue->room ? 2 * queue->room : ROOM_MIN;
		struct segment_wish *items = realloc(queue->items, room * sizeof *items);
		if (!items) return ERR_NOMEM;
		queue->items = items;
		queue->room = room;
	}
	*out = &queue->items[queue->count];
	(*out)->order = (uint32_t)queue->count++;
	return OK;
}

int member_queue(struct segment_queue *queue, struct store_txn *txn, store_db members, uint64_t segment,
		 const struct fragment_id *profile, bool is_put, int64_t since)
{
	struct segment_wish *wish;
	int rc = next_wish(queue, txn, members, &wish);
	if (rc) return rc;
	member_key(segment, profile, wish->key);
	wish->is_put = is_put;
	wish->since = since;
	return OK;
}

int due_queue(struct segment_queue *queue, struct store_txn *txn, store_db due, int64_t at,
	      const struct fragment_id *profile, bool is_put)
{
	struct segment_wish *wish;
	int rc = next_wish(queue, txn, due, &wish);
	if (rc) return rc;
	due_key(at, profile, wish->key);
	wish->is_put = is_put;
	wish->since = 0;
	return OK;
}

static int order_wishes(const void *a, const void *b)
{
	const struct segment_wish *x = a, *y = b;
	int order = memcmp(x->key, y->key, sizeof x->key);
	return order ? order : (x->order > y->order) - (x->order < y->order);
}

static bool is_same_key(const struct segment_wish *a, const struct segment_wish *b)
{
	return memcmp(a->key, b->key, sizeof a->key) == 0;
}

static int settle(struct segment_queue *queue, struct store_txn *txn, store_db db,
		  int (*put)(struct store_txn *txn, store_db db, const struct segment_wish *wish))
{
	int rc = OK;
	if (queue->count > 1) qsort(queue->items, queue->count, sizeof *queue->items, order_wishes);
	for (size_t i = 0, end; i < queue->count && !rc; i = end) {
		const struct segment_wish *first = &queue->items[i];
		for (end = i + 1; end < queue->count && is_same_key(first, &queue->items[end]);) end++;
		const struct segment_wish *last = &queue->items[end - 1];
		/* What was first put was not there before. */
		if (last->is_put || !first->is_put) rc = put(txn, db, last);
	}
	queue->count = 0;
	return rc;
}

static int settle_member(struct store_txn *txn, store_db db, const struct segment_wish *wish)
{
	return wish->is_put ? member_put(txn, db, wish->key, wish->since) : member_del(txn, db, wish->key);
}

static int settle_due(struct store_txn *txn, store_db db, const struct segment_wish *wish)
{
	return wish->is_put ? due_put(txn, db, wish->key) : due_del(txn, db, wish->key);
}

int member_queue_settle(struct segment_queue *queue, struct store_txn *txn, store_db members)
{
	return settle(queue, txn, members, settle_member);
}

int due_queue_settle(struct segment_queue *queue, struct store_txn *txn, store_db due)
{
	return settle(queue, txn, due, settle_due);
}

/* Ids are hashes, so wishes hit pages as balls hit urns: of P pages n of them hit about P (1 - e^(-n/P)). */
size_t member_queue_pages(const struct segment_queue *queue)
{
	if (!queue->count) return 0;
	double n = (double)queue->count, all = (double)(queue->rows + queue->count) / ROWS_PER_PAGE + 1, x = n / all;
	return (size_t)(all * (1 - 1 / (1 + x + x * x / 2 + x * x * x / 6))) + 4;
}

/* Times come first in these keys: those of one moment lie together. */
size_t due_queue_pages(const struct segment_queue *queue)
{
	return queue->count ? 4 * (queue->count / ROWS_PER_PAGE) + 4 : 0;
}
