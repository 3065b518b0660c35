/* rows: the rows of one training set in a file, in the order of their points. A row is written when its point comes and waits for its label;
 * labels are given in the same order. One thread writes; afterwards any number of readers look at the rows that have theirs. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

struct row_point { /* of a row; also its bytes in the file */
	uint32_t cells_len, member_count;
	uint8_t fragment[16], profile[16]; /* whom the label is followed through; who it was at the point */
	int64_t at_us;
	uint64_t seq; /* of the journal: the record at which the point came */
	double label;
};

struct rows;
MUST_USE int rows_open(const char *path, struct rows **out); /* a new file */
void rows_close(struct rows *rows);
/* `members`: ids of 16 bytes each; `cells`: text of any kind. ERR_FULL, ERR_IO. */
MUST_USE int rows_put(struct rows *rows, const struct row_point *point, const uint8_t *members, struct str cells);
/* The oldest row without a label. ERR_NOT_FOUND: there is none. */
MUST_USE int rows_head(struct rows *rows, struct row_point *out);
/* Gives it its label: the next one is the head. */
MUST_USE int rows_label(struct rows *rows, double label);
/* Nothing is put or labelled after it. */
MUST_USE int rows_finish(struct rows *rows);
uint64_t rows_count(const struct rows *rows); /* with a label; any thread */
uint64_t rows_waiting(const struct rows *rows);
uint64_t rows_bytes(const struct rows *rows);

/* ── reading, after rows_finish ──────────────────────────────────────────── */

struct row_reader { /* zeroed: before the first row */
	const struct rows *rows;
	uint64_t at;
	struct buf ahead; /* what was read of the file */
};
void row_reader_init(struct row_reader *reader, const struct rows *rows);
void row_reader_fini(struct row_reader *reader);
/* The next row with a label; members and cells are borrowed until the next call. ERR_NOT_FOUND: that was the last. */
MUST_USE int row_reader_next(struct row_reader *reader, struct row_point *point, const uint8_t **members,
			     struct str *cells);
