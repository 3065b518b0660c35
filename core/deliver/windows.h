/* windows: what streams say, read and rendered once for all destinations that are near each other. Bounded; what was rendered some seconds ago
 * is forgotten, so that nobody gets it as it was long before. Any thread. */
#pragma once

#include "deliver/stream.h"

struct windows;

MUST_USE int windows_new(struct deliver_shared *shared, struct windows **out);
void windows_free(struct windows *windows); /* stopped */
/* The thread that reads ahead. */
MUST_USE int windows_start(struct windows *windows);
void windows_stop(struct windows *windows); /* fine when it was not started */
/* The window that begins at `position` will be asked for soon: it is read meanwhile, if the thread has time. */
void windows_ahead(struct windows *windows, const struct stream *stream, uint64_t position);
/* A window of the stream that holds `position`, with a reference for the caller; from there on it is what `gather` promises. It may begin before
 * `position`. Waits for another thread that is reading the same. Errors are gather's. */
MUST_USE int windows_get(struct windows *windows, struct stream_reader *reader, const struct stream *stream,
			 uint64_t position, struct stream_window **out);
