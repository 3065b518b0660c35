/* gzip: one piece of bytes as one gzip member. gunzip.h is the way back. */
#pragma once

#include "base/buf.h"

struct gzip;
/* About 30 KB; fast rather than small. */
MUST_USE int gzip_new(struct gzip **out);
void gzip_free(struct gzip *gz);
/* Appends `in`, compressed; may be called again and again. ERR_TOO_LARGE when out's cap would be passed (`out` is as before). */
MUST_USE int gzip_pack(struct gzip *gz, struct str in, struct buf *out);
