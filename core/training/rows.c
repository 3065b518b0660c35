#include "training/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define WRITE_BYTES ((size_t)1 << 20)
#define READ_BYTES  ((size_t)256 << 10)
#define ROW_MAX     ((size_t)64 << 20)

struct rows {
	int fd;
	struct buf tail;      /* not written yet */
	uint64_t end;         /* of the file, without the tail */
	uint64_t head;        /* where the oldest row without a label stands */
	uint64_t put, labels; /* rows */
	_Atomic uint64_t shown;
};

/* ── the file ────────────────────────────────────────────────────────────── */

static int write_at(int fd, const char *bytes, size_t len, uint64_t at)
{
	while (len) {
		ssize_t done = pwrite(fd, bytes, len, (off_t)at);
		if (done < 0 && errno == EINTR) continue;
		if (done <= 0) return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
		bytes += done;
		len -= (size_t)done;
		at += (uint64_t)done;
	}
	return OK;
}

/* ERR_NOT_FOUND: the file is shorter. */
static int read_at(int fd, char *bytes, size_t len, uint64_t at)
{
	while (len) {
		ssize_t done = pread(fd, bytes, len, (off_t)at);
		if (done < 0 && errno == EINTR) continue;
		if (done <= 0) return done ? ERR_IO : ERR_NOT_FOUND;
		bytes += done;
		len -= (size_t)done;
		at += (uint64_t)done;
	}
	return OK;
}

static size_t row_size(const struct row_point *point)
{
	return sizeof *point + (size_t)point->member_count * 16 + point->cells_len;
}

int rows_open(const char *path, struct rows **out)
{
	*out = NULL;
	struct rows *rows = calloc(1, sizeof *rows);
	if (!rows) return ERR_NOMEM;
	buf_init(&rows->tail, ROW_MAX + WRITE_BYTES);
	rows->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (rows->fd < 0) {
		int rc = errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
		rows_close(rows);
		return rc;
	}
	*out = rows;
	return OK;
}

void rows_close(struct rows *rows)
{
	if (!rows) return;
	if (rows->fd >= 0) (void)close(rows->fd);
	buf_fini(&rows->tail);
	free(rows);
}

static int flush(struct rows *rows)
{
	int rc = write_at(rows->fd, buf_ptr(&rows->tail), rows->tail.len, rows->end);
	if (rc) return rc;
	rows->end += rows->tail.len;
	buf_clear(&rows->tail);
	return OK;
}

int rows_put(struct rows *rows, const struct row_point *point, const uint8_t *members, struct str cells)
{
	struct row_point stored = *point;
	stored.cells_len = (uint32_t)cells.len;
	if (cells.len > ROW_MAX / 2) return ERR_TOO_LARGE;
	int rc = buf_append(&rows->tail, &stored, sizeof stored);
	if (!rc && point->member_count) rc = buf_append(&rows->tail, members, (size_t)point->member_count * 16);
	if (!rc) rc = buf_append_str(&rows->tail, cells);
	if (rc) return rc;
	rows->put++;
	return rows->tail.len >= WRITE_BYTES ? flush(rows) : OK;
}

int rows_head(struct rows *rows, struct row_point *out)
{
	if (rows->labels == rows->put) return ERR_NOT_FOUND;
	if (rows->head < rows->end) return read_at(rows->fd, (char *)out, sizeof *out, rows->head);
	memcpy(out, buf_ptr(&rows->tail) + (rows->head - rows->end), sizeof *out);
	return OK;
}

int rows_label(struct rows *rows, double label)
{
	struct row_point point;
	int rc = rows_head(rows, &point);
	if (rc) return rc;
	uint64_t at = rows->head + offsetof(struct row_point, label);
	if (rows->head < rows->end)
		rc = write_at(rows->fd, (const char *)&label, sizeof label, at);
	else
		memcpy(buf_ptr(&rows->tail) + (at - rows->end), &label, sizeof label);
	if (rc) return rc;
	rows->head += row_size(&point);
	rows->labels++;
	atomic_store_explicit(&rows->shown, rows->labels, memory_order_relaxed);
	return OK;
}

int rows_finish(struct rows *rows)
{
	return rows->tail.len ? flush(rows) : OK;
}

uint64_t rows_count(const struct rows *rows)
{
	return atomic_load_explicit(&rows->shown, memory_order_relaxed);
}

uint64_t rows_waiting(const struct rows *rows)
{
	return rows->put - rows->labels;
}

uint64_t rows_bytes(const struct rows *rows)
{
	return rows->end + rows->tail.len;
}

/* ── reading ─────────────────────────────────────────────────────────────── */

void row_reader_init(struct row_reader *reader, const struct rows *rows)
{
	*reader = (struct row_reader){.rows = rows};
	buf_init(&reader->ahead, ROW_MAX + READ_BYTES);
}

void row_reader_fini(struct row_reader *reader)
{
	buf_fini(&reader->ahead);
}

/* At least `want` bytes of what follows are in `ahead`. */
static int fetch(struct row_reader *reader, size_t want)
{
	char *tail;
	if (reader->ahead.len >= want) return OK;
	uint64_t from = reader->at + reader->ahead.len, left = reader->rows->end - from;
	size_t more = want - reader->ahead.len;
	if (more < READ_BYTES) more = READ_BYTES;
	if (more > left) more = (size_t)left;
	if (reader->ahead.len + more < want) return ERR_CORRUPT;
	int rc = buf_reserve(&reader->ahead, more, &tail);
	if (!rc) rc = read_at(reader->rows->fd, tail, more, from);
	if (!rc) buf_commit(&reader->ahead, more);
	return rc;
}

int row_reader_next(struct row_reader *reader, struct row_point *point, const uint8_t **members, struct str *cells)
{
	if (reader->at >= reader->rows->head) return ERR_NOT_FOUND;
	int rc = fetch(reader, sizeof *point);
	if (rc) return rc;
	memcpy(point, buf_ptr(&reader->ahead), sizeof *point);
	size_t size = row_size(point);
	rc = fetch(reader, size);
	if (rc) return rc;
	const char *bytes = buf_ptr(&reader->ahead) + sizeof *point;
	*members = (const uint8_t *)bytes;
	*cells = (struct str){bytes + (size_t)point->member_count * 16, point->cells_len};
	buf_consume(&reader->ahead, size); /* its bytes stay where they are until something is appended */
	reader->at += size;
	return OK;
}
