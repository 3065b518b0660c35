/* temp_dir: a folder of its own for each test, removed with everything in it. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

#define TEMP_DIR_SIZE 256

static inline void temp_dir_make(char out[TEMP_DIR_SIZE])
{
	const char *base = getenv("TMPDIR");
	(void)snprintf(out, TEMP_DIR_SIZE, "%s/cdpd-fold-XXXXXX", base ? base : "/tmp");
	CHECK(mkdtemp(out));
}

static inline int temp_dir_unlink(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info;
	(void)kind;
	(void)where;
	return remove(path);
}

static inline void temp_dir_remove(const char *path)
{
	(void)nftw(path, temp_dir_unlink, 16, FTW_DEPTH | FTW_PHYS);
}
