#include "deliver/parked.h"

#include <stdlib.h>

#include "base/encode.h"
#include "profile/erase.h"

/* Key: the destination's name, NUL, the stream's number (1 byte), position (8 bytes, big endian). Row: format, 3 zero bytes, attempts (4),
 * due (8), since (8), journal_seq (8), fragment (16). What the plugin said is not kept. */
#define FORMAT   1
#define ROW_SIZE 48
#define KEY_REST 10
#define KEY_MAX  (CURSOR_NAME_MAX + KEY_REST)

static struct str key_of(struct str destination, enum stream_id stream, uint64_t position, uint8_t out[KEY_MAX])
{
	CHECK(destination.len <= CURSOR_NAME_MAX);
	memcpy(out, destination.ptr, destination.len);
	out[destination.len] = 0;
	out[destination.len + 1] = (uint8_t)stream;
	put_be64(out + destination.len + 2, position);
	return str_of(out, destination.len + KEY_REST);
}

static int read_row(struct str key, struct str row, struct parked *out)
{
	const uint8_t *p = (const uint8_t *)row.ptr, *k = (const uint8_t *)key.ptr;
	if (row.len != ROW_SIZE || key.len < KEY_REST) return ERR_CORRUPT;
	if (p[0] != FORMAT || k[key.len - 9] >= STREAM_COUNT) return ERR_FORMAT;
	*out = (struct parked){.stream = (enum stream_id)k[key.len - 9],
			       .position = get_be64(k + key.len - 8),
			       .attempts = get_be32(p + 4),
			       .due_us = (int64_t)get_be64(p + 8),
			       .since_us = (int64_t)get_be64(p + 16),
			       .journal_seq = get_be64(p + 24)};
	memcpy(out->fragment, p + 32, sizeof out->fragment);
	return OK;
}

/* ── in memory ───────────────────────────────────────────────────────────── */

void parked_list_fini(struct parked_list *list)
{
	free(list->items);
	for (size_t i = 0; i < STREAM_COUNT; i++) person_set_fini(&list->persons[i]);
	*list = (struct parked_list){.count = 0};
}

/* Of the first that is not before it. */
static size_t place_of(const struct parked_list *list, enum stream_id stream, uint64_t position)
{
	size_t low = 0, high = list->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct parked *item = &list->items[middle];
		if (item->stream < stream || (item->stream == stream && item->position < position))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct parked_list *list, size_t place, enum stream_id stream, uint64_t position)
{
	return place < list->count && list->items[place].stream == stream && list->items[place].position == position;
}

struct parked *parked_find(const struct parked_list *list, enum stream_id stream, uint64_t position)
{
	size_t place = place_of(list, stream, position);
	return is_at(list, place, stream, position) ? &list->items[place] : NULL;
}

int parked_put(struct parked_list *list, const struct parked *parked)
{
	size_t place = place_of(list, parked->stream, parked->position);
	list->is_stale = true;
	if (is_at(list, place, parked->stream, parked->position)) {
		list->items[place] = *parked;
		return OK;
	}
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		struct parked *items = realloc(list->items, room * sizeof *items);
		if (!items) return ERR_NOMEM;
		list->items = items;
		list->room = room;
	}
	memmove(&list->items[place + 1], &list->items[place], (list->count - place) * sizeof *list->items);
	list->items[place] = *parked;
	list->count++;
	return OK;
}

void parked_take(struct parked_list *list, enum stream_id stream, uint64_t position)
{
	size_t place = place_of(list, stream, position);
	if (!is_at(list, place, stream, position)) return;
	list->count--;
	memmove(&list->items[place], &list->items[place + 1], (list->count - place) * sizeof *list->items);
	list->is_stale = true;
}

/* A fragment that is no more keeps its own id; notices are nobody's. */
static int name_all(struct parked_list *list, struct people_reader *reader, struct arena *scratch)
{
	for (size_t i = 0; i < list->count; i++) {
		struct fragment_id id, person;
		memcpy(id.bytes, list->items[i].fragment, sizeof id.bytes);
		list->items[i].person = id;
		if (person_is_nobody(&id)) continue;
		arena_reset(scratch);
		int rc = people_person_of(reader, &id, scratch, &person);
		if (rc == OK) list->items[i].person = person;
		if (rc && rc != ERR_NOT_FOUND) return rc;
	}
	return OK;
}

static int find_heads(struct parked_list *list)
{
	int rc = OK;
	for (size_t i = 0; i < STREAM_COUNT; i++) person_set_clear(&list->persons[i]);
	for (size_t i = 0; i < list->count && rc == OK; i++) {
		struct parked *item = &list->items[i];
		item->is_head = !person_set_has(&list->persons[item->stream], &item->person);
		if (item->is_head) rc = person_set_add(&list->persons[item->stream], &item->person);
	}
	return rc;
}

int parked_look(struct parked_list *list, struct people_reader *reader, uint64_t renamed, uint64_t applied,
		struct arena *scratch)
{
	int rc = OK;
	if (!list->looked_at || renamed > list->looked_at) {
		rc = name_all(list, reader, scratch);
		list->is_stale = true;
	}
	if (rc) return rc;
	list->looked_at = applied;
	if (!list->is_stale) return OK;
	rc = find_heads(list);
	if (rc == OK) list->is_stale = false;
	return rc;
}

int64_t parked_next_due(const struct parked_list *list)
{
	int64_t due = INT64_MAX;
	for (size_t i = 0; i < list->count; i++) {
		const struct parked *item = &list->items[i];
		if (item->is_head && !item->is_out && item->due_us < due) due = item->due_us;
	}
	return due;
}

/* ── rows ────────────────────────────────────────────────────────────────── */

int parked_load(struct cursors *cursors, struct str destination, struct parked_list *list)
{
	struct store_txn *txn;
	struct store_cursor *cursor;
	uint8_t memory[KEY_MAX];
	struct str prefix = key_of(destination, STREAM_OF_EVENTS, 0, memory), key = prefix, row;
	list->count = 0;
	list->looked_at = 0;
	list->is_stale = true;
	prefix.len = destination.len + 1;
	int rc = store_begin(cursors_env(cursors), false, &txn);
	if (rc) return rc;
	rc = store_cursor_open(txn, cursors_parked(cursors), &cursor);
	if (rc == OK) {
		rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &row);
		while (rc == OK && str_starts(key, prefix)) {
			struct parked parked;
			rc = read_row(key, row, &parked);
			if (rc == OK) rc = parked_put(list, &parked);
			if (rc == OK) rc = store_cursor_move(cursor, STORE_NEXT, &key, &row);
		}
		store_cursor_close(cursor);
	}
	store_abort(txn);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static void put(struct store_txn *txn, store_db db, struct str key, const struct parked *parked)
{
	uint8_t bytes[ROW_SIZE] = {FORMAT};
	put_be32(bytes + 4, parked->attempts);
	put_be64(bytes + 8, (uint64_t)parked->due_us);
	put_be64(bytes + 16, (uint64_t)parked->since_us);
	put_be64(bytes + 24, parked->journal_seq);
	memcpy(bytes + 32, parked->fragment, sizeof parked->fragment);
	(void)!store_put(txn, db, key, str_of(bytes, sizeof bytes)); /* sticky: commit tells */
}

static int is_erased(struct people_reader *reader, const struct parked *parked, bool *out)
{
	struct fragment_id id;
	struct erased_row row;
	memcpy(id.bytes, parked->fragment, sizeof id.bytes);
	int rc = people_erased(reader, &id, &row);
	*out = rc == OK && parked->journal_seq < row.seq;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int parked_write(struct cursors *cursors, struct store_txn *txn, struct people_reader *reader, struct str destination,
		 const struct parked_row *rows, size_t count)
{
	uint64_t applied;
	uint8_t memory[KEY_MAX];
	if (count == 0) return OK;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	for (size_t i = 0; i < count && rc == OK; i++) {
		const struct parked *parked = &rows[i].parked;
		struct str key = key_of(destination, parked->stream, parked->position, memory);
		bool is_gone = rows[i].is_gone;
		if (!is_gone) rc = is_erased(reader, parked, &is_gone);
		if (rc == OK && is_gone)
			(void)!store_del(txn, cursors_parked(cursors), key);
		else if (rc == OK)
			put(txn, cursors_parked(cursors), key, parked);
	}
	people_read_end(reader);
	return rc;
}

static int erase_walked(struct store_cursor *cursor, struct people_reader *reader, uint64_t *count)
{
	struct str key = STR_NONE, row;
	int rc = store_cursor_move(cursor, STORE_FIRST, &key, &row);
	while (rc == OK) {
		struct parked parked;
		bool is_gone = false;
		rc = read_row(key, row, &parked);
		if (rc == OK) rc = is_erased(reader, &parked, &is_gone);
		if (rc == OK && is_gone) rc = store_cursor_del(cursor);
		if (rc) break;
		*count += is_gone;
		rc = store_cursor_move(cursor, STORE_NEXT, &key, &row);
	}
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int parked_erase(struct cursors *cursors, struct people_reader *reader, uint64_t *count)
{
	struct store_txn *txn;
	struct store_cursor *cursor;
	uint64_t applied;
	*count = 0;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	rc = cursors_begin(cursors, &txn);
	if (rc == OK) {
		rc = store_cursor_open(txn, cursors_parked(cursors), &cursor);
		if (rc == OK) {
			rc = erase_walked(cursor, reader, count);
			store_cursor_close(cursor);
		}
		if (rc == OK)
			rc = cursors_commit(cursors, txn);
		else
			cursors_abort(cursors, txn);
	}
	people_read_end(reader);
	return rc;
}
