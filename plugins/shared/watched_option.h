/* watched_option: a file that an option names, watched (watched.h): when it changes, that is logged and counted the same way by every plugin. */
#pragma once

#include "setup.h"
#include "watched.h"

struct watched_option {
	struct setup setup;
	int reloads, failures; /* counters */
};

/* Lives as long as the reader. NULL: the file cannot be used, or its path is too long; told, with `hint` (maybe "") behind the cause. */
struct watched_reader *watched_option_open(struct watched_option *option, const struct watched_kind *kind,
					   const char *name, struct cdpd_str path, int64_t every_us, const char *hint);
