/* buf: a growable byte buffer that always has a cap. One owner, no locking.
 *
 * Bytes sit in [data + head, data + head + len). Consuming moves `head`; appending
 * compacts or grows. BUF_SLACK readable bytes always follow the content (their value is
 * unspecified), so a JSON parser may over-read. */
#pragma once

#include "base/str.h"

#define BUF_SLACK 64

struct buf {
	char *data;
	size_t head, len, size; /* size: allocated bytes, BUF_SLACK included */
	size_t cap;             /* largest content length allowed */
};

void buf_init(struct buf *buf, size_t cap);    /* allocates nothing; cap must be > 0 */
void buf_fini(struct buf *buf);                /* frees; may be called twice */
void buf_clear(struct buf *buf);               /* forgets the content, keeps the memory */
void buf_shrink(struct buf *buf, size_t keep); /* frees the memory when empty and larger than keep */

static inline char *buf_ptr(const struct buf *buf)
{
	return buf->data + buf->head;
}
static inline struct str buf_str(const struct buf *buf)
{
	return buf->data ? (struct str){buf->data + buf->head, buf->len} : STR_NONE;
}

/* ERR_TOO_LARGE past the cap (content unchanged), ERR_NOMEM. */
MUST_USE int buf_append(struct buf *buf, const void *data, size_t len);
MUST_USE int buf_append_str(struct buf *buf, struct str text);
MUST_USE int buf_putc(struct buf *buf, char c);
MUST_USE int buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room for at least `want` more bytes at *out (the free tail); then buf_commit what was written. */
MUST_USE int buf_reserve(struct buf *buf, size_t want, char **out);
void buf_commit(struct buf *buf, size_t len);
void buf_consume(struct buf *buf, size_t len); /* len <= buf->len */
void buf_cut(struct buf *buf, size_t len);     /* takes back what was appended since it held len bytes */
