#include "deliver/order.h"

#include "base/encode.h"

/* Row: format, paused, seeks, five zero bytes, seek_seq (8). */
#define FORMAT   1
#define ROW_SIZE 16

static int read_order(struct store_txn *txn, store_db db, struct str destination, struct order *out)
{
	struct str row;
	*out = (struct order){.is_paused = false};
	int rc = store_get(txn, db, destination, &row);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	const uint8_t *p = (const uint8_t *)row.ptr;
	if (row.len < 1 || p[0] != FORMAT) return row.len < 1 ? ERR_CORRUPT : ERR_FORMAT;
	if (row.len != ROW_SIZE) return ERR_CORRUPT;
	*out = (struct order){.is_paused = p[1] != 0, .has_seek = p[2] != 0, .seek_seq = get_be64(p + 8)};
	return OK;
}

static void write_order(struct store_txn *txn, store_db db, struct str destination, const struct order *order)
{
	uint8_t row[ROW_SIZE] = {FORMAT, order->is_paused, order->has_seek};
	put_be64(row + 8, order->seek_seq);
	(void)!store_put(txn, db, destination, str_of(row, sizeof row)); /* sticky: commit tells */
}

int order_get(struct cursors *cursors, struct str destination, struct order *out)
{
	struct store_txn *txn;
	int rc = store_begin(cursors_env(cursors), false, &txn);
	if (rc) return rc;
	rc = read_order(txn, cursors_orders(cursors), destination, out);
	store_abort(txn);
	return rc;
}

static int begin(struct cursors *cursors, struct str destination, struct store_txn **txn, struct order *order)
{
	int rc = cursors_begin(cursors, txn);
	if (rc) return rc;
	rc = read_order(*txn, cursors_orders(cursors), destination, order);
	if (rc) cursors_abort(cursors, *txn);
	return rc;
}

static int finish(struct cursors *cursors, struct str destination, struct store_txn *txn, const struct order *order)
{
	write_order(txn, cursors_orders(cursors), destination, order);
	return cursors_commit(cursors, txn);
}

int order_pause(struct cursors *cursors, struct str destination, bool is_paused, struct order *out)
{
	struct store_txn *txn;
	int rc = begin(cursors, destination, &txn, out);
	if (rc) return rc;
	out->is_paused = is_paused;
	return finish(cursors, destination, txn, out);
}

int order_seek(struct cursors *cursors, struct str destination, uint64_t seq, struct order *out)
{
	struct store_txn *txn;
	int rc = begin(cursors, destination, &txn, out);
	if (rc) return rc;
	out->has_seek = true;
	out->seek_seq = seq;
	return finish(cursors, destination, txn, out);
}

int order_settle(struct cursors *cursors, struct str destination, uint64_t seq, const struct cursor_row *row)
{
	struct store_txn *txn;
	struct order order;
	int rc = begin(cursors, destination, &txn, &order);
	if (rc) return rc;
	if (order.seek_seq == seq) order.has_seek = false;
	cursors_write(cursors, txn, destination, STREAM_OF_EVENTS, row);
	return finish(cursors, destination, txn, &order);
}
