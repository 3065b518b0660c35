/* gunzip: streaming gzip inflation into a capped buffer. zlib lives here. */
#pragma once

#include "base/buf.h"

struct gunzip;
MUST_USE int gunzip_new(struct gunzip **out);
void gunzip_free(struct gunzip *gz);
/* Inflates `in` and appends to `out`. ERR_TOO_LARGE when out's cap would be passed (a bomb),
 * ERR_INVALID on broken data or bytes after the last member. Work per call is bounded by out's cap. */
MUST_USE int gunzip_feed(struct gunzip *gz, struct str in, struct buf *out);
/* OK when the stream ended cleanly, ERR_INVALID when it was cut short. */
MUST_USE int gunzip_end(const struct gunzip *gz);
static inline bool gunzip_is_magic(struct str data)
{
	return data.len >= 2 && (uint8_t)data.ptr[0] == 0x1f && (uint8_t)data.ptr[1] == 0x8b;
}
