// rooms: profile
/* What the profiles keep, from any bytes: the first one picks the sections of a row, a row in its pieces, or a row of the links, outcomes and
 * changes. Checksums are made to hold, so that what stands behind them is reached; the store is stood in for. */
#include "profile/change_row.h"
#include "profile/link_row.h"
#include "profile/outcome_row.h"
#include "profile/piece.h"
#include "profile/sealed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena arena;
static const struct fragment_id ID = {.bytes = {1, 2, 3}};

static char *copy(struct str bytes)
{
	char *out = arena_alloc(&arena, bytes.len + 1);
	CHECK(out);
	memcpy(out, bytes.ptr, bytes.len);
	return out;
}

/* ── the store: pieces, one after the other, each behind its length ─────────── */

static struct str pieces;

static bool next_piece(struct str *out)
{
	if (pieces.len < 2) return false;
	size_t len = (uint8_t)pieces.ptr[0] | (size_t)(uint8_t)pieces.ptr[1] << 8;
	if (len > pieces.len - 2) len = pieces.len - 2;
	*out = str_of(pieces.ptr + 2, len);
	pieces = str_of(pieces.ptr + 2 + len, pieces.len - 2 - len);
	return true;
}

int store_get(struct store_txn *txn, store_db db, struct str key, struct str *value)
{
	struct sealed sealed = {.kind = (uint8_t)key.ptr[16]};
	(void)txn, (void)db;
	if (!next_piece(value)) return ERR_NOT_FOUND;
	if (value->len < SEALED_HEADER) return OK;
	char *bytes = copy(*value);
	memcpy(&sealed.extra, bytes + 2, sizeof sealed.extra);
	sealed_close(key, bytes, value->len, sealed);
	value->ptr = bytes;
	return OK;
}

int store_put(struct store_txn *txn, store_db db, struct str key, struct str value)
{
	(void)txn, (void)db, (void)key, (void)value;
	return OK;
}

int store_append(struct store_txn *txn, store_db db, struct str key, struct str value)
{
	(void)txn, (void)db, (void)key, (void)value;
	return OK;
}

int store_reserve(struct store_txn *txn, store_db db, struct str key, size_t len, bool append, void **out)
{
	(void)txn, (void)db, (void)key, (void)len, (void)append, (void)out;
	return ERR_FULL;
}

int store_del(struct store_txn *txn, store_db db, struct str key)
{
	(void)txn, (void)db, (void)key;
	return OK;
}

/* ── what is tried ───────────────────────────────────────────────────────── */

/* Written again it must fit the bound that writers rely on, and what is written must be stable. */
static void write_again(struct row *row)
{
	struct row again;
	size_t hot_max = row_hot_max(row), cold_max = row_cold_max(row), len = 0;
	uint8_t *hot = arena_alloc(&arena, hot_max), *cold = arena_alloc(&arena, cold_max);
	CHECK(hot && cold);
	size_t hot_len = row_encode_hot(row, hot);
	CHECK(hot_len <= hot_max);
	CHECK(row_decode_hot(str_of(hot, hot_len), &arena, &row->id, row->is_merged, &again) == OK);
	CHECK(again.feature_count == row->feature_count && again.event_count == row->event_count);
	CHECK(row_encode_cold(row, &arena, cold, &len) == OK);
	CHECK(len <= cold_max);
	CHECK(row_decode_cold(str_of(cold, len), &arena, &again) == OK);
	CHECK(again.trait_count == row->trait_count && again.member_count == row->member_count);
}

static void try_sections(struct str hot, struct str cold)
{
	struct row row;
	int rc = row_decode_hot(hot, &arena, &ID, false, &row);
	if (rc == OK) rc = row_decode_cold(cold, &arena, &row);
	CHECK(rc == OK || rc == ERR_CORRUPT || rc == ERR_FORMAT); /* a part of a newer cdpd */
	if (rc == OK) write_again(&row);
}

static void try_row(struct str bytes)
{
	struct str hot;
	pieces = bytes;
	if (next_piece(&hot)) try_sections(hot, pieces);
}

static void try_pieces(struct str bytes)
{
	struct stored_row stored;
	struct str hot, cold;
	pieces = bytes;
	int rc = stored_row_read(NULL, 0, &ID, false, &arena, &stored);
	if (rc == OK) (void)stored_row_pages(stored.hot_len, stored.cold_len);
	if (rc == OK) rc = stored_row_read_tail(NULL, 0, &ID, false, &arena, &stored);
	if (rc == OK) rc = stored_row_sections(&stored, &arena, &hot, &cold);
	if (rc == OK) try_sections(hot, cold);
}

static void try_link(struct str key, struct str value)
{
	struct link link;
	if (link_decode(key, value, &link) == OK) CHECK(link_reason_name(link.reason));
}

static void try_outcome(struct str key, struct str value)
{
	struct outcome outcome;
	if (outcome_decode(key, value, &outcome) != OK) return;
	CHECK(outcome_verdict_name(outcome.verdict) && outcome_reason_name(outcome.reason));
}

static void try_change(struct str key, struct str value)
{
	struct change change;
	if (change_decode(key, value, &change) == OK) CHECK(change_kind_name(change.kind));
}

static void try_keyed(struct str bytes)
{
	static void (*const tries[])(struct str key, struct str value) = {try_link, try_outcome, try_change};
	struct str key;
	pieces = bytes;
	if (!next_piece(&key) || pieces.len < SEALED_HEADER) return;
	char *value = copy(pieces);
	struct sealed sealed = {.kind = (uint8_t)value[1]};
	memcpy(&sealed.extra, value + 2, sizeof sealed.extra);
	sealed_close(key, value, pieces.len, sealed);
	for (size_t i = 0; i < COUNT_OF(tries); i++) tries[i](key, str_of(value, pieces.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(struct str bytes) = {try_row, try_pieces, try_keyed};
	if (size == 0) return 0;
	arena_init(&arena, 4096, 512 << 20);
	tries[data[0] % COUNT_OF(tries)](str_of(data + 1, size - 1));
	arena_fini(&arena);
	return 0;
}
