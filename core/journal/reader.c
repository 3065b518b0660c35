#include <stdlib.h>

#include "journal/state.h"

#define ARENA_BLOCK ((size_t)256 * 1024)

void journal_batch_init(struct journal_batch *batch)
{
	*batch = (struct journal_batch){0};
	arena_init(&batch->arena, ARENA_BLOCK, 0);
}

void journal_batch_fini(struct journal_batch *batch)
{
	free(batch->records);
	arena_fini(&batch->arena);
	*batch = (struct journal_batch){0};
}

static int reserve(struct journal_batch *batch)
{
	if (batch->count < batch->capacity) return OK;
	size_t capacity = batch->capacity ? 2 * batch->capacity : 256;
	struct record *records = realloc(batch->records, capacity * sizeof *records);
	if (!records) return ERR_NOMEM;
	batch->records = records;
	batch->capacity = capacity;
	return OK;
}

/* Values lie in pages that are the next writer's after this transaction: everything is copied. */
static int copy_record(struct arena *arena, uint64_t seq, struct str value, struct record *out)
{
	char *bytes = arena_alloc(arena, value.len + 1);
	if (!bytes) return ERR_NOMEM;
	memcpy(bytes, value.ptr, value.len);
	bytes[value.len] = '\0';
	return record_read(str_of(bytes, value.len), seq, out);
}

struct wanted {
	uint64_t seq, end; /* the next one; not beyond */
	size_t max_count, max_bytes;
};

static int take(struct journal_batch *batch, struct wanted *wanted, struct str key, struct str value)
{
	uint64_t seq;
	if (key.len != sizeof seq) return ERR_CORRUPT;
	memcpy(&seq, key.ptr, sizeof seq);
	if (seq != wanted->seq) return ERR_CORRUPT;
	int rc = reserve(batch);
	if (rc == OK) rc = copy_record(&batch->arena, seq, value, &batch->records[batch->count]);
	if (rc != OK) return rc;
	batch->count++;
	wanted->seq++;
	wanted->max_count--;
	wanted->max_bytes -= value.len < wanted->max_bytes ? value.len : wanted->max_bytes;
	return OK;
}

static bool is_satisfied(const struct wanted *wanted)
{
	return wanted->seq >= wanted->end || wanted->max_count == 0 || wanted->max_bytes == 0;
}

static int walk(struct store_cursor *cursor, struct journal_batch *batch, struct wanted *wanted)
{
	uint64_t from = wanted->seq;
	struct str key = store_key64(&from), value;
	int rc = store_cursor_move(cursor, STORE_AT, &key, &value);
	if (rc == ERR_NOT_FOUND) return ERR_CORRUPT; /* it is below next_seq and in this segment */
	while (rc == OK) {
		rc = take(batch, wanted, key, value);
		if (rc != OK || is_satisfied(wanted)) return rc;
		rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	return rc == ERR_NOT_FOUND ? OK : rc; /* on to the next segment */
}

static int read_segment(struct segment *segment, struct journal_batch *batch, struct wanted *wanted)
{
	struct store_txn *txn;
	struct store_cursor *cursor;
	int rc = store_begin(segment->env, false, &txn);
	if (rc != OK) return rc;
	rc = store_cursor_open(txn, segment->records, &cursor);
	if (rc == OK) {
		rc = walk(cursor, batch, wanted);
		store_cursor_close(cursor);
	}
	store_abort(txn);
	return rc;
}

int journal_read(struct journal *journal, uint64_t seq, size_t max_count, size_t max_bytes, struct journal_batch *batch)
{
	struct wanted wanted = {seq, journal_next_seq(journal), max_count, max_bytes ? max_bytes : 1};
	batch->count = 0;
	arena_reset(&batch->arena);
	if (seq < journal_first_seq(journal)) return ERR_GONE;
	if (seq >= wanted.end || max_count == 0) return ERR_AGAIN;
	int rc = OK;
	while (rc == OK && !is_satisfied(&wanted)) {
		struct segment *segment;
		rc = segment_acquire(&journal->segments, wanted.seq, &segment);
		if (rc != OK) break;
		rc = read_segment(segment, batch, &wanted);
		segment_release(&journal->segments, segment);
	}
	/* What came before a bad record is good; the next call starts at the bad one. */
	return batch->count > 0 ? OK : rc;
}

int journal_get(struct journal *journal, uint64_t seq, struct arena *arena, struct record *out)
{
	if (seq < journal_first_seq(journal)) return ERR_GONE;
	if (seq >= journal_next_seq(journal)) return ERR_NOT_FOUND;
	struct segment *segment;
	struct store_txn *txn;
	struct str value;
	int rc = segment_acquire(&journal->segments, seq, &segment);
	if (rc != OK) return rc;
	rc = store_begin(segment->env, false, &txn);
	if (rc == OK) {
		rc = store_get(txn, segment->records, store_key64(&seq), &value);
		if (rc == ERR_NOT_FOUND) rc = ERR_CORRUPT;
		if (rc == OK) rc = copy_record(arena, seq, value, out);
		store_abort(txn);
	}
	segment_release(&journal->segments, segment);
	return rc;
}

int journal_wait(struct journal *journal, uint64_t seq, int timeout_ms)
{
	int64_t end = clock_mono_us() + timeout_ms * US_PER_MS;
	struct timespec deadline = {end / US_PER_SECOND, end % US_PER_SECOND * 1000};
	pthread_mutex_lock(&journal->lock);
	uint64_t wakes = journal->wakes;
	int rc = OK;
	journal->waiters++;
	while (journal_next_seq(journal) <= seq && rc == OK) {
		if (atomic_load(&journal->is_closed))
			rc = ERR_CLOSED;
		else if (journal->wakes != wakes ||
			 pthread_cond_timedwait(&journal->appended, &journal->lock, &deadline) != 0)
			rc = ERR_TIMEOUT;
	}
	journal->waiters--;
	/* The last look wins: what arrived with the time-out is there all the same. */
	if (journal_next_seq(journal) > seq) rc = OK;
	pthread_mutex_unlock(&journal->lock);
	return rc;
}

void journal_wake(struct journal *journal)
{
	pthread_mutex_lock(&journal->lock);
	journal->wakes++;
	pthread_cond_broadcast(&journal->appended);
	pthread_mutex_unlock(&journal->lock);
}
