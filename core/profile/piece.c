#include "profile/piece.h"

#include "profile/sealed.h"

struct piece_key {
	uint8_t bytes[PIECE_KEY_MAX];
	size_t len;
};

static struct piece_key head_key(const struct fragment_id *id, bool is_merged)
{
	struct piece_key key = {.len = sizeof id->bytes + 1};
	memcpy(key.bytes, id->bytes, sizeof id->bytes);
	key.bytes[16] = is_merged ? PIECE_MERGED : PIECE_HEAD;
	return key;
}

static struct piece_key chunk_key(const struct fragment_id *id, bool is_merged, size_t number)
{
	struct piece_key key = {.len = PIECE_KEY_MAX};
	memcpy(key.bytes, id->bytes, sizeof id->bytes);
	key.bytes[16] = is_merged ? PIECE_MERGED_CHUNK : PIECE_HEAD_CHUNK;
	key.bytes[17] = (uint8_t)(number >> 8);
	key.bytes[18] = (uint8_t)number;
	return key;
}

static struct str key_str(const struct piece_key *key)
{
	return (struct str){(const char *)key->bytes, key->len};
}

/* Checks format, checksum, kind and length of a piece. */
static int check_piece(const struct piece_key *key, struct str value, size_t header, size_t *used)
{
	struct sealed sealed;
	if (value.len < header) return ERR_CORRUPT;
	int rc = sealed_open(key_str(key), value, &sealed);
	if (rc) return rc;
	if (sealed.kind != key->bytes[16] || sealed.extra > value.len - header) return ERR_CORRUPT;
	*used = sealed.extra;
	return OK;
}

static void seal_piece(const struct piece_key *key, char *value, size_t len, size_t used)
{
	sealed_close(key_str(key), value, len, (struct sealed){key->bytes[16], (uint16_t)used});
}

/* ── layout ──────────────────────────────────────────────────────────────── */

static size_t head_content(size_t hot_len, size_t cold_len)
{
	if (hot_len + cold_len <= PIECE_HEAD_CONTENT) return hot_len + cold_len;
	return hot_len < PIECE_HEAD_CONTENT ? hot_len : PIECE_HEAD_CONTENT;
}

static size_t chunk_count(size_t hot_len, size_t cold_len)
{
	size_t rest = hot_len + cold_len - head_content(hot_len, cold_len);
	return (rest + PIECE_CHUNK_CONTENT - 1) / PIECE_CHUNK_CONTENT;
}

size_t stored_row_pages(size_t hot_len, size_t cold_len)
{
	return 1 + (chunk_count(hot_len, cold_len) + 1) / 2 * 2;
}

bool stored_row_hot_needs_tail(const struct stored_row *row)
{
	return row->hot_len > row->content.len;
}

bool stored_row_cold_needs_tail(const struct stored_row *row)
{
	return (size_t)row->hot_len + row->cold_len > row->content.len;
}

/* ── reading ─────────────────────────────────────────────────────────────── */

int stored_row_read(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
		    struct arena *arena, struct stored_row *out)
{
	struct piece_key key = head_key(id, is_merged);
	struct str value;
	size_t used;
	*out = (struct stored_row){.head = STR_NONE, .content = STR_NONE, .tail = STR_NONE};
	int rc = store_get(txn, rows, key_str(&key), &value);
	if (!rc) rc = check_piece(&key, value, PIECE_HEAD_HEADER, &used);
	if (!rc) rc = arena_str(arena, value, &out->head);
	if (rc) return rc;
	memcpy(&out->hot_len, value.ptr + 8, sizeof out->hot_len);
	memcpy(&out->cold_len, value.ptr + 12, sizeof out->cold_len);
	out->content = (struct str){out->head.ptr + PIECE_HEAD_HEADER, used};
	if (used != head_content(out->hot_len, out->cold_len)) return ERR_CORRUPT;
	if (chunk_count(out->hot_len, out->cold_len) > PIECE_CHUNKS_MAX) return ERR_CORRUPT;
	out->has_tail = !stored_row_cold_needs_tail(out);
	return OK;
}

int stored_row_read_tail(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
			 struct arena *arena, struct stored_row *row)
{
	if (row->has_tail) return OK;
	size_t want = (size_t)row->hot_len + row->cold_len - row->content.len, have = 0;
	char *tail = arena_alloc(arena, want);
	if (!tail) return ERR_NOMEM;
	for (size_t i = 0; have < want; i++) {
		struct piece_key key = chunk_key(id, is_merged, i);
		struct str value;
		size_t used;
		int rc = store_get(txn, rows, key_str(&key), &value);
		if (!rc) rc = check_piece(&key, value, PIECE_CHUNK_HEADER, &used);
		if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
		size_t expected = want - have < PIECE_CHUNK_CONTENT ? want - have : PIECE_CHUNK_CONTENT;
		if (used != expected || value.len != used + PIECE_CHUNK_HEADER) return ERR_CORRUPT;
		memcpy(tail + have, value.ptr + PIECE_CHUNK_HEADER, used);
		have += used;
	}
	row->tail = (struct str){tail, want};
	row->has_tail = true;
	return OK;
}

int stored_row_sections(const struct stored_row *row, struct arena *arena, struct str *hot, struct str *cold)
{
	*cold = STR_NONE;
	if (!stored_row_hot_needs_tail(row)) {
		*hot = (struct str){row->content.ptr, row->hot_len};
		if (!stored_row_cold_needs_tail(row))
			*cold = (struct str){row->content.ptr + row->hot_len, row->cold_len};
		else if (row->has_tail)
			*cold = row->tail;
		return OK;
	}
	CHECK(row->has_tail);
	char *joined = arena_alloc(arena, row->content.len + row->tail.len);
	if (!joined) return ERR_NOMEM;
	memcpy(joined, row->content.ptr, row->content.len);
	memcpy(joined + row->content.len, row->tail.ptr, row->tail.len);
	*hot = (struct str){joined, row->hot_len};
	*cold = (struct str){joined + row->hot_len, row->cold_len};
	return OK;
}

/* ── writing ─────────────────────────────────────────────────────────────── */

bool stored_row_can_keep_chunks(const struct stored_row *old, size_t hot_len)
{
	return old->head.len > 0 && old->hot_len == old->content.len && stored_row_cold_needs_tail(old) &&
	       hot_len <= PIECE_HEAD_CONTENT && hot_len + old->cold_len > PIECE_HEAD_CONTENT;
}

static int write_head(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
		      struct str old, struct str hot, struct str cold, size_t cold_len)
{
	char value[PIECE_HEAD_LARGE];
	struct piece_key key = head_key(id, is_merged);
	size_t used = head_content(hot.len, cold_len);
	size_t size = used + PIECE_HEAD_HEADER <= PIECE_HEAD_SMALL ? PIECE_HEAD_SMALL : PIECE_HEAD_LARGE;
	uint32_t lengths[2] = {(uint32_t)hot.len, (uint32_t)cold_len};
	size_t from_hot = used < hot.len ? used : hot.len;
	memcpy(value + 8, lengths, sizeof lengths);
	memcpy(value + PIECE_HEAD_HEADER, hot.ptr, from_hot);
	memcpy(value + PIECE_HEAD_HEADER + from_hot, cold.ptr, used - from_hot);
	memset(value + PIECE_HEAD_HEADER + used, 0, size - PIECE_HEAD_HEADER - used);
	seal_piece(&key, value, size, used);
	if (str_eq(old, (struct str){value, size})) return OK;
	return store_put(txn, rows, key_str(&key), (struct str){value, size});
}

/* Bytes [at, at + len) of hot and cold as one stream. */
static void copy_stream(struct str hot, struct str cold, size_t at, size_t len, char *out)
{
	size_t from_hot = at < hot.len ? hot.len - at : 0;
	if (from_hot > len) from_hot = len;
	if (from_hot) memcpy(out, hot.ptr + at, from_hot);
	if (len > from_hot) memcpy(out + from_hot, cold.ptr + (at + from_hot - hot.len), len - from_hot);
}

static int delete_chunks(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
			 size_t from, size_t to)
{
	int rc = OK;
	for (size_t i = from; i < to && !rc; i++) {
		struct piece_key key = chunk_key(id, is_merged, i);
		rc = store_del(txn, rows, key_str(&key));
	}
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int write_chunks(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
			const struct stored_row *old, struct str hot, struct str cold)
{
	char value[PIECE_CHUNK_MAX];
	size_t at = head_content(hot.len, cold.len), end = hot.len + cold.len;
	size_t old_count = old->head.len ? chunk_count(old->hot_len, old->cold_len) : 0, i = 0;
	for (size_t done = 0; at < end; i++) {
		size_t len = end - at < PIECE_CHUNK_CONTENT ? end - at : PIECE_CHUNK_CONTENT;
		copy_stream(hot, cold, at, len, value + PIECE_CHUNK_HEADER);
		bool is_same = old->has_tail && old->tail.len >= done + len &&
			       (len == PIECE_CHUNK_CONTENT || old->tail.len == done + len) &&
			       memcmp(old->tail.ptr + done, value + PIECE_CHUNK_HEADER, len) == 0;
		at += len;
		done += len;
		if (is_same) continue;
		struct piece_key key = chunk_key(id, is_merged, i);
		seal_piece(&key, value, len + PIECE_CHUNK_HEADER, len);
		int rc = store_put(txn, rows, key_str(&key), (struct str){value, len + PIECE_CHUNK_HEADER});
		if (rc) return rc;
	}
	return delete_chunks(txn, rows, id, is_merged, i, old_count);
}

int stored_row_write(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
		     const struct stored_row *old, struct str hot, const struct str *cold)
{
	if (!cold) {
		CHECK(stored_row_can_keep_chunks(old, hot.len));
		return write_head(txn, rows, id, is_merged, old->head, hot, STR_NONE, old->cold_len);
	}
	if (chunk_count(hot.len, cold->len) > PIECE_CHUNKS_MAX) return ERR_TOO_LARGE;
	int rc = write_head(txn, rows, id, is_merged, old->head, hot, *cold, cold->len);
	return rc ? rc : write_chunks(txn, rows, id, is_merged, old, hot, *cold);
}

int stored_row_delete(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
		      const struct stored_row *old)
{
	if (old->head.len == 0) return OK;
	struct piece_key key = head_key(id, is_merged);
	int rc = store_del(txn, rows, key_str(&key));
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	return delete_chunks(txn, rows, id, is_merged, 0, chunk_count(old->hot_len, old->cold_len));
}
