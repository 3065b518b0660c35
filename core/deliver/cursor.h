/* cursor: the delivery/ environment: how far each destination has come, durably. Rows of destinations that the config no longer names are
 * kept: named again, they go on where they were. Any thread; writes are serialised inside. */
#pragma once

#include "store/store.h"

#define CURSOR_FORMAT   1
#define CURSOR_NAME_MAX 80 /* bytes of a destination's name */

/* What a cursor is a position of (stream.h). */
enum stream_id {
	STREAM_OF_EVENTS,
	STREAM_OF_PROFILES,
	STREAM_OF_CHANGES,
	STREAM_OF_SNAPSHOT, /* everybody, before profiles */
	STREAM_OF_NOTICES,  /* withdrawals, for who is told of them by neither profiles nor changes */
	STREAM_COUNT
}; /* numbers are stored */

struct cursor_row {
	uint64_t next_seq; /* to hand over */
	uint64_t delivered, dropped, retries, expired_records;
	int64_t last_success_us; /* 0: never */
	uint64_t denied;         /* left out because the person does not consent */
	uint64_t filtered;       /* left out because its selection does not want them */
	uint64_t unmapped;       /* dead letters because its mapping cannot be filled */
	uint64_t letters_lost;   /* dead letters that had to make room, or whose record was trimmed */
	uint32_t owes_repair;    /* of the snapshot: 1: something was missed, and the repair of it is to begin */
	uint32_t repairs;        /* … how many were begun */
};

struct cursors;

/* Opens or creates `store_path`/delivery and binds it to the journal's epoch. ERR_FOREIGN: of another journal; ERR_CORRUPT: a cursor lies
 * beyond `journal_next`; both logged with what to do. ERR_FORMAT: from a newer cdpd. */
MUST_USE int cursors_open(struct str store_path, uint64_t epoch, uint64_t journal_next, struct cursors **out);
void cursors_close(struct cursors *cursors);
/* For other tables of the same environment (subscription.h): a write transaction, the only one while it is open. */
MUST_USE int cursors_begin(struct cursors *cursors, struct store_txn **txn);
MUST_USE int cursors_commit(struct cursors *cursors, struct store_txn *txn);
void cursors_abort(struct cursors *cursors, struct store_txn *txn);
struct store_env *cursors_env(const struct cursors *cursors);
store_db cursors_letters(const struct cursors *cursors);
store_db cursors_parked(const struct cursors *cursors);
store_db cursors_orders(const struct cursors *cursors);
store_db cursors_subscriptions(const struct cursors *cursors);
store_db cursors_notices(const struct cursors *cursors);
/* Writes the environment anew without what was deleted. ERR_CLOSED when *stop becomes true; ERR_FULL. Any thread. */
MUST_USE int cursors_compact(struct cursors *cursors, const _Atomic bool *stop);
/* A row is a destination's in one stream; those of events are as they were before there were others. */
MUST_USE int cursors_get(struct cursors *cursors, struct str name, enum stream_id stream,
			 struct cursor_row *out); /* ERR_NOT_FOUND */
/* Durable when it returns OK. ERR_PANIC: nothing can be made durable any more. */
MUST_USE int cursors_put(struct cursors *cursors, struct str name, enum stream_id stream, const struct cursor_row *row);
/* In a transaction of cursors_begin; errors are told by the commit. */
void cursors_write(struct cursors *cursors, struct store_txn *txn, struct str name, enum stream_id stream,
		   const struct cursor_row *row);
