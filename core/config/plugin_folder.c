#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/config.h"

int config_plugin_folder(struct arena *arena, struct str *out)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof path);
	const char *slash = len > 0 ? memrchr(path, '/', (size_t)len) : NULL;
	struct str beside = slash ? str_of(path, (size_t)(slash - path)) : STR(".");
	int rc = arena_printf(arena, out, "%.*s/plugins", STR_ARG(beside));
	if (rc || access(out->ptr, F_OK) == 0) return rc;
	struct str installed;
	rc = arena_printf(arena, &installed, "%.*s/../lib/cdpd/plugins", STR_ARG(beside));
	if (rc == OK && access(installed.ptr, F_OK) == 0) *out = installed;
	return rc;
}
