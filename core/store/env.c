#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/internal.h"

#define DEFAULT_READERS 1024

/* LMDB does not notice when one process opens an env twice, and closing the second drops the locks of the first. */
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct store_env *registry;

static int registry_add(struct store_env *env)
{
	struct stat st;
	if (stat(env->path, &st) != 0) return store_translate(errno);
	env->device = st.st_dev;
	env->inode = st.st_ino;
	int rc = OK;
	pthread_mutex_lock(&registry_lock);
	for (const struct store_env *it = registry; it; it = it->next_open) {
		if (it->device == env->device && it->inode == env->inode) rc = ERR_LOCKED;
	}
	if (rc == OK) {
		env->next_open = registry;
		registry = env;
	}
	pthread_mutex_unlock(&registry_lock);
	return rc;
}

static void registry_remove(struct store_env *env)
{
	pthread_mutex_lock(&registry_lock);
	struct store_env **at = &registry;
	while (*at && *at != env) at = &(*at)->next_open;
	if (*at) *at = env->next_open;
	pthread_mutex_unlock(&registry_lock);
}

/* LMDB leaves its data fd inheritable: a child started by exec could write the database. */
static int keep_from_children(MDB_env *mdb)
{
	mdb_filehandle_t fd;
	int rc = mdb_env_get_fd(mdb, &fd);
	if (rc != 0) return rc;
	return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? 0 : errno;
}

static int configure(struct store_env *env, const struct store_options *options)
{
	uint64_t map = (options->map_bytes + STORE_PAGE_BYTES - 1) / STORE_PAGE_BYTES * STORE_PAGE_BYTES;
	int rc = mdb_env_create(&env->mdb);
	if (rc == 0) rc = mdb_env_set_mapsize(env->mdb, map);
	if (rc == 0) rc = mdb_env_set_maxdbs(env->mdb, options->max_dbs);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(env->mdb, options->max_readers ? options->max_readers : DEFAULT_READERS);
	return rc;
}

static int open_files(struct store_env *env)
{
	unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (env->is_read_only ? MDB_RDONLY : 0);
	if (env->options.is_scratch) flags |= MDB_NOSYNC;
	int rc = mdb_env_open(env->mdb, env->path, flags, 0600);
	if (rc == EBADF) return MDB_INVALID; /* what it says to a data file of zero bytes opened for reading */
	if (rc == 0) rc = keep_from_children(env->mdb);
	int dead;
	if (rc == 0) rc = mdb_reader_check(env->mdb, &dead);
	return rc;
}

/* ERR_NOT_FOUND: the env is new. */
static int read_format(struct store_env *env, uint32_t known)
{
	MDB_txn *txn;
	MDB_dbi main_db;
	MDB_stat stat = {0};
	MDB_val key = store_to_val(STORE_FORMAT_KEY), value = {0};
	int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
	if (rc != 0) return store_translate(rc);
	rc = mdb_dbi_open(txn, NULL, 0, &main_db);
	if (rc == 0) rc = mdb_stat(txn, main_db, &stat);
	if (rc == 0) rc = mdb_get(txn, main_db, &key, &value);
	int status = store_translate(rc);
	uint32_t format = 0;
	if (status == OK && value.mv_size != sizeof format) status = ERR_CORRUPT;
	if (status == OK) {
		memcpy(&format, value.mv_data, sizeof format);
		if (le32toh(format) > known) status = ERR_FORMAT;
	}
	if (status == ERR_NOT_FOUND && stat.ms_entries > 0) status = ERR_CORRUPT;
	mdb_txn_abort(txn);
	return status;
}

static int write_format(struct store_env *env, uint32_t format)
{
	MDB_txn *txn;
	MDB_dbi main_db;
	uint32_t stored = htole32(format);
	MDB_val key = store_to_val(STORE_FORMAT_KEY), value = {sizeof stored, &stored};
	int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);
	if (rc != 0) return store_translate(rc);
	rc = mdb_dbi_open(txn, NULL, 0, &main_db);
	if (rc == 0) rc = mdb_put(txn, main_db, &key, &value, 0);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return store_translate(rc);
	}
	return store_translate(mdb_txn_commit(txn));
}

static int check_format(struct store_env *env, uint32_t format)
{
	int rc = read_format(env, format);
	if (rc != ERR_NOT_FOUND) return rc;
	return env->is_read_only ? ERR_CORRUPT : write_format(env, format);
}

int env_open_mdb(struct store_env *env)
{
	int rc = store_translate(configure(env, &env->options));
	return rc == OK ? store_translate(open_files(env)) : rc;
}

static int open_env(struct store_env *env, const struct store_options *options)
{
	int rc = env_open_mdb(env);
	if (rc == OK) rc = check_format(env, options->format);
	/* LMDB never syncs the directory its files are named in. */
	if (rc == OK && !env->is_read_only) rc = store_fsync_dir(env->path);
	if (rc != OK) log_error(LOG_STORE, "%s cannot be opened (%s)", env->path, status_str(rc));
	return rc;
}

static void env_free(struct store_env *env)
{
	for (size_t i = 0; i < env->db_count; i++) free(env->dbs[i].name);
	pthread_cond_destroy(&env->reopened);
	pthread_mutex_destroy(&env->lock);
	free(env->path);
	free(env);
}

int store_open(const char *path, const struct store_options *options, struct store_env **out)
{
	*out = NULL;
	int rc = options->read_only ? OK : store_make_dir(path);
	if (rc != OK) return rc;
	struct store_env *env = calloc(1, sizeof *env);
	if (!env) return ERR_NOMEM;
	env->path = strdup(path);
	env->is_read_only = options->read_only;
	env->options = *options;
	pthread_mutex_init(&env->lock, NULL);
	pthread_cond_init(&env->reopened, NULL);
	rc = env->path ? registry_add(env) : ERR_NOMEM;
	if (rc != OK) {
		env_free(env);
		return rc;
	}
	rc = open_env(env, options);
	if (rc == OK && options->ahead_bytes) rc = ahead_start(path, options->ahead_bytes, &env->ahead);
	if (rc != OK) {
		store_close(env);
		return rc;
	}
	*out = env;
	return OK;
}

void store_close(struct store_env *env)
{
	if (!env) return;
	CHECK(!env->writer.mdb);
	/* After a panic nobody knows which meta page the disk has: the file stays as it is. */
	bool may_cut = env->ahead && !atomic_load(&env->has_panicked);
	ahead_stop(env->ahead, may_cut ? store_used_bytes(env) : 0);
	if (env->mdb) mdb_env_close(env->mdb);
	registry_remove(env);
	env_free(env);
}

const char *store_path(const struct store_env *env)
{
	return env->path;
}

static int remember_db(struct store_env *env, const char *name, unsigned mdb_flags, store_db handle)
{
	for (size_t i = 0; i < env->db_count; i++)
		if (env->dbs[i].handle == handle) return OK;
	CHECK(env->db_count < STORE_DBS_MAX);
	char *copy = strdup(name);
	if (!copy) return ERR_NOMEM;
	env->dbs[env->db_count++] = (struct opened_db){copy, mdb_flags, handle};
	return OK;
}

int store_db_open(struct store_env *env, const char *name, unsigned flags, store_db *out)
{
	MDB_txn *txn;
	MDB_dbi db;
	unsigned mdb_flags = (flags & STORE_DB_INTEGER_KEY ? MDB_INTEGERKEY : 0) | (env->is_read_only ? 0 : MDB_CREATE);
	int rc = mdb_txn_begin(env->mdb, NULL, env->is_read_only ? MDB_RDONLY : 0, &txn);
	if (rc != 0) return store_translate(rc);
	rc = mdb_dbi_open(txn, name, mdb_flags, &db);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return store_translate(rc);
	}
	*out = db;
	rc = store_translate(mdb_txn_commit(txn)); /* of a read transaction too: only then the handle outlives it */
	return rc == OK ? remember_db(env, name, mdb_flags & ~(unsigned)MDB_CREATE, db) : rc;
}

uint64_t store_used_bytes(const struct store_env *env)
{
	MDB_envinfo info;
	if (mdb_env_info(env->mdb, &info) != 0) return 0;
	return ((uint64_t)info.me_last_pgno + 1) * STORE_PAGE_BYTES;
}

/* LMDB tells about readers only in text: a heading, then "pid thread txnid" lines, "-" for an idle slot. */
static int oldest_reader(const char *line, void *ctx)
{
	uint64_t *oldest = ctx, txnid;
	struct str text = str_trim(str_from(line));
	size_t at = text.len;
	while (at > 0 && text.ptr[at - 1] != ' ') at--;
	if (str_to_u64((struct str){text.ptr + at, text.len - at}, &txnid) == OK && txnid < *oldest) *oldest = txnid;
	return 0;
}

uint64_t store_reader_lag(const struct store_env *env)
{
	MDB_envinfo info;
	uint64_t oldest = UINT64_MAX;
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&env->lock; /* no part of what the caller sees */
	pthread_mutex_lock(lock);
	int rc = mdb_env_info(env->mdb, &info);
	if (rc == 0 && mdb_reader_list(env->mdb, oldest_reader, &oldest) < 0) rc = -1;
	pthread_mutex_unlock(lock);
	if (rc != 0) return 0;
	return oldest < info.me_last_txnid ? info.me_last_txnid - oldest : 0;
}
