/* Putting other content into an env that is in use. LMDB never gives bytes back and never clears them; a copy of what lives,
 * put in its place, does both. Whoever reads counts as inside; a swap waits until nobody is, and nobody gets in until it is
 * done. The slots of read transactions outlive it: they are made anew over the new content. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "store/internal.h"

#define COPY_BYTES ((uint64_t)32 << 20) /* of one transaction */
#define PAUSE_NS   500000
#define WAIT_TRIES 4000 /* two seconds */
#define PATH_BYTES 4096

/* ── who is inside ───────────────────────────────────────────────────────── */

void swap_enter(struct store_env *env)
{
	for (;;) {
		atomic_fetch_add(&env->inside, 1);
		if (!atomic_load(&env->is_swapping)) return;
		atomic_fetch_sub(&env->inside, 1);
		pthread_mutex_lock(&env->lock);
		while (atomic_load(&env->is_swapping)) pthread_cond_wait(&env->reopened, &env->lock);
		pthread_mutex_unlock(&env->lock);
	}
}

void swap_leave(struct store_env *env)
{
	atomic_fetch_sub(&env->inside, 1);
}

void swap_add_reader(struct store_txn *txn)
{
	struct store_env *env = txn->env;
	pthread_mutex_lock(&env->lock);
	txn->next_reader = env->readers;
	txn->link = &env->readers;
	if (env->readers) env->readers->link = &txn->next_reader;
	env->readers = txn;
	pthread_mutex_unlock(&env->lock);
}

void swap_remove_reader(struct store_txn *txn)
{
	struct store_env *env = txn->env;
	pthread_mutex_lock(&env->lock);
	*txn->link = txn->next_reader;
	if (txn->next_reader) txn->next_reader->link = txn->link;
	if (txn->mdb) mdb_txn_abort(txn->mdb);
	txn->mdb = NULL;
	pthread_mutex_unlock(&env->lock);
}

/* Snapshots are short; who keeps one for long must not hold up everybody who waits for the swap. */
static bool wait_until_empty(struct store_env *env)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	for (int i = 0; i < WAIT_TRIES && atomic_load(&env->inside) > 0; i++) (void)nanosleep(&pause, NULL);
	return atomic_load(&env->inside) == 0;
}

static void let_in(struct store_env *env)
{
	pthread_mutex_lock(&env->lock);
	atomic_store(&env->is_swapping, false);
	pthread_cond_broadcast(&env->reopened);
	pthread_mutex_unlock(&env->lock);
}

/* ── exchanging ──────────────────────────────────────────────────────────── */

static int move_data(const struct store_env *env, const char *path)
{
	char from[PATH_BYTES], to[PATH_BYTES];
	if ((size_t)snprintf(from, sizeof from, "%s/data.mdb", path) >= sizeof from) return ERR_TOO_LARGE;
	if ((size_t)snprintf(to, sizeof to, "%s/data.mdb", env->path) >= sizeof to) return ERR_TOO_LARGE;
	if (rename(from, to) != 0) return ERR_IO;
	/* Either file is whole and holds the same: which one a power cut leaves does not matter before this. */
	return store_fsync_dir(env->path) == OK ? OK : ERR_PANIC;
}

static int reopen_dbs(struct store_env *env)
{
	for (size_t i = 0; i < env->db_count; i++) {
		MDB_txn *txn;
		MDB_dbi handle;
		int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
		if (rc != 0) return store_translate(rc);
		rc = mdb_dbi_open(txn, env->dbs[i].name, env->dbs[i].flags, &handle);
		if (rc != 0) {
			mdb_txn_abort(txn);
			return store_translate(rc);
		}
		(void)mdb_txn_commit(txn);
		if (handle != env->dbs[i].handle) return ERR_CORRUPT; /* opened in the same order: cannot be */
	}
	return OK;
}

static int renew_readers(struct store_env *env)
{
	for (struct store_txn *it = env->readers; it; it = it->next_reader) {
		int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &it->mdb);
		if (rc != 0) {
			it->mdb = NULL;
			return store_translate(rc);
		}
		mdb_txn_reset(it->mdb);
	}
	return OK;
}

/* Under the lock, with nobody inside. */
static int exchange(struct store_env *env, const char *path)
{
	for (struct store_txn *it = env->readers; it; it = it->next_reader) {
		mdb_txn_abort(it->mdb);
		it->mdb = NULL;
	}
	mdb_env_close(env->mdb);
	env->mdb = NULL;
	int moved = move_data(env, path);
	int rc = moved == ERR_PANIC ? ERR_PANIC : env_open_mdb(env);
	if (rc == OK) rc = reopen_dbs(env);
	if (rc == OK) rc = renew_readers(env);
	if (rc == OK) return moved;
	log_error(LOG_STORE, "%s cannot be opened after its content was exchanged (%s)", env->path, status_str(rc));
	atomic_store(&env->has_panicked, true);
	return ERR_PANIC;
}

int store_swap_in(struct store_env *env, const char *path)
{
	CHECK(!env->writer.mdb && !env->is_read_only && !env->ahead);
	atomic_store(&env->is_swapping, true);
	if (!wait_until_empty(env)) {
		let_in(env);
		return ERR_BUSY;
	}
	pthread_mutex_lock(&env->lock);
	int rc = exchange(env, path);
	pthread_mutex_unlock(&env->lock);
	if (rc != ERR_PANIC) let_in(env);
	return rc == OK ? store_remove_env(path) : rc;
}

/* ── copying ─────────────────────────────────────────────────────────────── */

struct copying {
	struct store_env *from, *to;
	struct store_txn *out;
	uint64_t bytes; /* put since the last commit */
	const _Atomic bool *stop;
};

static int put_entry(struct copying *copying, store_db to, struct str key, struct str value)
{
	int rc = copying->out ? OK : store_begin(copying->to, true, &copying->out);
	if (rc == OK) rc = store_append(copying->out, to, key, value);
	copying->bytes += key.len + value.len;
	if (rc != OK || copying->bytes < COPY_BYTES) return rc;
	rc = store_commit(copying->out);
	copying->out = NULL;
	copying->bytes = 0;
	if (rc == OK && atomic_load(copying->stop)) rc = ERR_CLOSED;
	return rc;
}

static int copy_db(struct copying *copying, struct store_txn *in, const struct opened_db *db)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	store_db to;
	unsigned flags = db->flags & MDB_INTEGERKEY ? STORE_DB_INTEGER_KEY : 0;
	CHECK(!copying->out);
	int rc = store_db_open(copying->to, db->name, flags, &to);
	if (rc == OK) rc = store_cursor_open(in, db->handle, &cursor);
	if (rc != OK) return rc;
	rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
	while (rc == OK) {
		rc = put_entry(copying, to, key, value);
		if (rc == OK) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	if (rc != ERR_NOT_FOUND) return rc;
	rc = copying->out ? store_commit(copying->out) : OK;
	copying->out = NULL;
	copying->bytes = 0;
	return rc == OK && atomic_load(copying->stop) ? ERR_CLOSED : rc;
}

/* A database nobody opened would be lost. */
static int check_complete(struct store_env *env, struct store_txn *in)
{
	MDB_dbi main_db;
	MDB_stat stat;
	int rc = mdb_dbi_open(in->mdb, NULL, 0, &main_db);
	if (rc == 0) rc = mdb_stat(in->mdb, main_db, &stat);
	if (rc != 0) return store_translate(rc);
	return stat.ms_entries == env->db_count + 1 ? OK : ERR_FORMAT; /* and the format */
}

static int copy_all(struct copying *copying)
{
	struct store_txn *in;
	int rc = store_begin(copying->from, false, &in);
	if (rc != OK) return rc;
	rc = check_complete(copying->from, in);
	for (size_t i = 0; i < copying->from->db_count && rc == OK; i++)
		rc = copy_db(copying, in, &copying->from->dbs[i]);
	store_abort(copying->out);
	store_abort(in);
	return rc;
}

int store_copy(struct store_env *env, const char *path, const _Atomic bool *stop)
{
	struct copying copying = {.from = env, .stop = stop};
	struct store_options options = env->options;
	options.read_only = false;
	options.ahead_bytes = 0;
	int rc = store_remove_env(path); /* of an attempt that was cut off */
	if (rc == OK) rc = store_open(path, &options, &copying.to);
	if (rc != OK) return rc;
	rc = copy_all(&copying);
	store_close(copying.to);
	return rc;
}
