/* latest: which records of a batch a later one of the same person makes pointless: a profile says all that the person is. */
#pragma once

#include <stdint.h>

#include "cdpd_plugin.h"

struct latest {
	uint32_t *slots; /* index of a record + 1; 0: free */
	size_t size;     /* a power of two */
};

/* Sets is_stale of each profile in [from, to) that another one of the same id follows, and clears it of all others. false: out of memory. */
bool latest_mark(struct latest *latest, const struct cdpd_record *records, size_t from, size_t to, bool *is_stale);
void latest_free(struct latest *latest);
