/* complaint: everything that is wrong with a configuration, collected so that one run shows it all. */
#pragma once

#include "base/buf.h"
#include "config/tree.h"

struct complaints {
	const char *file;
	/* NULL, or who takes the complaints of `complain` instead of `text`: with places that are no lines of a file. */
	void (*on_fault)(void *ctx, int place, const char *what);
	void *ctx;
	struct buf text; /* one a line, without a last newline */
	size_t count;
	int status; /* sticky: ERR_NOMEM */
};

void complaints_init(struct complaints *complaints, const char *file);
void complaints_fini(struct complaints *complaints);
/* "file:line: what"; a line of 0 was made by --set. Past a hundred only counts. */
void complain(struct complaints *complaints, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* A text that is complete already. */
void complain_whole(struct complaints *complaints, struct str text);
/* ", did you mean 'x'?" for the text of a complaint: writes it to `out`, or an empty text. */
#define SUGGESTION_SIZE 128
const char *suggest(struct str word, const char *const *candidates, size_t count, char out[SUGGESTION_SIZE]);
