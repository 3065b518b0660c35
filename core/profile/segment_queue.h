/* segment_queue: what a transaction wants of `members` and `due`, written in the order of their keys when it ends: neighbours then
 * share the way to their page. Wishes for one key say in turn that it shall be there and that it shall not; the last one holds. Until
 * they are settled the tables are as the transaction found them. */
#pragma once

#include "profile/segment_tables.h"

struct segment_wish {
	uint8_t key[MEMBER_KEY_SIZE]; /* of either table */
	uint32_t order;
	bool is_put;
	int64_t since; /* of a member */
};

struct segment_queue {
	struct segment_wish *items;
	size_t count, room;
	uint64_t rows; /* of the table, when the first wish came */
};

void segment_queue_fini(struct segment_queue *queue);
MUST_USE int member_queue(struct segment_queue *queue, struct store_txn *txn, store_db members, uint64_t segment,
			  const struct fragment_id *profile, bool is_put, int64_t since);
MUST_USE int due_queue(struct segment_queue *queue, struct store_txn *txn, store_db due, int64_t at,
		       const struct fragment_id *profile, bool is_put);
/* Writes and forgets them. */
MUST_USE int member_queue_settle(struct segment_queue *queue, struct store_txn *txn, store_db members);
MUST_USE int due_queue_settle(struct segment_queue *queue, struct store_txn *txn, store_db due);
/* Pages that settling would touch, about. */
size_t member_queue_pages(const struct segment_queue *queue);
size_t due_queue_pages(const struct segment_queue *queue);
