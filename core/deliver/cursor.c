#include "deliver/cursor.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/log.h"

/* A row: format u8, owes_repair u8, 2 zero bytes, repairs u32, then next_seq, delivered, dropped, retries, expired_records,
 * last_success_us, big endian; with format 2, which only rows that need it have, denied too; with format 3 also filtered, unmapped,
 * letters_lost. */
#define ROW_SIZE        88
#define ROW_SIZE_DENIED 64
#define ROW_SIZE_PLAIN  56
#define ROW_WITH_DENIED 2
#define ROW_WHOLE       3

struct cursors {
	struct store_env *env;
	store_db meta, rows, letters, parked, orders, subscriptions, notices;
	pthread_mutex_t lock; /* one writer at a time */
};

static size_t size_of(uint8_t format)
{
	return format == ROW_WHOLE ? ROW_SIZE : format == ROW_WITH_DENIED ? ROW_SIZE_DENIED : ROW_SIZE_PLAIN;
}

static struct str encode(const struct cursor_row *row, uint8_t out[ROW_SIZE])
{
	bool is_whole = row->filtered || row->unmapped || row->letters_lost;
	memset(out, 0, ROW_SIZE);
	out[0] = is_whole ? ROW_WHOLE : row->denied ? ROW_WITH_DENIED : CURSOR_FORMAT;
	out[1] = row->owes_repair != 0;
	put_be32(out + 4, row->repairs);
	put_be64(out + 8, row->next_seq);
	put_be64(out + 16, row->delivered);
	put_be64(out + 24, row->dropped);
	put_be64(out + 32, row->retries);
	put_be64(out + 40, row->expired_records);
	put_be64(out + 48, (uint64_t)row->last_success_us);
	put_be64(out + 56, row->denied);
	put_be64(out + 64, row->filtered);
	put_be64(out + 72, row->unmapped);
	put_be64(out + 80, row->letters_lost);
	return str_of(out, size_of(out[0]));
}

static int decode(struct str bytes, struct cursor_row *out)
{
	const uint8_t *p = (const uint8_t *)bytes.ptr;
	if (bytes.len < ROW_SIZE_PLAIN) return ERR_CORRUPT;
	if (p[0] < CURSOR_FORMAT || p[0] > ROW_WHOLE) return ERR_FORMAT;
	if (bytes.len != size_of(p[0])) return ERR_CORRUPT;
	*out = (struct cursor_row){
	    .owes_repair = p[1],
	    .repairs = get_be32(p + 4),
	    .next_seq = get_be64(p + 8),
	    .delivered = get_be64(p + 16),
	    .dropped = get_be64(p + 24),
	    .retries = get_be64(p + 32),
	    .expired_records = get_be64(p + 40),
	    .last_success_us = (int64_t)get_be64(p + 48),
	    .denied = p[0] >= ROW_WITH_DENIED ? get_be64(p + 56) : 0,
	};
	if (p[0] < ROW_WHOLE) return OK;
	out->filtered = get_be64(p + 64);
	out->unmapped = get_be64(p + 72);
	out->letters_lost = get_be64(p + 80);
	return OK;
}

/* ── opening ─────────────────────────────────────────────────────────────── */

static int bind_epoch(struct store_txn *txn, store_db meta, uint64_t epoch, const char *path)
{
	uint8_t bytes[8];
	struct str stored;
	int rc = store_get(txn, meta, STR("epoch"), &stored);
	if (rc == ERR_NOT_FOUND) {
		put_be64(bytes, epoch);
		return store_put(txn, meta, STR("epoch"), str_of(bytes, sizeof bytes));
	}
	if (rc) return rc;
	if (stored.len != sizeof bytes) return ERR_CORRUPT;
	if (get_be64((const uint8_t *)stored.ptr) == epoch) return OK;
	log_error(LOG_DELIVER,
		  "%s belongs to another journal (epoch %016llx, the journal has %016llx): restore both from one "
		  "backup, or move it "
		  "away to start every destination at the oldest record",
		  path, (unsigned long long)get_be64((const uint8_t *)stored.ptr), (unsigned long long)epoch);
	return ERR_FOREIGN;
}

static bool is_of_other_stream(struct str key)
{
	return memchr(key.ptr, 0, key.len) != NULL;
}

static int check_row(struct str name, struct str bytes, uint64_t journal_next, const char *path)
{
	struct cursor_row row;
	int rc = decode(bytes, &row);
	if (is_of_other_stream(name)) journal_next = UINT64_MAX; /* it counts something else */
	if (rc) {
		log_error(LOG_DELIVER, "%s: the cursor of destination '%.*s' cannot be read (%s)", path, STR_ARG(name),
			  status_str(rc));
		return rc;
	}
	if (row.next_seq <= journal_next) return OK;
	log_error(LOG_DELIVER,
		  "%s: the cursor of destination '%.*s' is ahead of the journal (%llu, the journal ends at %llu): the "
		  "journal lost "
		  "records or is another one",
		  path, STR_ARG(name), (unsigned long long)row.next_seq, (unsigned long long)journal_next);
	return ERR_CORRUPT;
}

static int check_rows(struct store_txn *txn, store_db rows, uint64_t journal_next, const char *path)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	int rc = store_cursor_open(txn, rows, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
	while (rc == OK) {
		rc = check_row(key, value, journal_next, path);
		if (rc == OK) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int verify(struct cursors *cursors, uint64_t epoch, uint64_t journal_next)
{
	struct store_txn *txn;
	const char *path = store_path(cursors->env);
	int rc = store_begin(cursors->env, true, &txn);
	if (rc) return rc;
	rc = bind_epoch(txn, cursors->meta, epoch, path);
	if (rc == OK) rc = check_rows(txn, cursors->rows, journal_next, path);
	if (rc == OK) return store_commit(txn);
	store_abort(txn);
	return rc;
}

static int compact_path(const char *env_path, char *out, size_t size)
{
	int len = snprintf(out, size, "%s.compact", env_path);
	return len < 0 || (size_t)len >= size ? ERR_INVALID : OK;
}

static int remove_leftover(const char *env_path)
{
	char path[PATH_MAX];
	int rc = compact_path(env_path, path, sizeof path);
	return rc ? rc : store_remove_env(path);
}

int cursors_open(struct str store_path_, uint64_t epoch, uint64_t journal_next, struct cursors **out)
{
	static const struct store_options options = {
	    .map_bytes = (uint64_t)1 << 30, .max_dbs = 16, .format = CURSOR_FORMAT};
	struct arena arena;
	struct str path;
	*out = NULL;
	struct cursors *cursors = calloc(1, sizeof *cursors);
	if (!cursors) return ERR_NOMEM;
	CHECK(pthread_mutex_init(&cursors->lock, NULL) == 0);
	arena_init(&arena, 4096, 0);
	int rc = arena_printf(&arena, &path, "%.*s/delivery", STR_ARG(store_path_));
	if (rc == OK) rc = remove_leftover(path.ptr);
	if (rc == OK) rc = store_open(path.ptr, &options, &cursors->env);
	if (rc)
		log_error(LOG_DELIVER, "the delivery environment in %.*s cannot be opened (%s)", STR_ARG(store_path_),
			  status_str(rc));
	arena_fini(&arena);
	if (rc == OK) rc = store_db_open(cursors->env, "meta", 0, &cursors->meta);
	if (rc == OK) rc = store_db_open(cursors->env, "cursors", 0, &cursors->rows);
	if (rc == OK) rc = store_db_open(cursors->env, "letters", 0, &cursors->letters);
	if (rc == OK) rc = store_db_open(cursors->env, "parked", 0, &cursors->parked);
	if (rc == OK) rc = store_db_open(cursors->env, "orders", 0, &cursors->orders);
	if (rc == OK) rc = store_db_open(cursors->env, "subscriptions", 0, &cursors->subscriptions);
	if (rc == OK) rc = store_db_open(cursors->env, "notices", 0, &cursors->notices);
	if (rc == OK) rc = verify(cursors, epoch, journal_next);
	if (rc) {
		cursors_close(cursors);
		return rc;
	}
	*out = cursors;
	return OK;
}

void cursors_close(struct cursors *cursors)
{
	if (!cursors) return;
	if (cursors->env) store_close(cursors->env);
	pthread_mutex_destroy(&cursors->lock);
	free(cursors);
}

/* ── rows ────────────────────────────────────────────────────────────────── */

/* The name; of streams other than events with NUL and the stream's number behind it. */
static struct str key_of(struct str name, enum stream_id stream, char out[CURSOR_NAME_MAX + 2])
{
	CHECK(name.len <= CURSOR_NAME_MAX && stream < STREAM_COUNT);
	memcpy(out, name.ptr, name.len);
	out[name.len] = '\0';
	out[name.len + 1] = (char)stream;
	return str_of(out, stream ? name.len + 2 : name.len);
}

int cursors_get(struct cursors *cursors, struct str name, enum stream_id stream, struct cursor_row *out)
{
	struct store_txn *txn;
	struct str bytes;
	char key[CURSOR_NAME_MAX + 2];
	int rc = store_begin(cursors->env, false, &txn);
	if (rc) return rc;
	rc = store_get(txn, cursors->rows, key_of(name, stream, key), &bytes);
	if (rc == OK) rc = decode(bytes, out);
	store_abort(txn);
	return rc;
}

void cursors_write(struct cursors *cursors, struct store_txn *txn, struct str name, enum stream_id stream,
		   const struct cursor_row *row)
{
	uint8_t bytes[ROW_SIZE];
	char key[CURSOR_NAME_MAX + 2];
	(void)!store_put(txn, cursors->rows, key_of(name, stream, key), encode(row, bytes)); /* sticky: commit tells */
}

int cursors_put(struct cursors *cursors, struct str name, enum stream_id stream, const struct cursor_row *row)
{
	struct store_txn *txn;
	int rc = cursors_begin(cursors, &txn);
	if (rc) return rc;
	cursors_write(cursors, txn, name, stream, row);
	return cursors_commit(cursors, txn);
}

int cursors_begin(struct cursors *cursors, struct store_txn **txn)
{
	pthread_mutex_lock(&cursors->lock);
	int rc = store_begin(cursors->env, true, txn);
	if (rc) pthread_mutex_unlock(&cursors->lock);
	return rc;
}

int cursors_commit(struct cursors *cursors, struct store_txn *txn)
{
	int rc = store_commit(txn);
	pthread_mutex_unlock(&cursors->lock);
	return rc;
}

void cursors_abort(struct cursors *cursors, struct store_txn *txn)
{
	store_abort(txn);
	pthread_mutex_unlock(&cursors->lock);
}

struct store_env *cursors_env(const struct cursors *cursors)
{
	return cursors->env;
}

store_db cursors_letters(const struct cursors *cursors)
{
	return cursors->letters;
}

store_db cursors_parked(const struct cursors *cursors)
{
	return cursors->parked;
}

store_db cursors_orders(const struct cursors *cursors)
{
	return cursors->orders;
}

/* ── compaction ──────────────────────────────────────────────────────────── */

int cursors_compact(struct cursors *cursors, const _Atomic bool *stop)
{
	char path[PATH_MAX];
	int rc = compact_path(store_path(cursors->env), path, sizeof path);
	if (rc) return rc;
	pthread_mutex_lock(&cursors->lock);
	rc = store_remove_env(path);
	if (rc == OK) rc = store_copy(cursors->env, path, stop);
	if (rc == OK) rc = store_swap_in(cursors->env, path);
	if (rc != OK && rc != ERR_PANIC) (void)!store_remove_env(path);
	pthread_mutex_unlock(&cursors->lock);
	return rc;
}

store_db cursors_subscriptions(const struct cursors *cursors)
{
	return cursors->subscriptions;
}

store_db cursors_notices(const struct cursors *cursors)
{
	return cursors->notices;
}
