#include <endian.h>

#include "base/crc32c.h"
#include "journal/rewrite.h"
#include "journal/state.h"

/* A row: this header, then the texts one after the other, each cut to its cap. */
enum { TEXT_CODE, TEXT_SOURCE, TEXT_MESSAGE_ID, TEXT_POINTER, TEXT_DETAIL, TEXT_EXCERPT, TEXT_COUNT };
static const uint16_t text_caps[TEXT_COUNT] = {64, 64, 128, 256, 256, JOURNAL_EXCERPT_MAX};

#define ROW_FORMAT 1
struct row_header {
	uint32_t crc; /* over all that follows */
	uint32_t format;
	uint64_t t;
	uint32_t index;
	uint16_t lens[TEXT_COUNT];
};
_Static_assert(sizeof(struct row_header) == 32, "the header's layout is the disk's");
#define ROW_CRC_FROM offsetof(struct row_header, format)
#define ROW_MAX      (sizeof(struct row_header) + 64 + 64 + 128 + 256 + 256 + JOURNAL_EXCERPT_MAX)

static size_t write_row(const struct journal_reject *reject, int64_t t, char out[ROW_MAX])
{
	struct str texts[TEXT_COUNT] = {
	    [TEXT_CODE] = str_from(problem_info(reject->reason)->code),
	    [TEXT_SOURCE] = reject->source_id,
	    [TEXT_MESSAGE_ID] = reject->message_id,
	    [TEXT_POINTER] = reject->pointer,
	    [TEXT_DETAIL] = reject->detail,
	    [TEXT_EXCERPT] = reject->excerpt,
	};
	struct row_header header = {
	    .format = htole32(ROW_FORMAT), .t = htole64((uint64_t)t), .index = htole32(reject->index)};
	size_t len = sizeof header;
	for (int i = 0; i < TEXT_COUNT; i++) {
		uint16_t text_len = (uint16_t)(texts[i].len < text_caps[i] ? texts[i].len : text_caps[i]);
		header.lens[i] = htole16(text_len);
		memcpy(out + len, texts[i].ptr, text_len);
		len += text_len;
	}
	memcpy(out, &header, sizeof header);
	header.crc = htole32(crc32c(0, out + ROW_CRC_FROM, len - ROW_CRC_FROM));
	memcpy(out, &header.crc, sizeof header.crc);
	return len;
}

static int read_row(uint64_t id, struct str bytes, struct journal_reject_row *out)
{
	struct row_header header;
	struct str texts[TEXT_COUNT];
	if (bytes.len < sizeof header) return ERR_CORRUPT;
	memcpy(&header, bytes.ptr, sizeof header);
	if (le32toh(header.crc) != crc32c(0, bytes.ptr + ROW_CRC_FROM, bytes.len - ROW_CRC_FROM)) return ERR_CORRUPT;
	if (le32toh(header.format) > ROW_FORMAT) return ERR_FORMAT;
	size_t at = sizeof header;
	for (int i = 0; i < TEXT_COUNT; i++) {
		size_t len = le16toh(header.lens[i]);
		if (len > bytes.len - at) return ERR_CORRUPT;
		texts[i] = (struct str){bytes.ptr + at, len};
		at += len;
	}
	*out = (struct journal_reject_row){
	    .id = id,
	    .t = (int64_t)le64toh(header.t),
	    .reject = {.reason = PROBLEM_INTERNAL,
		       .source_id = texts[TEXT_SOURCE],
		       .message_id = texts[TEXT_MESSAGE_ID],
		       .pointer = texts[TEXT_POINTER],
		       .detail = texts[TEXT_DETAIL],
		       .excerpt = texts[TEXT_EXCERPT],
		       .index = le32toh(header.index)},
	};
	(void)problem_from_code(texts[TEXT_CODE], &out->reject.reason); /* unknown: of a code since withdrawn */
	return OK;
}

int rejects_put(struct segment *segment, struct store_txn *txn, struct journal_meta *meta, uint64_t budget,
		const struct journal_reject *reject)
{
	char row[ROW_MAX];
	meta->counters.rejected++;
	meta->counters.rejected_by[reject->reason]++;
	size_t len = write_row(reject, meta->last_t, row);
	if (meta->reject_bytes + len > budget) {
		meta->counters.rejects_not_kept++;
		return OK;
	}
	meta->reject_bytes += len;
	uint64_t id = meta->next_reject_id++;
	return store_append(txn, segment->rejects, store_key64(&id), str_of(row, len));
}

int rejects_read(struct str key, struct str value, struct journal_reject_row *out)
{
	uint64_t id;
	if (key.len != sizeof id) return ERR_CORRUPT;
	memcpy(&id, key.ptr, sizeof id);
	return read_row(id, value, out);
}

/* ── listing ── */

/* Rows are copied out of a short transaction, a page at a time, before anyone is called. */
#define PAGE_ROWS  64
#define PAGE_BYTES ((size_t)64 * 1024)
struct page {
	struct arena arena;
	struct journal_reject_row rows[PAGE_ROWS];
	size_t count;
	uint64_t below_id;
};

/* Stands the cursor on the newest row below the id. */
static int seek_below(struct store_cursor *cursor, uint64_t below_id, struct str *key, struct str *value)
{
	*key = store_key64(&below_id);
	int rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, key, value);
	return store_cursor_move(cursor, rc == ERR_NOT_FOUND ? STORE_LAST : STORE_PREV, key, value);
}

static int copy_row(struct page *page, struct str key, struct str value)
{
	uint64_t id;
	struct str copy;
	if (key.len != sizeof id) return ERR_CORRUPT;
	memcpy(&id, key.ptr, sizeof id);
	int rc = arena_str(&page->arena, value, &copy);
	if (rc == OK) rc = read_row(id, copy, &page->rows[page->count]);
	if (rc != OK) return rc;
	page->count++;
	page->below_id = id;
	return OK;
}

/* The next older rows of one segment; none: it has no more. */
static int fill_page(struct segment *segment, struct page *page)
{
	struct store_txn *txn;
	struct store_cursor *cursor;
	struct str key, value;
	page->count = 0;
	arena_reset(&page->arena);
	int rc = store_begin(segment->env, false, &txn);
	if (rc != OK) return rc;
	rc = store_cursor_open(txn, segment->rejects, &cursor);
	if (rc == OK) {
		rc = seek_below(cursor, page->below_id, &key, &value);
		while (rc == OK && page->count < PAGE_ROWS) {
			rc = copy_row(page, key, value);
			if (rc == OK) rc = store_cursor_move(cursor, STORE_PREV, &key, &value);
		}
		store_cursor_close(cursor);
	}
	store_abort(txn);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int list_segment(struct segment *segment, struct page *page,
			int (*fn)(void *ctx, const struct journal_reject_row *row), void *ctx, bool *stop)
{
	for (;;) {
		int rc = fill_page(segment, page);
		if (rc != OK || page->count == 0) return rc;
		for (size_t i = 0; i < page->count && !*stop; i++) *stop = fn(ctx, &page->rows[i]) != 0;
		if (*stop) return OK;
	}
}

int journal_rejects(struct journal *journal, uint64_t below_id,
		    int (*fn)(void *ctx, const struct journal_reject_row *row), void *ctx)
{
	struct page page = {.below_id = below_id ? below_id : UINT64_MAX};
	bool stop = false;
	uint64_t seq = UINT64_MAX; /* some position of the segment to look at next */
	int rc = OK;
	arena_init(&page.arena, PAGE_BYTES, 8 * PAGE_BYTES);
	while (rc == OK && !stop && seq > 0) {
		struct segment *segment;
		rc = segment_acquire(&journal->segments, seq, &segment);
		if (rc != OK) break;
		rc = list_segment(segment, &page, fn, ctx, &stop);
		seq = segment->first_seq - 1;
		segment_release(&journal->segments, segment);
	}
	arena_fini(&page.arena);
	return rc == ERR_GONE ? OK : rc;
}

int journal_segment_rejects(struct journal *journal, uint64_t first,
			    int (*fn)(void *ctx, const struct journal_reject_row *row), void *ctx)
{
	struct page page = {.below_id = UINT64_MAX};
	struct segment *segment;
	bool stop = false;
	int rc = segment_acquire(&journal->segments, first, &segment);
	if (rc != OK) return rc;
	arena_init(&page.arena, PAGE_BYTES, 8 * PAGE_BYTES);
	rc = list_segment(segment, &page, fn, ctx, &stop);
	arena_fini(&page.arena);
	segment_release(&journal->segments, segment);
	return rc;
}
