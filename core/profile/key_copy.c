#include "profile/key_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "store/store.h"

#define PATH_BYTES 4096
#define MAGIC      "cdpdkey1"
struct file {
	char magic[8];
	struct hash_key key;
	uint32_t crc, zero;
};
_Static_assert(sizeof(struct file) == 32, "the file's layout is the disk's");

static int path_of(const char *store_path, const char *name, char out[PATH_BYTES])
{
	return (size_t)snprintf(out, PATH_BYTES, "%s/state%s", store_path, name) < PATH_BYTES ? OK : ERR_TOO_LARGE;
}

static uint32_t checksum(const struct file *file)
{
	return crc32c(0, file, offsetof(struct file, crc));
}

int key_copy_read(const char *store_path, struct hash_key *out)
{
	char path[PATH_BYTES];
	struct file file;
	int rc = path_of(store_path, "/profiles.key", path);
	if (rc) return rc;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	ssize_t len = read(fd, &file, sizeof file);
	(void)close(fd);
	if (len != (ssize_t)sizeof file || memcmp(file.magic, MAGIC, sizeof file.magic) != 0 ||
	    file.crc != checksum(&file))
		return ERR_CORRUPT;
	*out = file.key;
	return OK;
}

static int write_whole(const char *path, const struct file *file)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
	int rc = write(fd, file, sizeof *file) == (ssize_t)sizeof *file && fsync(fd) == 0 ? OK : ERR_IO;
	return close(fd) == 0 ? rc : ERR_IO;
}

int key_copy_write(const char *store_path, const struct hash_key *key)
{
	char folder[PATH_BYTES], path[PATH_BYTES], fresh[PATH_BYTES];
	struct file file = {.magic = MAGIC, .key = *key};
	file.crc = checksum(&file);
	int rc = path_of(store_path, "", folder);
	if (!rc) rc = path_of(store_path, "/profiles.key", path);
	if (!rc) rc = path_of(store_path, "/profiles.key.new", fresh);
	if (!rc) rc = store_make_dir(folder);
	if (!rc) rc = write_whole(fresh, &file);
	return rc ? rc : store_rename(fresh, path);
}
