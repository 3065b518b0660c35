#include <stdlib.h>

#include "store/internal.h"

int store_cursor_open(struct store_txn *txn, store_db db, struct store_cursor **out)
{
	*out = NULL;
	if (txn->status != OK) return txn->status;
	struct store_cursor *cursor = calloc(1, sizeof *cursor);
	if (!cursor) return ERR_NOMEM;
	cursor->txn = txn;
	int rc = store_note(txn, mdb_cursor_open(txn->mdb, db, &cursor->mdb));
	if (rc != OK) {
		free(cursor);
		return rc;
	}
	txn->open_cursors++;
	*out = cursor;
	return OK;
}

void store_cursor_close(struct store_cursor *cursor)
{
	if (!cursor) return;
	mdb_cursor_close(cursor->mdb);
	cursor->txn->open_cursors--;
	free(cursor);
}

int store_cursor_move(struct store_cursor *cursor, enum store_move move, struct str *key, struct str *value)
{
	static const MDB_cursor_op ops[] = {
	    [STORE_FIRST] = MDB_FIRST, [STORE_LAST] = MDB_LAST,  [STORE_NEXT] = MDB_NEXT,
	    [STORE_PREV] = MDB_PREV,   [STORE_AT] = MDB_SET_KEY, [STORE_AT_OR_AFTER] = MDB_SET_RANGE,
	};
	if (cursor->txn->status != OK) return cursor->txn->status;
	MDB_val k = store_to_val(*key), v;
	int rc = store_note(cursor->txn, mdb_cursor_get(cursor->mdb, &k, &v, ops[move]));
	if (rc != OK) return rc;
	*key = store_from_val(k);
	*value = store_from_val(v);
	return OK;
}

int store_cursor_del(struct store_cursor *cursor)
{
	struct store_txn *txn = cursor->txn;
	if (txn->status != OK) return txn->status;
	CHECK(txn->is_writable);
	int rc = store_note(txn, mdb_cursor_del(cursor->mdb, 0));
	if (rc == OK) txn->dirty_bytes += STORE_PAGE_BYTES;
	return rc;
}
