#include "profile/scan.h"

#include "profile/piece.h"
#include "profile/reader.h"

#define ID_SIZE 16

static bool is_fragment_head(struct str key)
{
	return key.len == ID_SIZE + 1 && (uint8_t)key.ptr[ID_SIZE] == PIECE_HEAD;
}

/* The next fragment's id. ERR_NOT_FOUND: there is none. */
static int next_fragment(struct store_cursor *cursor, bool *is_started, struct people_scan *scan)
{
	uint8_t start[ID_SIZE + 1];
	struct str key = STR_NONE, value;
	int rc;
	if (*is_started) {
		rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	} else if (scan->has_after) {
		memcpy(start, scan->after.bytes, ID_SIZE);
		start[ID_SIZE] = 0xff; /* behind all that is hers */
		key = (struct str){(const char *)start, sizeof start};
		rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	} else {
		rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
	}
	*is_started = true;
	while (rc == OK && !is_fragment_head(key)) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	if (rc) return rc;
	memcpy(scan->after.bytes, key.ptr, ID_SIZE);
	scan->has_after = true;
	return OK;
}

static int read_head(struct people_reader *reader, const struct fragment_id *id, unsigned parts, int64_t now,
		     struct arena *arena, struct profile *out, bool *found)
{
	struct row *row;
	char ref[3 + FRAGMENT_ID_TEXT_SIZE] = "id:";
	int rc = reader_row(reader, id, false, false, arena, &row);
	if (rc || !fragment_id_eq(&row->profile, id)) return rc;
	fragment_id_format(id, ref + 3);
	rc = people_get(reader, str_from(ref), parts, now, arena, out);
	*found = rc == OK;
	return rc;
}

int people_scan_next(struct people_reader *reader, struct people_scan *scan, size_t max_rows, unsigned parts,
		     int64_t now, struct arena *arena, struct profile *out, bool *found)
{
	struct store_cursor *cursor;
	bool is_started = false;
	*found = false;
	CHECK(reader->is_open);
	int rc = store_cursor_open(reader->txn, reader->people->tables.rows, &cursor);
	if (rc) return rc;
	for (size_t i = 0; i < max_rows && rc == OK && !*found; i++) {
		rc = next_fragment(cursor, &is_started, scan);
		if (rc == ERR_NOT_FOUND) {
			scan->is_done = true;
			rc = OK;
			break;
		}
		if (rc == OK) rc = read_head(reader, &scan->after, parts, now, arena, out, found);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

uint64_t people_read_last_change(const struct people_reader *reader)
{
	CHECK(reader->is_open);
	return reader->checkpoint.last_change;
}

/* ── leases ──────────────────────────────────────────────────────────────── */

/* A slot holds seq + 1; 0: free. */
int people_lease_changes(struct people *people, uint64_t seq)
{
	for (int i = 0; i < PEOPLE_LEASES; i++) {
		uint64_t none = 0;
		if (atomic_compare_exchange_strong(&people->leases[i], &none, seq + 1)) return i;
	}
	return -1;
}

void people_end_lease(struct people *people, int lease)
{
	if (lease >= 0) atomic_store(&people->leases[lease], 0);
}

uint64_t people_leased(const struct people *people)
{
	uint64_t lowest = UINT64_MAX;
	for (int i = 0; i < PEOPLE_LEASES; i++) {
		uint64_t held = atomic_load(&people->leases[i]);
		if (held && held - 1 < lowest) lowest = held - 1;
	}
	return lowest;
}
