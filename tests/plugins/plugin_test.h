/* plugin_test: what the tests of loading share: a plugin folder of their own, and options without a YAML file. */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "plugin/internal.h"

static char folder[256];

static inline void make_folder(void)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(folder, sizeof folder, "%s/cdpd-plugin-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
}

static inline void remove_folder(void)
{
	char name[1200];
	DIR *dir = opendir(folder);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) (void)unlink(name);
	}
	if (dir) closedir(dir);
	rmdir(folder);
}

static inline void put_bytes(const char *name, const void *bytes, size_t len, mode_t mode)
{
	char path[1200];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

/* Copies <from>/<name>.so into the folder as <as>.so. */
static inline void put_so_as(const char *from, const char *name, const char *as, mode_t mode)
{
	static char bytes[8 << 20];
	char path[1200];
	snprintf(path, sizeof path, "%s/%s.so", from, name);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	size_t len = fread(bytes, 1, sizeof bytes, file);
	assert_true(len > 0 && len < sizeof bytes);
	fclose(file);
	char file_name[300];
	snprintf(file_name, sizeof file_name, "%s.so", as);
	put_bytes(file_name, bytes, len, mode);
}

static inline void put_so(const char *from, const char *name)
{
	put_so_as(from, name, name, 0755);
}

/* Options as nodes: scalars chained by `next`. */
static inline struct node scalar(const char *key, const char *text, int line)
{
	return (struct node){.kind = NODE_SCALAR, .line = line, .key = str_from(key), .text = str_from(text)};
}

static inline struct node map_of(struct node *nodes, size_t count)
{
	for (size_t i = 0; i + 1 < count; i++) nodes[i].next = &nodes[i + 1];
	return (struct node){.kind = NODE_MAP, .line = 1, .children = nodes, .child_count = count};
}

static inline void assert_has(struct str text, const char *part)
{
	if (!memmem(text.ptr, text.len, part, strlen(part))) fail_msg("'%.*s' does not hold '%s'", STR_ARG(text), part);
}
