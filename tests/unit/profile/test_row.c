/* Rows as bytes: what goes in comes out, equal rows have equal bytes, and nothing damaged or from the future is read. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "profile/sealed.h"

struct shelf { /* a bare env with a rows table */
	char path[64];
	struct store_env *env;
	store_db rows;
	struct arena arena;
};

static void shelf_open(struct shelf *shelf)
{
	const char *tmp = getenv("TMPDIR");
	struct store_options options = {.map_bytes = 256 << 20, .max_dbs = 4, .format = 1};
	snprintf(shelf->path, sizeof shelf->path, "%s/cdpd-rows-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(shelf->path));
	assert_int_equal(store_open(shelf->path, &options, &shelf->env), OK);
	assert_int_equal(store_db_open(shelf->env, "rows", 0, &shelf->rows), OK);
	arena_init(&shelf->arena, 65536, 0);
}

static void shelf_close(struct shelf *shelf)
{
	store_close(shelf->env);
	assert_int_equal(store_remove_env(shelf->path), OK);
	arena_fini(&shelf->arena);
}

static uint32_t roll(uint64_t *state, uint32_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*state >> 33) % below);
}

static struct str random_text(struct arena *arena, uint64_t *state, size_t len)
{
	char *text = arena_alloc(arena, len + 1);
	for (size_t i = 0; i < len; i++) text[i] = (char)('a' + roll(state, 26));
	return (struct str){text, len};
}

static struct row *random_row(struct arena *arena, uint64_t seed, bool is_merged, size_t traits, size_t features,
			      size_t members)
{
	struct row *row = arena_alloc(arena, sizeof *row);
	struct fragment_id id;
	uint64_t state = seed;
	for (size_t i = 0; i < sizeof id.bytes; i++) id.bytes[i] = (uint8_t)roll(&state, 256);
	row_init(row, &id, is_merged);
	row->identifier = random_text(arena, &state, 1 + roll(&state, 300));
	row->created_seq = seed * 7919;
	row->first_seen = -(int64_t)seed;
	row->last_seen = seed % 3 ? WORLD_T0 : ROW_TIME_NONE;
	row->event_count = UINT64_C(1) << (seed % 60);
	row->chain_head = seed;
	if (seed % 2) row->profile.bytes[3] ^= 1;
	row->has_merged = seed % 5 == 0;
	row->refused_traits = seed % 1000;
	row->attempt_count = seed % 200;
	row->attempt_overflow = seed % 77;
	row->decided_version = seed;
	for (size_t i = 0; i < seed % 11; i++) {
		struct fragment_id other = id;
		other.bytes[0] ^= (uint8_t)(i + 1);
		row_remember_decided(row, &other, (uint8_t)i);
	}
	row->features = arena_array(arena, struct row_feature, features + 1);
	for (size_t i = 0; i < features; i++) {
		struct str bytes = random_text(arena, &state, roll(&state, 400));
		row->features[i] =
		    (struct row_feature){i * 3 + 1, (uint8_t *)(uintptr_t)bytes.ptr, (uint32_t)bytes.len, 0};
	}
	row->feature_count = features;
	row->members = arena_array(arena, struct row_member, members + 1);
	for (size_t i = 0; i < members; i++) {
		row->members[i] = (struct row_member){id, i, random_text(arena, &state, 20)};
		row->members[i].id.bytes[15] = (uint8_t)i;
	}
	row->member_count = members;
	row->due = seed % 4 == 1 ? (int64_t)seed * 1000 : 0;
	row->segment_count = seed % 3 ? seed % 7 : 0;
	row->segments = arena_array(arena, uint64_t, 8);
	for (size_t i = 0; i < row->segment_count; i++) row->segments[i] = (i + 1) << 60 | roll(&state, 1000);
	struct stamp *stamps = arena_array(arena, struct stamp, 4);
	for (int i = 0; i < 4; i++) /* 1 and 2 are equal: they are one when stored */
		stamps[i] =
		    (struct stamp){i == 2 ? 1 : i, random_text(arena, &state, 3), random_text(arena, &state, 36), 0};
	stamps[2] = stamps[1];
	for (size_t i = 0; i < traits; i++) {
		char name[32];
		snprintf(name, sizeof name, "t%05zu", i / 2);
		struct row_trait trait = {.value = random_text(arena, &state, 1 + roll(&state, 60)),
					  .stamp = &stamps[roll(&state, 4)],
					  .provenance = i % 2};
		enum trait_put put;
		assert_int_equal(arena_str(arena, str_from(name), &trait.name), OK);
		assert_int_equal(trait_put(row, &trait, false, arena, &put), OK);
		assert_int_equal(put, TRAIT_TAKEN);
	}
	return row;
}

struct coded {
	struct str hot, cold;
};

static struct coded encode(struct arena *arena, const struct row *row)
{
	uint8_t *bytes = arena_alloc(arena, row_hot_max(row) + row_cold_max(row));
	size_t hot = row_encode_hot(row, bytes), cold;
	assert_true(hot <= row_hot_max(row));
	assert_int_equal(row_encode_cold(row, arena, bytes + hot, &cold), OK);
	assert_true(cold <= row_cold_max(row));
	return (struct coded){{(char *)bytes, hot}, {(char *)bytes + hot, cold}};
}

static void put_row(struct shelf *shelf, struct store_txn *txn, const struct row *row, const struct stored_row *old)
{
	struct coded coded = encode(&shelf->arena, row);
	assert_int_equal(stored_row_write(txn, shelf->rows, &row->id, row->is_merged, old, coded.hot, &coded.cold), OK);
}

static struct stored_row get_row(struct shelf *shelf, struct store_txn *txn, const struct row *row, struct row *out)
{
	struct stored_row stored;
	struct str hot, cold;
	assert_int_equal(stored_row_read(txn, shelf->rows, &row->id, row->is_merged, &shelf->arena, &stored), OK);
	assert_int_equal(stored_row_read_tail(txn, shelf->rows, &row->id, row->is_merged, &shelf->arena, &stored), OK);
	assert_int_equal(stored_row_sections(&stored, &shelf->arena, &hot, &cold), OK);
	assert_int_equal(row_decode_hot(hot, &shelf->arena, &row->id, row->is_merged, out), OK);
	assert_int_equal(row_decode_cold(cold, &shelf->arena, out), OK);
	return stored;
}

static void assert_same(struct arena *arena, const struct row *a, const struct row *b)
{
	struct coded x = encode(arena, a), y = encode(arena, b);
	assert_true(str_eq(x.hot, y.hot));
	assert_true(str_eq(x.cold, y.cold));
	assert_true(fragment_id_eq(&a->profile, &b->profile));
	assert_int_equal(a->has_merged, b->has_merged);
	assert_int_equal(a->first_seen, b->first_seen);
	assert_int_equal(a->event_count, b->event_count);
	assert_int_equal(a->trait_count, b->trait_count);
	assert_true(str_eq(a->identifier, b->identifier));
	for (size_t i = 0; i < a->trait_count; i++) {
		assert_true(str_eq(a->traits[i].value, b->traits[i].value));
		assert_true(str_eq(a->traits[i].stamp->message_id, b->traits[i].stamp->message_id));
		assert_int_equal(a->traits[i].stamp->time, b->traits[i].stamp->time);
	}
}

static size_t count_entries(struct shelf *shelf, struct store_txn *txn)
{
	uint64_t count;
	assert_int_equal(store_count(txn, shelf->rows, &count), OK);
	return (size_t)count;
}

/* Rows of every size from one piece to many, each replacing the other in turn. */
static void test_sizes(void **state)
{
	(void)state;
	struct shelf shelf;
	struct store_txn *txn;
	shelf_open(&shelf);
	for (uint64_t seed = 1; seed < 120; seed++) {
		struct stored_row old = {.head = STR_NONE};
		static const size_t traits[] = {0, 3, 12, 40, 400, 8, 0, 900, 1};
		static const size_t features[] = {2, 4, 6, 2, 0, 30, 60, 3, 1};
		assert_int_equal(store_begin(shelf.env, true, &txn), OK);
		for (size_t i = 0; i < COUNT_OF(traits); i++) {
			struct row *row = random_row(&shelf.arena, seed, seed % 2, traits[i], features[i],
						     seed % 2 ? i : 0),
				   back;
			put_row(&shelf, txn, row, &old);
			old = get_row(&shelf, txn, row, &back);
			assert_same(&shelf.arena, row, &back);
			/* No piece of the larger predecessor is left behind. */
			assert_int_equal(count_entries(&shelf, txn),
					 1 + (old.tail.len + PIECE_CHUNK_CONTENT - 1) / PIECE_CHUNK_CONTENT);
		}
		struct row *last = random_row(&shelf.arena, seed, seed % 2, 0, 0, 0);
		assert_int_equal(stored_row_delete(txn, shelf.rows, &last->id, last->is_merged, &old), OK);
		assert_int_equal(count_entries(&shelf, txn), 0);
		store_abort(txn);
		arena_reset(&shelf.arena);
	}
	shelf_close(&shelf);
}

/* When only the hot section changes, the chunks are not touched. */
static void test_cold_stays(void **state)
{
	(void)state;
	struct shelf shelf;
	struct store_txn *txn;
	struct stored_row none = {.head = STR_NONE};
	shelf_open(&shelf);
	assert_int_equal(store_begin(shelf.env, true, &txn), OK);
	struct row *row = random_row(&shelf.arena, 9, false, 300, 1, 0), back;
	put_row(&shelf, txn, row, &none);
	struct stored_row old;
	assert_int_equal(stored_row_read(txn, shelf.rows, &row->id, false, &shelf.arena, &old), OK);
	assert_false(old.has_tail);
	row->event_count += 1000;
	struct coded coded = encode(&shelf.arena, row);
	assert_true(stored_row_can_keep_chunks(&old, coded.hot.len));
	size_t before = store_dirty_pages(txn);
	assert_int_equal(stored_row_write(txn, shelf.rows, &row->id, false, &old, coded.hot, NULL), OK);
	assert_true(store_dirty_pages(txn) <= before + 2);
	get_row(&shelf, txn, row, &back);
	assert_same(&shelf.arena, row, &back);
	/* Too long a hot section moves everything. */
	assert_false(stored_row_can_keep_chunks(&old, PIECE_HEAD_CONTENT + 1));
	store_abort(txn);
	shelf_close(&shelf);
}

static int read_whole(struct shelf *shelf, struct store_txn *txn, const struct row *row)
{
	struct stored_row stored;
	struct str hot, cold;
	struct row back;
	int rc = stored_row_read(txn, shelf->rows, &row->id, row->is_merged, &shelf->arena, &stored);
	if (!rc) rc = stored_row_read_tail(txn, shelf->rows, &row->id, row->is_merged, &shelf->arena, &stored);
	if (!rc) rc = stored_row_sections(&stored, &shelf->arena, &hot, &cold);
	if (!rc) rc = row_decode_hot(hot, &shelf->arena, &row->id, row->is_merged, &back);
	return rc ? rc : row_decode_cold(cold, &shelf->arena, &back);
}

/* Every byte of every piece is covered: any flip, a piece in the wrong place, a missing one. */
static void test_damage(void **state)
{
	(void)state;
	struct shelf shelf;
	struct store_txn *txn;
	struct stored_row none = {.head = STR_NONE};
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	size_t flips = 0;
	shelf_open(&shelf);
	assert_int_equal(store_begin(shelf.env, true, &txn), OK);
	struct row *row = random_row(&shelf.arena, 4, false, 60, 1, 0);
	put_row(&shelf, txn, row, &none);
	assert_true(count_entries(&shelf, txn) > 1);
	assert_int_equal(read_whole(&shelf, txn, row), OK);
	for (size_t piece = 0; piece < 2; piece++) {
		char keys[PIECE_KEY_MAX], bytes[PIECE_CHUNK_MAX];
		key = STR_NONE;
		assert_int_equal(store_cursor_open(txn, shelf.rows, &cursor), OK);
		assert_int_equal(store_cursor_move(cursor, STORE_FIRST, &key, &value), OK);
		if (piece) assert_int_equal(store_cursor_move(cursor, STORE_NEXT, &key, &value), OK);
		size_t key_len = key.len, len = value.len;
		memcpy(keys, key.ptr, key_len);
		memcpy(bytes, value.ptr, len);
		store_cursor_close(cursor);
		for (size_t i = 0; i < len; i++) {
			bytes[i] ^= 0x40;
			assert_int_equal(
			    store_put(txn, shelf.rows, (struct str){keys, key_len}, (struct str){bytes, len}), OK);
			int rc = read_whole(&shelf, txn, row);
			assert_int_equal(rc, i == 0 ? ERR_FORMAT : ERR_CORRUPT);
			bytes[i] ^= 0x40;
			flips++;
			arena_reset(&shelf.arena);
			row = random_row(&shelf.arena, 4, false, 60, 1, 0);
		}
		assert_int_equal(store_put(txn, shelf.rows, (struct str){keys, key_len}, (struct str){bytes, len}), OK);
		assert_int_equal(read_whole(&shelf, txn, row), OK);
		if (piece == 0) continue;
		/* The same bytes under another person's key. */
		struct row other = *row;
		other.id.bytes[0] ^= 1;
		keys[0] = (char)other.id.bytes[0];
		assert_int_equal(store_put(txn, shelf.rows, (struct str){keys, key_len}, (struct str){bytes, len}), OK);
		keys[0] = (char)row->id.bytes[0];
		assert_int_equal(store_del(txn, shelf.rows, (struct str){keys, key_len}), OK);
		assert_int_equal(read_whole(&shelf, txn, row), ERR_CORRUPT);
	}
	assert_true(flips > 1000);
	store_abort(txn);
	shelf_close(&shelf);
}

/* A newer cdpd's piece is refused with its own error, even when its checksum holds. */
static void test_future_format(void **state)
{
	(void)state;
	struct shelf shelf;
	struct store_txn *txn;
	char value[PIECE_HEAD_SMALL] = {0};
	struct fragment_id id = {{1, 2, 3}};
	char key[17] = {1, 2, 3};
	struct stored_row stored;
	shelf_open(&shelf);
	assert_int_equal(store_begin(shelf.env, true, &txn), OK);
	struct str key_str = {key, sizeof key};
	sealed_close(key_str, value, sizeof value, (struct sealed){PIECE_HEAD, 0});
	value[0] = SEALED_FORMAT + 1;
	uint32_t crc = sealed_crc(key_str, value, sizeof value);
	memcpy(value + 4, &crc, sizeof crc);
	assert_int_equal(store_put(txn, shelf.rows, key_str, (struct str){value, sizeof value}), OK);
	assert_int_equal(stored_row_read(txn, shelf.rows, &id, false, &shelf.arena, &stored), ERR_FORMAT);
	store_abort(txn);
	shelf_close(&shelf);
}

/* Decoders take any bytes without harm: every truncation and many mutations of a good row. */
static void test_hostile_bytes(void **state)
{
	(void)state;
	struct arena arena;
	uint64_t random = 5;
	size_t refused = 0;
	arena_init(&arena, 65536, 16 << 20);
	struct row *row = random_row(&arena, 12, true, 8, 4, 3);
	struct coded coded = encode(&arena, row);
	char *hot = malloc(coded.hot.len), *cold = malloc(coded.cold.len);
	for (int round = 0; round < 4000; round++) {
		struct row back;
		size_t hot_len = roll(&random, 2) ? coded.hot.len : roll(&random, (uint32_t)coded.hot.len);
		size_t cold_len = roll(&random, 2) ? coded.cold.len : roll(&random, (uint32_t)coded.cold.len);
		memcpy(hot, coded.hot.ptr, coded.hot.len);
		memcpy(cold, coded.cold.ptr, coded.cold.len);
		for (uint32_t i = roll(&random, 4); i > 0; i--) {
			hot[roll(&random, (uint32_t)coded.hot.len)] = (char)roll(&random, 256);
			cold[roll(&random, (uint32_t)coded.cold.len)] = (char)roll(&random, 256);
		}
		struct arena scratch;
		arena_init(&scratch, 4096, 4 << 20);
		int rc = row_decode_hot((struct str){hot, hot_len}, &scratch, &row->id, true, &back);
		if (!rc) rc = row_decode_cold((struct str){cold, cold_len}, &scratch, &back);
		assert_true(rc == OK || rc == ERR_CORRUPT || rc == ERR_NOMEM);
		refused += rc != OK;
		arena_fini(&scratch);
	}
	assert_true(refused > 1000);
	free(hot);
	free(cold);
	arena_fini(&arena);
}

static void test_decided(void **state)
{
	(void)state;
	struct row row;
	struct fragment_id id = {{0}}, other = {{0}};
	row_init(&row, &id, false);
	for (uint8_t i = 0; i < ROW_DECIDED_MAX + 3; i++) {
		other.bytes[0] = i;
		row_remember_decided(&row, &other, 1);
	}
	assert_int_equal(row.decided_count, ROW_DECIDED_MAX);
	assert_true(row_has_decided(&row, &other, 1));
	assert_false(row_has_decided(&row, &other, 2));
	other.bytes[0] = 2; /* the oldest three gave way */
	assert_false(row_has_decided(&row, &other, 1));
	other.bytes[0] = 3;
	assert_true(row_has_decided(&row, &other, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes),         cmocka_unit_test(test_cold_stays),    cmocka_unit_test(test_damage),
	    cmocka_unit_test(test_future_format), cmocka_unit_test(test_hostile_bytes), cmocka_unit_test(test_decided),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
