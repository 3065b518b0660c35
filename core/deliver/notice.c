#include "deliver/notice.h"

#include "base/encode.h"
#include "base/hash.h"

/* Key: the notice's id, then the destination's name. Row: format, verdict, 0, 0, attempts (4), time (8), the reason's text. */
#define FORMAT          1
#define ROW_FIXED       16
#define DESTINATION_MAX 96

const char *notice_verdict_name(enum notice_verdict verdict)
{
	static const char *const names[NOTICE_VERDICT_COUNT] = {"taken", "refused"};
	return verdict < NOTICE_VERDICT_COUNT ? names[verdict] : "unknown";
}

void notice_id_of_withdrawal(uint64_t journal_seq, struct str purpose, uint8_t id[NOTICE_ID_SIZE])
{
	static const struct hash_key key = {"cdpd withdrawal"}; /* stored: never another one */
	put_be64(id, journal_seq);
	put_be64(id + 8, hash64(&key, purpose.ptr, purpose.len));
}

static int make_room(struct store_txn *txn, store_db db)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, row;
	uint64_t count;
	int rc = store_count(txn, db, &count);
	if (rc || count < NOTICE_ANSWERS_MAX) return rc;
	rc = store_cursor_open(txn, db, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_FIRST, &key, &row);
	if (rc == OK) rc = store_cursor_del(cursor);
	store_cursor_close(cursor);
	return rc;
}

static bool stays_refused(struct store_txn *txn, store_db db, struct str key, const struct notice_answer *answer)
{
	struct str row;
	if (answer->verdict == NOTICE_REFUSED || answer->is_redriven) return false;
	return store_get(txn, db, key, &row) == OK && row.len >= ROW_FIXED && row.ptr[1] == NOTICE_REFUSED;
}

int notices_write(struct cursors *cursors, struct store_txn *txn, const uint8_t id[NOTICE_ID_SIZE],
		  const struct notice_answer *answer)
{
	uint8_t key[NOTICE_ID_SIZE + DESTINATION_MAX],
	    row[ROW_FIXED + NOTICE_REASON_MAX] = {FORMAT, (uint8_t)answer->verdict};
	store_db db = cursors_notices(cursors);
	size_t len = answer->reason.len < NOTICE_REASON_MAX ? answer->reason.len : NOTICE_REASON_MAX;
	CHECK(answer->destination.len <= DESTINATION_MAX);
	memcpy(key, id, NOTICE_ID_SIZE);
	memcpy(key + NOTICE_ID_SIZE, answer->destination.ptr, answer->destination.len);
	struct str name = str_of(key, NOTICE_ID_SIZE + answer->destination.len);
	if (stays_refused(txn, db, name, answer)) return OK;
	put_be32(row + 4, answer->attempts);
	put_be64(row + 8, (uint64_t)answer->at_us);
	memcpy(row + ROW_FIXED, answer->reason.ptr, len);
	int rc = make_room(txn, db);
	if (rc) return rc;
	return store_put(txn, db, name, str_of(row, ROW_FIXED + len));
}

static int read_row(struct str key, struct str row, struct arena *arena, struct notice_answer *out)
{
	const uint8_t *p = (const uint8_t *)row.ptr;
	if (row.len < ROW_FIXED || row.len > ROW_FIXED + NOTICE_REASON_MAX) return ERR_CORRUPT;
	if (p[0] != FORMAT) return ERR_FORMAT;
	if (p[1] >= NOTICE_VERDICT_COUNT) return ERR_CORRUPT;
	*out = (struct notice_answer){
	    .verdict = (enum notice_verdict)p[1], .attempts = get_be32(p + 4), .at_us = (int64_t)get_be64(p + 8)};
	int rc = arena_str(arena, str_of(key.ptr + NOTICE_ID_SIZE, key.len - NOTICE_ID_SIZE), &out->destination);
	return rc ? rc : arena_str(arena, str_of(p + ROW_FIXED, row.len - ROW_FIXED), &out->reason);
}

static bool is_of(struct str key, const uint8_t id[NOTICE_ID_SIZE])
{
	return key.len > NOTICE_ID_SIZE && memcmp(key.ptr, id, NOTICE_ID_SIZE) == 0;
}

/* From the first of the notice on: how many, or with `out` the rows themselves. */
static int walk(struct store_cursor *cursor, const uint8_t id[NOTICE_ID_SIZE], struct arena *arena,
		struct notice_answer *out, size_t *count)
{
	struct str key = str_of(id, NOTICE_ID_SIZE), row;
	*count = 0;
	int rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &row);
	while (rc == OK && is_of(key, id)) {
		if (out) rc = read_row(key, row, arena, &out[*count]);
		++*count;
		if (rc == OK) rc = store_cursor_move(cursor, STORE_NEXT, &key, &row);
	}
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int notices_get(struct cursors *cursors, const uint8_t id[NOTICE_ID_SIZE], struct arena *arena,
		struct notice_answer **out, size_t *count)
{
	struct store_txn *txn;
	struct store_cursor *cursor;
	*count = 0;
	int rc = store_begin(cursors_env(cursors), false, &txn);
	if (rc) return rc;
	rc = store_cursor_open(txn, cursors_notices(cursors), &cursor);
	if (rc == OK) {
		rc = walk(cursor, id, arena, NULL, count);
		*out = arena_array(arena, struct notice_answer, *count + 1);
		if (rc == OK && !*out) rc = ERR_NOMEM;
		if (rc == OK) rc = walk(cursor, id, arena, *out, count);
		store_cursor_close(cursor);
	}
	store_abort(txn);
	return rc;
}
