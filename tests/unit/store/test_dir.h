/* test_dir: a directory of its own for a test, removed with all that is in it. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/status.h"

struct test_dir {
	char path[256];
};

static inline struct test_dir test_dir_make_in(const char *base)
{
	struct test_dir dir;
	int len = snprintf(dir.path, sizeof dir.path, "%s/cdpd-test-XXXXXX", base);
	CHECK(len > 0 && (size_t)len < sizeof dir.path && mkdtemp(dir.path));
	return dir;
}

static inline struct test_dir test_dir_make(void)
{
	const char *base = getenv("TMPDIR");
	return test_dir_make_in(base ? base : "/tmp");
}

/* In memory where there is such a place: for tests of many commits that need no disk, a few MB at most. */
static inline struct test_dir test_dir_make_in_memory(void)
{
	return access("/dev/shm", W_OK) == 0 ? test_dir_make_in("/dev/shm") : test_dir_make();
}

static inline int test_dir_unlink(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st, (void)type, (void)where;
	return remove(path);
}

static inline void test_tree_remove(const char *path)
{
	CHECK(nftw(path, test_dir_unlink, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

static inline void test_dir_remove(const struct test_dir *dir)
{
	test_tree_remove(dir->path);
}

struct test_path {
	char text[512];
};

static inline struct test_path test_dir_path(const struct test_dir *dir, const char *name)
{
	struct test_path path;
	int len = snprintf(path.text, sizeof path.text, "%s/%s", dir->path, name);
	CHECK(len > 0 && (size_t)len < sizeof path.text);
	return path;
}
