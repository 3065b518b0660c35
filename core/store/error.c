#include <errno.h>

#include "store/internal.h"

static int translate_errno(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG: return ERR_FULL;
	case ENOMEM: return ERR_NOMEM;
	case ENOENT: return ERR_NOT_FOUND;
	case EEXIST: return ERR_EXISTS;
	default: return ERR_IO;
	}
}

int store_translate(int mdb_rc)
{
	switch (mdb_rc) {
	case MDB_SUCCESS: return OK;
	case MDB_NOTFOUND: return ERR_NOT_FOUND;
	case MDB_KEYEXIST: return ERR_EXISTS;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL: return ERR_FULL;
	case MDB_PANIC: return ERR_PANIC;
	case MDB_READERS_FULL: return ERR_BUSY;
	case MDB_VERSION_MISMATCH: return ERR_FORMAT;
	case MDB_BAD_VALSIZE: return ERR_TOO_LARGE;
	case MDB_INVALID:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_CURSOR_FULL:
	case MDB_INCOMPATIBLE: return ERR_CORRUPT;
	default: return mdb_rc > 0 ? translate_errno(mdb_rc) : ERR_IO;
	}
}

int store_note(struct store_txn *txn, int mdb_rc)
{
	int status = store_translate(mdb_rc);
	if (status != OK && status != ERR_NOT_FOUND && txn->status == OK) txn->status = status;
	return status;
}
