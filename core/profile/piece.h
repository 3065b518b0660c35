/* piece: how a row lies in the `rows` database. Nothing here needs an LMDB overflow page, and an update of the
 * usual kind replaces a value by one of the same size in place.
 *
 *   key    fragment id (16) · kind u8 [· number u16, big endian: chunks only]
 *          0x00 a fragment's head, 0x01 the merged row's head, 0x10 and 0x11 their chunks: a person's merged row
 *          lies beside the strongest fragment, on the same leaf
 *   head   format u8 · kind u8 · used u16 · crc32c u32 · hot length u32 · cold length u32 · content, zeroes up to
 *          one of the sizes 480 and 990
 *   chunk  format u8 · kind u8 · used u16 · crc32c u32 · content (at most 1,992 bytes)
 *
 * The crc covers the key and the value without itself. When both sections fit into the head they are in it; else the
 * head holds the hot section alone and the chunks the cold one; a hot section larger than a head runs on into the
 * chunks, before the cold one. */
#pragma once

#include "profile/row.h"

#define PIECE_HEAD_SMALL    480
#define PIECE_HEAD_LARGE    990
#define PIECE_HEAD_HEADER   16
#define PIECE_HEAD_CONTENT  (PIECE_HEAD_LARGE - PIECE_HEAD_HEADER)
#define PIECE_CHUNK_MAX     2000
#define PIECE_CHUNK_HEADER  8
#define PIECE_CHUNK_CONTENT (PIECE_CHUNK_MAX - PIECE_CHUNK_HEADER)
#define PIECE_KEY_MAX       19
#define PIECE_CHUNKS_MAX    65535

enum piece_kind { PIECE_HEAD = 0x00, PIECE_MERGED = 0x01, PIECE_HEAD_CHUNK = 0x10, PIECE_MERGED_CHUNK = 0x11 };

/* A row as it is stored, copied into an arena. */
struct stored_row {
	struct str head; /* the whole head value; empty: there is no such row */
	uint32_t hot_len, cold_len;
	struct str content; /* the head's */
	bool has_tail;      /* the chunks were read (or there are none) */
	struct str tail;    /* their content, joined */
};

/* Reads the head only. ERR_NOT_FOUND; ERR_FORMAT from a newer cdpd; ERR_CORRUPT; ERR_NOMEM. */
MUST_USE int stored_row_read(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
			     struct arena *arena, struct stored_row *out);
MUST_USE int stored_row_read_tail(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
				  struct arena *arena, struct stored_row *row);
/* The sections; the hot one may need the tail (when it does not fit the head), the cold one too. */
bool stored_row_hot_needs_tail(const struct stored_row *row);
bool stored_row_cold_needs_tail(const struct stored_row *row);
MUST_USE int stored_row_sections(const struct stored_row *row, struct arena *arena, struct str *hot, struct str *cold);

/* Writes the pieces that differ from `old` (head empty: a new row). `cold` may be NULL when it is unchanged and
 * row_can_keep_chunks() says that no chunk would move. */
bool stored_row_can_keep_chunks(const struct stored_row *old, size_t hot_len);
MUST_USE int stored_row_write(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
			      const struct stored_row *old, struct str hot, const struct str *cold);
MUST_USE int stored_row_delete(struct store_txn *txn, store_db rows, const struct fragment_id *id, bool is_merged,
			       const struct stored_row *old);
/* Pages a write of that row may touch. */
size_t stored_row_pages(size_t hot_len, size_t cold_len);
