#include "journal/rewrite.h"

#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "journal/state.h"

#define COMMIT_BYTES ((uint64_t)16 << 20)
#define SLACK_BYTES  ((uint64_t)64 << 20) /* of address space: the copy may lie less densely */
#define PAUSE_NS     5000000
#define SEAL_TRIES   2000

static bool is_stopped(const atomic_bool *stop)
{
	return stop && atomic_load(stop);
}

/* ── sealing ─────────────────────────────────────────────────────────────── */

int journal_seal(struct journal *journal, uint64_t seq, const atomic_bool *stop)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	uint64_t first, end;
	bool is_sealed = false;
	CHECK(seq < journal_next_seq(journal));
	for (int i = 0; i < SEAL_TRIES; i++) {
		int rc = segment_set_range(&journal->segments, seq, &first, &end, &is_sealed);
		if (rc != OK || is_sealed) return rc == ERR_GONE ? OK : rc;
		if (is_stopped(stop) || atomic_load(&journal->is_closed)) return ERR_CLOSED;
		if (atomic_load(&journal->has_panicked)) return ERR_PANIC;
		atomic_store(&journal->seal_upto, seq);
		queue_poke(&journal->queue);
		(void)nanosleep(&pause, NULL);
	}
	return ERR_TIMEOUT;
}

int journal_segment(struct journal *journal, uint64_t seq, uint64_t *first, uint64_t *end)
{
	bool is_sealed;
	return segment_set_range(&journal->segments, seq, first, end, &is_sealed);
}

bool journal_rewritten_are_gone(struct journal *journal)
{
	segment_set_remove_trimmed(&journal->segments);
	pthread_mutex_lock(&journal->segments.lock);
	bool are_gone = journal->segments.trimmed_count == 0;
	pthread_mutex_unlock(&journal->segments.lock);
	return are_gone;
}

/* ── copying ─────────────────────────────────────────────────────────────── */

struct copy {
	struct segment *from, *to;
	struct store_txn *in, *out;
	uint64_t bytes; /* put since the last commit */
	const struct journal_rewriter *rewriter;
};

static int next_commit(struct copy *copy, size_t bytes)
{
	copy->bytes += bytes;
	if (copy->bytes < COMMIT_BYTES) return OK;
	int rc = store_commit(copy->out);
	copy->out = NULL;
	copy->bytes = 0;
	if (rc == OK && is_stopped(copy->rewriter->stop)) rc = ERR_CLOSED;
	return rc;
}

static int begin_out(struct copy *copy)
{
	return copy->out ? OK : store_begin(copy->to->env, true, &copy->out);
}

static int put_replaced(struct copy *copy, struct str key, const struct record *record,
			const struct journal_replacement *replacement)
{
	void *room;
	struct str payload = replacement->payload;
	enum record_kind kind = record->kind == RECORD_ERASED_EVENT ? RECORD_EVENT : record->kind;
	int rc = store_reserve(copy->out, copy->to->records, key, RECORD_HEADER_SIZE + payload.len, true, &room);
	if (rc != OK) return rc;
	record_header_write(room, kind, replacement->flags, record->t, payload);
	if (payload.len) memcpy((char *)room + RECORD_HEADER_SIZE, payload.ptr, payload.len);
	return OK;
}

static int copy_record(struct copy *copy, struct str key, struct str value)
{
	uint64_t seq;
	struct record record;
	struct journal_replacement replacement = {.is_replaced = false};
	if (key.len != sizeof seq) return ERR_CORRUPT;
	memcpy(&seq, key.ptr, sizeof seq);
	int rc = record_read(value, seq, &record);
	if (rc == OK) rc = copy->rewriter->record(copy->rewriter->ctx, &record, &replacement);
	if (rc == OK) rc = begin_out(copy);
	if (rc == OK && replacement.is_replaced)
		rc = put_replaced(copy, key, &record, &replacement);
	else if (rc == OK)
		rc = store_append(copy->out, copy->to->records, key, value);
	return rc == OK ? next_commit(copy, key.len + value.len) : rc;
}

static int copy_reject(struct copy *copy, struct str key, struct str value)
{
	struct journal_reject_row row;
	bool goes = false;
	int rc = rejects_read(key, value, &row);
	if (rc == OK) rc = copy->rewriter->reject(copy->rewriter->ctx, &row, &goes);
	if (rc != OK || goes) return rc;
	rc = begin_out(copy);
	if (rc == OK) rc = store_append(copy->out, copy->to->rejects, key, value);
	return rc == OK ? next_commit(copy, key.len + value.len) : rc;
}

static int copy_meta(struct copy *copy, struct str key, struct str value)
{
	int rc = begin_out(copy);
	return rc == OK ? store_append(copy->out, copy->to->meta, key, value) : rc;
}

static int each(struct copy *copy, store_db db, int (*fn)(struct copy *copy, struct str key, struct str value))
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	int rc = store_cursor_open(copy->in, db, &cursor);
	if (rc != OK) return rc;
	rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
	while (rc == OK) {
		rc = fn(copy, key, value);
		if (rc == OK) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* The source is sealed: nobody writes to it, so a long snapshot holds nothing up. */
static int copy_all(struct copy *copy)
{
	int rc = store_begin(copy->from->env, false, &copy->in);
	if (rc != OK) return rc;
	rc = each(copy, copy->from->records, copy_record);
	if (rc == OK) rc = each(copy, copy->from->rejects, copy_reject);
	if (rc == OK) rc = each(copy, copy->from->meta, copy_meta);
	store_abort(copy->in);
	if (copy->out && rc != OK) store_abort(copy->out);
	if (copy->out && rc == OK) rc = store_commit(copy->out);
	return rc;
}

/* A copy must not take the room that appends need. */
static bool has_room(struct journal *journal, const struct segment *from)
{
	uint64_t room;
	struct conf_journal conf;
	journal_conf(journal, &conf);
	return store_free_bytes(journal->dir, &room) == OK && room > conf.disk_free_min + store_used_bytes(from->env);
}

static int write_copy(struct journal *journal, struct segment *from, struct segment *to,
		      const struct journal_rewriter *rewriter)
{
	struct journal_meta meta;
	struct copy copy = {.from = from, .to = to, .rewriter = rewriter};
	int rc = segment_open_copy(to, 2 * store_used_bytes(from->env) + SLACK_BYTES);
	if (rc == OK) rc = copy_all(&copy);
	segment_close(to);
	if (rc == OK) rc = store_fsync_dir(to->path);
	/* Nothing takes the place of a segment unless it proves to be whole. */
	if (rc == OK) rc = segment_open(to, SLACK_BYTES, true, journal->segments.epoch, &meta);
	segment_close(to);
	return rc;
}

int journal_rewrite(struct journal *journal, uint64_t first, const struct journal_rewriter *rewriter)
{
	struct segment *from;
	struct segment *to = segment_new(journal->dir, first);
	char *path = segment_rewrite_path(journal->dir);
	if (!to || !path) {
		segment_free(to);
		free(path);
		return ERR_NOMEM;
	}
	free(to->path);
	to->path = path;
	int rc = segment_acquire(&journal->segments, first, &from);
	if (rc == OK) {
		if (from->first_seq != first) rc = ERR_GONE;
		if (rc == OK && !has_room(journal, from)) rc = ERR_FULL;
		if (rc == OK) rc = write_copy(journal, from, to, rewriter);
		if (rc == OK) rc = segment_set_exchange(&journal->segments, from, path);
		segment_release(&journal->segments, from);
	}
	if (rc == OK) {
		segment_set_remove_trimmed(&journal->segments);
	} else if (rc != ERR_PANIC && store_remove_env(path) != OK) {
		log_warn(LOG_JOURNAL, "%s could not be deleted", path);
	}
	segment_free(to);
	return rc;
}
