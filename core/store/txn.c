#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/internal.h"

/* A file system that gave less than this was full when LMDB called a short write EIO. */
#define FULL_BELOW_BYTES (UINT64_C(256) * 1024)
/* Header, key pointer and length of an entry in a page. */
#define ENTRY_OVERHEAD 18

static int begin(struct store_txn *txn)
{
	txn->status = OK;
	txn->dirty_bytes = 0;
	txn->open_cursors = 0;
	if (atomic_load(&txn->env->has_panicked)) return ERR_PANIC;
	int rc = mdb_txn_begin(txn->env->mdb, NULL, txn->is_writable ? 0 : MDB_RDONLY, &txn->mdb);
	if (rc == MDB_PANIC) atomic_store(&txn->env->has_panicked, true);
	if (rc != 0) txn->mdb = NULL;
	return store_translate(rc);
}

int store_begin(struct store_env *env, bool writable, struct store_txn **out)
{
	*out = NULL;
	if (writable) {
		CHECK(!env->is_read_only && !env->writer.mdb);
		env->writer.env = env;
		env->writer.is_writable = true;
		int rc = begin(&env->writer);
		if (rc == OK) *out = &env->writer;
		return rc;
	}
	struct store_txn *txn = calloc(1, sizeof *txn);
	if (!txn) return ERR_NOMEM;
	txn->env = env;
	swap_enter(env);
	txn->is_inside = true;
	int rc = begin(txn);
	if (rc != OK) {
		swap_leave(env);
		free(txn);
		return rc;
	}
	swap_add_reader(txn);
	*out = txn;
	return OK;
}

/* A write transaction has done its work; LMDB's side is already gone. */
static void forget(struct store_txn *txn)
{
	txn->mdb = NULL;
}

static void end_reader(struct store_txn *txn)
{
	swap_remove_reader(txn); /* a swap under way is waited for, or not begun any more */
	if (txn->is_inside) swap_leave(txn->env);
	free(txn);
}

void store_abort(struct store_txn *txn)
{
	if (!txn) return;
	CHECK(txn->open_cursors == 0);
	if (!txn->is_writable) {
		end_reader(txn);
		return;
	}
	mdb_txn_abort(txn->mdb);
	forget(txn);
}

/* Did LMDB itself give the env up (its meta page could not be written)? */
static bool is_fatal(struct store_env *env)
{
	MDB_txn *probe;
	int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &probe);
	if (rc == 0) mdb_txn_abort(probe);
	return rc == MDB_PANIC;
}

static bool is_disk_full(const struct store_env *env)
{
	uint64_t bytes;
	return store_free_bytes(env->path, &bytes) == OK && bytes < FULL_BELOW_BYTES;
}

/* What a failed commit means. LMDB reports a short write (a full tmpfs, a limit) and a failed fsync alike as
 * EIO; only a full disk makes the first of the two likely enough to go on. */
static int judge_commit(struct store_env *env, int mdb_rc)
{
	int status = store_translate(mdb_rc);
	if (status == OK) return OK;
	if (status == ERR_IO && is_disk_full(env)) status = ERR_FULL;
	if (status == ERR_IO || is_fatal(env)) status = ERR_PANIC;
	if (status == ERR_PANIC) {
		atomic_store(&env->has_panicked, true);
		log_error(LOG_STORE, "%s: a commit failed, its outcome is unknown (%s)", env->path,
			  mdb_strerror(mdb_rc));
	}
	return status;
}

/* Where the commit's new pages end at most. An entry takes at most about twice its bytes (just over half a leaf, or an
 * overflow page it does not fill); the slack is for copied branches, the tables of tables and of free pages. */
static uint64_t write_bound(const struct store_txn *txn)
{
	return store_used_bytes(txn->env) + 3 * txn->dirty_bytes + ((uint64_t)1 << 20);
}

int store_commit(struct store_txn *txn)
{
	CHECK(txn->open_cursors == 0);
	int status = txn->status;
	if (status != OK) {
		store_abort(txn);
		return status;
	}
	struct store_env *env = txn->env;
	if (env->ahead) ahead_claim(env->ahead, write_bound(txn));
	status = judge_commit(env, mdb_txn_commit(txn->mdb));
	if (env->ahead) ahead_used(env->ahead, store_used_bytes(env));
	forget(txn);
	return status;
}

void store_reset(struct store_txn *txn)
{
	CHECK(!txn->is_writable && txn->open_cursors == 0);
	mdb_txn_reset(txn->mdb);
	txn->is_inside = false;
	swap_leave(txn->env);
}

int store_renew(struct store_txn *txn)
{
	CHECK(!txn->is_writable);
	txn->status = OK;
	swap_enter(txn->env);
	int rc = store_translate(mdb_txn_renew(txn->mdb));
	txn->is_inside = rc == OK;
	if (rc != OK) swap_leave(txn->env);
	return rc;
}

size_t store_dirty_pages(const struct store_txn *txn)
{
	return (size_t)(txn->dirty_bytes / STORE_PAGE_BYTES + 1);
}

/* An entry put anywhere dirties its own leaf; an appended one shares its leaf with its predecessor. */
static void count_dirty(struct store_txn *txn, size_t key_len, size_t value_len, bool append)
{
	txn->dirty_bytes += key_len + value_len + ENTRY_OVERHEAD;
	if (!append) txn->dirty_bytes += STORE_PAGE_BYTES;
}

int store_get(struct store_txn *txn, store_db db, struct str key, struct str *value)
{
	if (txn->status != OK) return txn->status;
	MDB_val k = store_to_val(key), v;
	int rc = store_note(txn, mdb_get(txn->mdb, db, &k, &v));
	*value = rc == OK ? store_from_val(v) : STR_NONE;
	return rc;
}

static int put(struct store_txn *txn, store_db db, struct str key, MDB_val *value, unsigned flags)
{
	if (txn->status != OK) return txn->status;
	CHECK(txn->is_writable);
	MDB_val k = store_to_val(key);
	count_dirty(txn, key.len, value->mv_size, flags & MDB_APPEND);
	return store_note(txn, mdb_put(txn->mdb, db, &k, value, flags));
}

int store_put(struct store_txn *txn, store_db db, struct str key, struct str value)
{
	MDB_val v = store_to_val(value);
	return put(txn, db, key, &v, 0);
}

int store_append(struct store_txn *txn, store_db db, struct str key, struct str value)
{
	MDB_val v = store_to_val(value);
	return put(txn, db, key, &v, MDB_APPEND);
}

int store_reserve(struct store_txn *txn, store_db db, struct str key, size_t len, bool append, void **out)
{
	MDB_val v = {len, NULL};
	*out = NULL;
	int rc = put(txn, db, key, &v, MDB_RESERVE | (append ? MDB_APPEND : 0));
	if (rc == OK) *out = v.mv_data;
	return rc;
}

int store_del(struct store_txn *txn, store_db db, struct str key)
{
	if (txn->status != OK) return txn->status;
	CHECK(txn->is_writable);
	MDB_val k = store_to_val(key);
	int rc = store_note(txn, mdb_del(txn->mdb, db, &k, NULL));
	if (rc == OK) count_dirty(txn, key.len, 0, false);
	return rc;
}

int store_count(struct store_txn *txn, store_db db, uint64_t *out)
{
	if (txn->status != OK) return txn->status;
	MDB_stat stat;
	int rc = store_note(txn, mdb_stat(txn->mdb, db, &stat));
	*out = rc == OK ? stat.ms_entries : 0;
	return rc;
}
