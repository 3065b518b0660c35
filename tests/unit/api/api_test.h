/* What the tests of core/api share. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"

static inline void make_temp_dir(char path[256])
{
	const char *base = getenv("TMPDIR");
	(void)snprintf(path, 256, "%s/cdpd-api-XXXXXX", base && *base ? base : "/tmp");
	assert_non_null(mkdtemp(path));
}

static inline void write_file(const char *folder, const char *name, mode_t mode, const char *text)
{
	char path[512];
	(void)snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static inline bool has_text(struct str text, const char *part)
{
	return memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}
