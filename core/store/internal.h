/* What the files of core/store share, and nobody else sees. */
#pragma once

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "store/ahead.h"
#include "store/store.h"

struct store_txn {
	struct store_env *env;
	MDB_txn *mdb; /* NULL: the env's writer slot is free */
	int status;   /* sticky: the first error of a call */
	bool is_writable;
	unsigned open_cursors;
	uint64_t dirty_bytes; /* an estimate from above of what this transaction has dirtied */
	bool is_inside;       /* of a read transaction: it holds a snapshot */
	struct store_txn *next_reader, **link;
};

#define STORE_DBS_MAX 64
struct opened_db {
	char *name;
	unsigned flags;
	store_db handle;
};

struct store_env {
	MDB_env *mdb;
	char *path;
	dev_t device;
	ino_t inode;
	struct store_env *next_open; /* the registry of open envs */
	bool is_read_only;
	atomic_bool has_panicked;
	struct ahead *ahead; /* NULL: the file is not written ahead */
	struct store_txn writer;
	struct store_options options; /* to open it again */
	struct opened_db dbs[STORE_DBS_MAX];
	size_t db_count;

	/* swap.c: read transactions stay out while the content is exchanged. */
	pthread_mutex_t lock; /* of `readers`, and of `mdb` while it is exchanged */
	pthread_cond_t reopened;
	struct store_txn *readers; /* all slots, used or not */
	atomic_size_t inside;
	atomic_bool is_swapping;
};

struct store_cursor {
	struct store_txn *txn;
	MDB_cursor *mdb;
};

#define STORE_PAGE_BYTES 4096
#define STORE_FORMAT_KEY STR("cdpd-format") /* in the unnamed database, beside the names of the others */

/* env.c: LMDB's side of an env, by env->options; used again after a swap. */
int env_open_mdb(struct store_env *env);

/* A read transaction is about to take a snapshot, or has given it back. */
void swap_enter(struct store_env *env);
void swap_leave(struct store_env *env);
void swap_add_reader(struct store_txn *txn);
void swap_remove_reader(struct store_txn *txn);

/* LMDB's and errno's codes as ours. */
int store_translate(int mdb_rc);
/* Notes an error in the transaction and returns it; ERR_NOT_FOUND passes without sticking. */
int store_note(struct store_txn *txn, int mdb_rc);

static inline MDB_val store_to_val(struct str text)
{
	return (MDB_val){text.len, (void *)(uintptr_t)text.ptr};
}

static inline struct str store_from_val(MDB_val val)
{
	return str_of(val.mv_data, val.mv_size);
}
