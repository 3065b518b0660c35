#include "base/gunzip.h"

#include <stdlib.h>
#include <zlib.h>

#define GZIP_ONLY (15 + 16) /* largest window, gzip framing required */
#define STEP      ((size_t)64 << 10)

struct gunzip {
	z_stream stream;
	bool is_at_end; /* the last byte fed ended a member */
};

int gunzip_new(struct gunzip **out)
{
	struct gunzip *gz = calloc(1, sizeof *gz);
	if (!gz) return ERR_NOMEM;
	if (inflateInit2(&gz->stream, GZIP_ONLY) != Z_OK) {
		free(gz);
		return ERR_NOMEM;
	}
	*out = gz;
	return OK;
}

void gunzip_free(struct gunzip *gz)
{
	if (!gz) return;
	(void)inflateEnd(&gz->stream);
	free(gz);
}

static int status_of(int code)
{
	if (code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR) return OK;
	return code == Z_MEM_ERROR ? ERR_NOMEM : ERR_INVALID;
}

/* One inflate() into out's free tail. With out at its cap a single byte of scratch tells an end from an overflow. */
static int inflate_step(z_stream *stream, struct buf *out)
{
	size_t room = out->cap - out->len;
	char scratch[1], *tail = scratch;
	if (room > STEP) room = STEP;
	if (room > 0) {
		int rc = buf_reserve(out, room, &tail);
		if (rc != OK) return rc;
	}
	stream->next_out = (Bytef *)tail;
	stream->avail_out = room ? (uInt)room : 1;
	int code = inflate(stream, Z_NO_FLUSH);
	size_t made = (room ? room : 1) - stream->avail_out;
	if (room == 0 && made > 0) return ERR_TOO_LARGE;
	buf_commit(out, made);
	if (code == Z_NEED_DICT) return ERR_INVALID;
	return code == Z_STREAM_END ? Z_STREAM_END : status_of(code);
}

static int feed_piece(struct gunzip *gz, struct buf *out)
{
	z_stream *stream = &gz->stream;
	do {
		if (gz->is_at_end) {
			if (stream->avail_in == 0) return OK;
			if (inflateReset(stream) != Z_OK) return ERR_INVALID;
			gz->is_at_end = false;
		}
		int rc = inflate_step(stream, out);
		if (rc < 0) return rc;
		gz->is_at_end = rc == Z_STREAM_END;
		/* A full output window may hide more output even when all input is taken. */
	} while (stream->avail_in > 0 || stream->avail_out == 0);
	return OK;
}

int gunzip_feed(struct gunzip *gz, struct str in, struct buf *out)
{
	const size_t most = (size_t)1 << 30; /* zlib counts in unsigned int */
	while (in.len > 0) {
		size_t piece = in.len < most ? in.len : most;
		gz->stream.next_in = (Bytef *)(uintptr_t)in.ptr;
		gz->stream.avail_in = (uInt)piece;
		int rc = feed_piece(gz, out);
		if (rc != OK) return rc;
		in.ptr += piece;
		in.len -= piece;
	}
	return OK;
}

int gunzip_end(const struct gunzip *gz)
{
	return gz->is_at_end ? OK : ERR_INVALID;
}
