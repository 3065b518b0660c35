#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SMALLEST 512

void buf_init(struct buf *buf, size_t cap)
{
	CHECK(cap > 0 && cap < SIZE_MAX / 4);
	*buf = (struct buf){.cap = cap};
}

void buf_fini(struct buf *buf)
{
	free(buf->data);
	buf->data = NULL;
	buf->head = buf->len = buf->size = 0;
}

void buf_clear(struct buf *buf)
{
	buf->head = buf->len = 0;
}

void buf_shrink(struct buf *buf, size_t keep)
{
	if (buf->len == 0 && buf->size > keep) buf_fini(buf);
}

static int grow(struct buf *buf, size_t need)
{
	size_t size = buf->size * 2;
	if (size < SMALLEST) size = SMALLEST;
	if (size > buf->cap + BUF_SLACK) size = buf->cap + BUF_SLACK;
	if (size < need) size = need;
	char *data = malloc(size);
	if (!data) return ERR_NOMEM;
	if (buf->data) memcpy(data, buf->data + buf->head, buf->len);
	free(buf->data);
	buf->data = data;
	buf->head = 0;
	buf->size = size;
	return OK;
}

int buf_reserve(struct buf *buf, size_t want, char **out)
{
	if (want > buf->cap - buf->len) return ERR_TOO_LARGE;
	size_t need = buf->len + want + BUF_SLACK;
	if (!buf->data || buf->head + need > buf->size) {
		/* Moving pays only when it frees at least as much as it moves; else it could go quadratic. */
		if (buf->data && need <= buf->size && buf->head >= buf->len) {
			memmove(buf->data, buf->data + buf->head, buf->len);
			buf->head = 0;
		} else {
			int rc = grow(buf, need);
			if (rc != OK) return rc;
		}
	}
	*out = buf->data + buf->head + buf->len;
	return OK;
}

void buf_commit(struct buf *buf, size_t len)
{
	CHECK(len == 0 || (buf->head + buf->len + len + BUF_SLACK <= buf->size && len <= buf->cap - buf->len));
	buf->len += len;
}

int buf_append(struct buf *buf, const void *data, size_t len)
{
	char *tail;
	if (len == 0) return OK;
	int rc = buf_reserve(buf, len, &tail);
	if (rc != OK) return rc;
	memcpy(tail, data, len);
	buf->len += len;
	return OK;
}

int buf_append_str(struct buf *buf, struct str text)
{
	return buf_append(buf, text.ptr, text.len);
}

int buf_putc(struct buf *buf, char c)
{
	return buf_append(buf, &c, 1);
}

int buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list args;
	char *tail;
	va_start(args, fmt);
	int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0) return ERR_INVALID;
	int rc = buf_reserve(buf, (size_t)len, &tail);
	if (rc != OK) return rc;
	va_start(args, fmt);
	/* The NUL goes into the slack. */
	(void)vsnprintf(tail, (size_t)len + 1, fmt, args);
	va_end(args);
	buf->len += (size_t)len;
	return OK;
}

void buf_consume(struct buf *buf, size_t len)
{
	CHECK(len <= buf->len);
	buf->len -= len;
	buf->head = buf->len ? buf->head + len : 0;
}

void buf_cut(struct buf *buf, size_t len)
{
	CHECK(len <= buf->len);
	buf->len = len;
}
