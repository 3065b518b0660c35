#include "training/labels.h"

#include "base/encode.h"

#define KEY_BYTES 32

/* fragment 16 · time u64 · position u64, big endian: a fragment's events lie in the order of their times. */
static struct str make_key(uint8_t key[KEY_BYTES], const uint8_t fragment[16], int64_t at_us, uint64_t seq)
{
	memcpy(key, fragment, 16);
	put_be64(key + 16, (uint64_t)at_us);
	put_be64(key + 24, seq);
	return (struct str){(const char *)key, KEY_BYTES};
}

int labels_open(struct labels *labels, struct people *people)
{
	labels->people = people;
	return store_db_open(people_env(people), "labels", 0, &labels->events);
}

int labels_put(const struct labels *labels, const uint8_t fragment[16], int64_t at_us, uint64_t seq, double value)
{
	uint8_t key[KEY_BYTES];
	return store_put(people_txn(labels->people), labels->events, make_key(key, fragment, at_us, seq),
			 (struct str){(const char *)&value, sizeof value});
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

int labels_sum(const struct labels *labels, const uint8_t fragment[16], int64_t after_us, int64_t until_us, double *sum,
	       uint64_t *count)
{
	struct store_cursor *cursor;
	int rc = store_cursor_open(people_txn(labels->people), labels->events, &cursor);
	if (rc) return rc;
	rc = add_up(cursor, fragment, after_us, until_us, sum, count);
	store_cursor_close(cursor);
	return rc;
}
