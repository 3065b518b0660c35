#include "base/gzip.h"

#include <stdlib.h>
#include <zlib.h>

#define WINDOW_BITS  (12 + 16) /* a small window and gzip's framing: memory counts, many streams may be open */
#define MEMORY_LEVEL 5

struct gzip {
	z_stream stream;
};

int gzip_new(struct gzip **out)
{
	struct gzip *gz = calloc(1, sizeof *gz);
	if (!gz) return ERR_NOMEM;
	if (deflateInit2(&gz->stream, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) !=
	    Z_OK) {
		free(gz);
		return ERR_NOMEM;
	}
	*out = gz;
	return OK;
}

void gzip_free(struct gzip *gz)
{
	if (!gz) return;
	(void)deflateEnd(&gz->stream); /* of an unfinished stream it says Z_DATA_ERROR */
	free(gz);
}

int gzip_pack(struct gzip *gz, struct str in, struct buf *out)
{
	char *tail;
	if (in.len > INT32_MAX) return ERR_TOO_LARGE;
	if (deflateReset(&gz->stream) != Z_OK) return ERR_INVALID;
	size_t bound = deflateBound(&gz->stream, in.len);
	int rc = buf_reserve(out, bound, &tail);
	if (rc != OK) return rc;
	gz->stream.next_in = (Bytef *)(uintptr_t)in.ptr;
	gz->stream.avail_in = (uInt)in.len;
	gz->stream.next_out = (Bytef *)tail;
	gz->stream.avail_out = (uInt)bound;
	CHECK(deflate(&gz->stream, Z_FINISH) == Z_STREAM_END); /* the bound is zlib's own promise */
	buf_commit(out, bound - gz->stream.avail_out);
	return OK;
}
