/* watched: a file that is loaded into memory once for all instances of a plugin, and loaded anew when it changes. Compiled into each
 * plugin that asks for it; knows nothing of what is in the file.
 *
 * A thread of its own looks at the file; whoever reads never waits for it: a new version is made whole beside the old one, and each
 * reader moves over with its next call. A file that cannot be read leaves the old version in force. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define WATCHED_WHY_MAX 400

/* Any thread; both may block. */
struct watched_kind {
	/* NULL: `why` says why not, without the path. */
	void *(*load)(const char *path, char why[WATCHED_WHY_MAX]);
	void (*unload)(void *object);
};

enum watched_news { WATCHED_LOADED, WATCHED_FAILED };
/* On the watching thread. `why` only with WATCHED_FAILED. Told once for each change of the file. */
typedef void (*watched_fn)(void *ctx, enum watched_news news, const char *path, const char *why);

/* One reader's view of a file; one thread at a time. */
struct watched_reader;

/* Loads the file, or shares what another reader of the same path and kind has loaded. `every_ms`: how often the file is looked at (the
 * shortest of all readers' counts; 0: never). `tell` may be NULL; the first reader's is called, as long as it is open. NULL: why. */
struct watched_reader *watched_open(const struct watched_kind *kind, const char *path, int64_t every_ms,
				    watched_fn tell, void *ctx, char why[WATCHED_WHY_MAX]);
/* The newest version, valid until the next call for this reader. `*is_new`: another than last time. */
const void *watched_get(struct watched_reader *reader, int *is_new);
/* NULL is fine. The thread ends with the last reader. */
void watched_close(struct watched_reader *reader);
