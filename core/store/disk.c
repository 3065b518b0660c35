#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/store.h"

#define PATH_BYTES 4096
#define DATA_FILE  "data.mdb" /* LMDB's name for it */

int store_fsync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_REFUSED : ERR_IO;
	int rc = fsync(fd) == 0 ? OK : ERR_IO;
	close(fd);
	return rc;
}

static int fsync_parent(const char *path)
{
	char parent[PATH_BYTES];
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/') len--;
	while (len > 0 && path[len - 1] != '/') len--;
	if (len == 0) return store_fsync_dir(".");
	if (len >= sizeof parent) return ERR_TOO_LARGE;
	memcpy(parent, path, len);
	parent[len] = '\0';
	return store_fsync_dir(parent);
}

int store_make_dir(const char *path)
{
	struct stat st;
	if (mkdir(path, 0700) == 0) return fsync_parent(path);
	if (errno == ENOSPC || errno == EDQUOT) return ERR_FULL;
	if (errno != EEXIST || stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return ERR_IO;
	/* Whoever made it may have died before it was on disk. In a parent that we may not even read, it was not us. */
	int rc = fsync_parent(path);
	return rc == ERR_REFUSED ? OK : rc;
}

int store_rename(const char *from, const char *to)
{
	if (rename(from, to) != 0) return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
	return fsync_parent(to);
}

int store_free_bytes(const char *path, uint64_t *out)
{
	struct statvfs fs;
	if (statvfs(path, &fs) != 0) return ERR_IO;
	*out = (uint64_t)fs.f_bavail * fs.f_frsize;
	return OK;
}

int store_path_bytes(const char *path, uint64_t *out)
{
	char file[PATH_BYTES];
	struct stat st;
	*out = 0;
	if ((size_t)snprintf(file, sizeof file, "%s/" DATA_FILE, path) >= sizeof file) return ERR_TOO_LARGE;
	if (stat(file, &st) != 0) return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	*out = (uint64_t)st.st_size;
	return OK;
}

static int remove_files(DIR *dir)
{
	const struct dirent *entry;
	int rc = OK;
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) != 0 && errno != ENOENT) rc = ERR_IO;
	}
	return rc;
}

int store_remove_env(const char *path)
{
	DIR *dir = opendir(path);
	if (!dir) return errno == ENOENT ? OK : ERR_IO;
	int rc = remove_files(dir);
	closedir(dir);
	if (rc == OK && rmdir(path) != 0 && errno != ENOENT) rc = ERR_IO;
	return rc == OK ? fsync_parent(path) : rc;
}
