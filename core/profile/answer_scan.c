#include "profile/answer_scan.h"

#include "base/clock.h"
#include "profile/origin.h"
#include "profile/piece.h"
#include "profile/reader.h"
#include "profile/trait.h"

#define ID_SIZE sizeof(((struct fragment_id *)0)->bytes)

/* The bytes of one row as they come by, piece after piece: do they hold the form's name? */
struct sieve {
	bool is_there, has_name;
	char tail[ORIGIN_NAME_MAX]; /* of the chunk before: the name may lie across the cut */
	size_t tail_len;
};

struct scan {
	struct people_reader *reader;
	const struct answer_scan *order;
	struct fragment_id id; /* of the rows in the sieves */
	struct sieve fragment, merged;
};

static bool holds(struct str bytes, struct str name)
{
	return bytes.len && memmem(bytes.ptr, bytes.len, name.ptr, name.len);
}

static void pass_chunk(struct sieve *sieve, struct str bytes, struct str name)
{
	char seam[2 * ORIGIN_NAME_MAX];
	size_t head = bytes.len < ORIGIN_NAME_MAX ? bytes.len : ORIGIN_NAME_MAX;
	if (sieve->has_name) return;
	memcpy(seam, sieve->tail, sieve->tail_len);
	memcpy(seam + sieve->tail_len, bytes.ptr, head);
	sieve->has_name = holds(str_of(seam, sieve->tail_len + head), name) || holds(bytes, name);
	sieve->tail_len = head;
	memcpy(sieve->tail, bytes.ptr + bytes.len - head, head);
}

static void pass(struct scan *scan, struct str key, struct str value)
{
	uint8_t kind = (uint8_t)key.ptr[ID_SIZE];
	bool is_merged = kind == PIECE_MERGED || kind == PIECE_MERGED_CHUNK;
	struct sieve *sieve = is_merged ? &scan->merged : &scan->fragment;
	if (kind == PIECE_HEAD || kind == PIECE_MERGED) {
		sieve->is_there = true;
		sieve->has_name = holds(value, scan->order->form);
	} else if (value.len > PIECE_CHUNK_HEADER) {
		pass_chunk(sieve, str_of(value.ptr + PIECE_CHUNK_HEADER, value.len - PIECE_CHUNK_HEADER),
			   scan->order->form);
	}
}

/* ── a row that may hold answers ─────────────────────────────────────────── */

static bool is_of_form(const struct scan *scan, const struct row_trait *trait, struct trait_origin *origin)
{
	return trait->provenance == PROVENANCE_DECLARED && trait->origin.len &&
	       origin_decode(trait->origin, origin) == OK && str_eq(origin->form, scan->order->form);
}

/* There is one declared value of each name, and nothing is stronger. */
static int collect(const struct scan *scan, const struct row *view)
{
	size_t count = 0;
	struct answer_found *found = arena_array(scan->order->scratch, struct answer_found, view->trait_count + 1);
	if (!found) return ERR_NOMEM;
	for (size_t i = 0; i < view->trait_count; i++) {
		struct trait_origin origin;
		const struct row_trait *trait = &view->traits[i];
		if (!is_of_form(scan, trait, &origin)) continue;
		found[count++] =
		    (struct answer_found){.trait = trait->name,
					  .question = origin.question,
					  .value = trait->value,
					  .version = origin.version,
					  .at = trait->stamp->time,
					  .is_expired = origin_is_expired(trait->origin, scan->order->now)};
	}
	return count ? scan->order->fn(scan->order->ctx, found, count) : OK;
}

/* Only the row that shows the profile: the merged one, or a fragment that is alone. */
static int look(struct scan *scan)
{
	bool is_merged = scan->merged.is_there;
	const struct sieve *sieve = is_merged ? &scan->merged : &scan->fragment;
	struct row *row;
	if (!sieve->is_there || !sieve->has_name) return OK;
	int rc = reader_row(scan->reader, &scan->id, is_merged, true, scan->order->scratch, &row);
	bool is_view = rc == OK && (is_merged || (fragment_id_eq(&row->profile, &row->id) && !row->has_merged));
	if (is_view) rc = collect(scan, row);
	arena_reset(scan->order->scratch);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static void begin_id(struct scan *scan, const char *id)
{
	memcpy(scan->id.bytes, id, ID_SIZE);
	scan->fragment = scan->merged = (struct sieve){.is_there = false};
}

static int walk(struct scan *scan, struct store_cursor *cursor, bool *is_done)
{
	const struct answer_range *range = &scan->order->range;
	struct str key = str_of(range->from.bytes, ID_SIZE), value;
	int64_t deadline = clock_mono_us() + scan->order->budget_us;
	bool has_id = false;
	*is_done = true;
	int rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	for (; rc == OK; rc = store_cursor_move(cursor, STORE_NEXT, &key, &value)) {
		if (key.len <= ID_SIZE) return ERR_CORRUPT;
		if (!has_id || memcmp(scan->id.bytes, key.ptr, ID_SIZE) != 0) {
			int looked = has_id ? look(scan) : OK;
			if (looked != OK) return looked;
			*is_done = memcmp(key.ptr, range->to.bytes, ID_SIZE) > 0;
			if (*is_done || (has_id && clock_mono_us() >= deadline)) return OK;
			begin_id(scan, key.ptr);
			has_id = true;
		}
		pass(scan, key, value);
	}
	*is_done = true;
	if (rc != ERR_NOT_FOUND) return rc;
	return has_id ? look(scan) : OK;
}

int people_scan_answers(struct people_reader *reader, const struct answer_scan *order, struct answer_scanned *out)
{
	struct scan scan = {.reader = reader, .order = order, .id = order->range.from};
	struct store_cursor *cursor;
	CHECK(order->form.len && order->form.len <= ORIGIN_NAME_MAX);
	int rc = people_read_begin(reader, &out->applied);
	if (rc != OK) return rc;
	out->seen = reader->checkpoint.last_change;
	rc = store_cursor_open(reader->txn, reader->people->tables.rows, &cursor);
	if (rc == OK) {
		rc = walk(&scan, cursor, &out->is_done);
		store_cursor_close(cursor);
	}
	people_read_end(reader);
	out->last = scan.id;
	return rc;
}
