#include "training/labels.h"

#include <stdlib.h>

#include "base/encode.h"

#define MAP_BYTES  (UINT64_C(1) << 38)
#define PAGES_MAX  ((size_t)4000)
#define KEY_BYTES  32
#define ENV_FORMAT 1

/* fragment 16 · time u64 · position u64, big endian: a fragment's events lie in the order of their times. */
struct labels {
	struct store_env *env;
	store_db events;
	struct store_txn *txn; /* NULL: nothing since the last commit */
};

static struct str make_key(uint8_t key[KEY_BYTES], const uint8_t fragment[16], int64_t at_us, uint64_t seq)
{
	memcpy(key, fragment, 16);
	put_be64(key + 16, (uint64_t)at_us);
	put_be64(key + 24, seq);
	return (struct str){(const char *)key, KEY_BYTES};
}

int labels_open(const char *path, struct labels **out)
{
	const struct store_options options = {
	    .map_bytes = MAP_BYTES, .max_dbs = 2, .max_readers = 8, .format = ENV_FORMAT, .is_scratch = true};
	*out = NULL;
	struct labels *labels = calloc(1, sizeof *labels);
	if (!labels) return ERR_NOMEM;
	int rc = store_open(path, &options, &labels->env);
	if (!rc) rc = store_db_open(labels->env, "events", 0, &labels->events);
	if (rc) {
		labels_close(labels);
		return rc;
	}
	*out = labels;
	return OK;
}

void labels_close(struct labels *labels)
{
	if (!labels) return;
	store_abort(labels->txn);
	if (labels->env) store_close(labels->env);
	free(labels);
}

static int begin(struct labels *labels)
{
	return labels->txn ? OK : store_begin(labels->env, true, &labels->txn);
}

static int end_if_full(struct labels *labels)
{
	if (store_dirty_pages(labels->txn) < PAGES_MAX) return OK;
	struct store_txn *txn = labels->txn;
	labels->txn = NULL;
	return store_commit(txn);
}

int labels_put(struct labels *labels, const uint8_t fragment[16], int64_t at_us, uint64_t seq, double value)
{
	uint8_t key[KEY_BYTES];
	int rc = begin(labels);
	if (!rc)
		rc = store_put(labels->txn, labels->events, make_key(key, fragment, at_us, seq),
			       (struct str){(const char *)&value, sizeof value});
	return rc ? rc : end_if_full(labels);
}

static int add_up(struct store_cursor *cursor, const uint8_t fragment[16], int64_t after_us, int64_t until_us,
		  double *sum, uint64_t *count)
{
	uint8_t start[KEY_BYTES];
	struct str key = make_key(start, fragment, after_us + 1, 0), value;
	int rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	for (; !rc; rc = store_cursor_move(cursor, STORE_NEXT, &key, &value)) {
		double one;
		if (key.len != KEY_BYTES || value.len != sizeof one) return ERR_CORRUPT;
		if (memcmp(key.ptr, fragment, 16) != 0) break;
		if ((int64_t)get_be64((const uint8_t *)key.ptr + 16) > until_us) break;
		memcpy(&one, value.ptr, sizeof one);
		*sum += one;
		*count += 1;
	}
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int labels_sum(struct labels *labels, const uint8_t fragment[16], int64_t after_us, int64_t until_us, double *sum,
	       uint64_t *count)
{
	struct store_cursor *cursor;
	int rc = begin(labels);
	if (!rc) rc = store_cursor_open(labels->txn, labels->events, &cursor);
	if (rc) return rc;
	rc = add_up(cursor, fragment, after_us, until_us, sum, count);
	store_cursor_close(cursor);
	return rc;
}
