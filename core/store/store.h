/* store: the only room that knows LMDB. An env is a directory with one LMDB environment, opened with
 * the rules of docs/architecture.md, "LMDB" (NOTLS, NORDAHEAD, default sync, map sized once).
 *
 * One writer thread per env; readers never wait. Values returned by reads are borrowed until the
 * transaction ends and are never handed further uncopied. A write transaction's error is sticky: after the first
 * failure every call returns it and store_commit aborts, so callers check once. */
#pragma once

#include "base/arena.h"

struct store_env;
struct store_txn;
struct store_cursor;
typedef uint32_t store_db; /* a named database inside an env */

struct store_options {
	uint64_t map_bytes; /* address space: fixed for the life of the env */
	uint32_t max_dbs;
	uint32_t max_readers; /* 0: 1024 */
	bool read_only;
	uint32_t format; /* of everything inside; kept in the env, checked at open: newer → ERR_FORMAT */
	uint64_t
	    ahead_bytes; /* write the file ahead of its use, by at most that much; 0: do not. For envs that only grow */
	bool
	    is_scratch; /* nothing is fsynced: what it holds is made anew after a crash, its folder is removed before */
};

/* Creates the directory (0700) and the env when missing and fsyncs the parent directory. ERR_LOCKED when this
 * process has it open already (other processes: store_lock); ERR_NOT_FOUND (read_only), ERR_CORRUPT, ERR_IO. */
MUST_USE int store_open(const char *path, const struct store_options *options, struct store_env **out);
void store_close(struct store_env *env);
const char *store_path(const struct store_env *env);

enum store_db_flag { STORE_DB_INTEGER_KEY = 1 /* uint64_t keys in native order; appends in order are cheap */ };
/* Opens or (writable env) creates. Call at open time only, before other threads use the env. */
MUST_USE int store_db_open(struct store_env *env, const char *name, unsigned flags, store_db *out);

MUST_USE int store_begin(struct store_env *env, bool writable, struct store_txn **out);
/* Durable when it returns OK (fsynced). ERR_FULL (disk or map full: nothing was changed), ERR_PANIC (fsync
 * or meta write failed: the outcome is unknown; the process must exit), ERR_IO. The txn is gone either way. */
MUST_USE int store_commit(struct store_txn *txn);
/* Cursors are closed before the end of their transaction, whichever way it ends. */
void store_abort(struct store_txn *txn); /* also ends read transactions; NULL is fine */
/* Read transactions: give the snapshot back but keep the slot; renew takes the newest snapshot. */
void store_reset(struct store_txn *txn);
MUST_USE int store_renew(struct store_txn *txn);
size_t store_dirty_pages(
    const struct store_txn *txn); /* pages this write transaction has put so far, an estimate from above */

MUST_USE int store_get(struct store_txn *txn, store_db db, struct str key, struct str *value); /* ERR_NOT_FOUND */
MUST_USE int store_put(struct store_txn *txn, store_db db, struct str key, struct str value);
MUST_USE int store_append(struct store_txn *txn, store_db db, struct str key,
			  struct str value); /* key above all others */
/* Room of `len` bytes to be filled before the next call on this txn. */
MUST_USE int store_reserve(struct store_txn *txn, store_db db, struct str key, size_t len, bool append, void **out);
MUST_USE int store_del(struct store_txn *txn, store_db db, struct str key); /* ERR_NOT_FOUND is not sticky */
MUST_USE int store_count(struct store_txn *txn, store_db db, uint64_t *out);

MUST_USE int store_cursor_open(struct store_txn *txn, store_db db, struct store_cursor **out);
void store_cursor_close(struct store_cursor *cursor);
enum store_move {
	STORE_FIRST,
	STORE_LAST,
	STORE_NEXT,
	STORE_PREV,
	STORE_AT_OR_AFTER /* uses *key */,
	STORE_AT /* exact */
};
MUST_USE int store_cursor_move(struct store_cursor *cursor, enum store_move move, struct str *key,
			       struct str *value);          /* ERR_NOT_FOUND at the end */
MUST_USE int store_cursor_del(struct store_cursor *cursor); /* the entry it stands on */

static inline struct str store_key64(const uint64_t *seq)
{
	return (struct str){(const char *)seq, sizeof *seq};
}

uint64_t store_used_bytes(const struct store_env *env); /* of the data file */
/* Transactions that the oldest reader is behind the newest: the gauge against long readers. */
uint64_t store_reader_lag(const struct store_env *env);

/* Writes everything of `env` into a new env at `path`, entry by entry: what was deleted or overwritten is in no page of it.
 * Reads one snapshot, so nobody should write meanwhile. ERR_FULL; ERR_CLOSED when *stop becomes true; ERR_FORMAT: `env` has a database
 * that this version did not open. What is at `path` afterwards counts only with OK. */
MUST_USE int store_copy(struct store_env *env, const char *path, const _Atomic bool *stop);
/* Puts the env at `path` (closed, made by store_copy) in the place of `env`'s content and removes `path`. Waits for read transactions
 * under way and holds new ones up for the moment it takes; `env`, its databases and its read transactions' slots stay
 * valid. Whoever holds a snapshot of `env` must give it back before taking another one. From the writer's thread, outside a transaction. ERR_BUSY: somebody kept a snapshot for
 * seconds; ERR_IO: nothing was changed; ERR_PANIC: the process must exit. */
MUST_USE int store_swap_in(struct store_env *env, const char *path);

/* Own advisory lock on a data directory: ERR_LOCKED when another process has it. Also refuses network file systems
 * (ERR_REFUSED). Held until the process ends or store_unlock. */
MUST_USE int store_lock(const char *path, int *fd);
void store_unlock(int fd);
MUST_USE int store_fsync_dir(const char *path); /* ERR_REFUSED: it may not be read by us */
/* Bytes the file system under `path` still gives to us. */
MUST_USE int store_free_bytes(const char *path, uint64_t *out);
MUST_USE int store_remove_env(
    const char *path); /* deletes an env's directory, fsyncs the parent; OK when there is none */
/* Makes a directory (0700) when missing and fsyncs its parent in any case. */
MUST_USE int store_make_dir(const char *path);
/* Renames a directory whose env is closed and fsyncs the new parent: the way to make an env appear whole. */
MUST_USE int store_rename(const char *from, const char *to);
/* Size of the data file of an env that need not be open. ERR_NOT_FOUND: no env there. */
MUST_USE int store_path_bytes(const char *path, uint64_t *out);
