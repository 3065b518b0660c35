/* The files of one destination: <prefix>-<UTC time>-<n>.ndjson, with .part behind it while it is written. A .part file is
 * always cut back to its last durable line before it goes on or gets its final name. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ndjson.h"

#define NAME_MAX_LEN 200
#define PART         ".part"
#define NUMBERS_MAX  1000000

int64_t files_now(void)
{
	return (int64_t)time(NULL);
}

static void say(struct ndjson *self, enum cdpd_log_level level, const char *what, const char *name)
{
	self->host->log(self->instance, level, "%s/%s: %s (%s)", self->directory, name, what, strerror(errno));
}

/* ── names ───────────────────────────────────────────────────────────────── */

/* Is `name` "<prefix>-YYYYMMDDTHHMMSSZ-<n>.ndjson.part" with this prefix? Its time. */
static bool is_part(const struct ndjson *self, const char *name, int64_t *opened_at)
{
	struct tm tm = {0};
	size_t len = strlen(self->prefix);
	if (strncmp(name, self->prefix, len) != 0 || name[len] != '-' || strlen(name) > NAME_MAX_LEN) return false;
	const char *at = name + len + 1;
	for (int i = 0; i < 16; i++) {
		bool is_right = i == 8 ? at[i] == 'T' : i == 15 ? at[i] == 'Z' : at[i] >= '0' && at[i] <= '9';
		if (!is_right) return false;
	}
	if (sscanf(at, "%4d%2d%2dT%2d%2d%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
		   &tm.tm_sec) != 6) {
		return false;
	}
	at += 16;
	size_t digits = at[0] == '-' ? strspn(at + 1, "0123456789") : 0;
	if (digits == 0 || strcmp(at + 1 + digits, ".ndjson" PART) != 0) return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*opened_at = (int64_t)timegm(&tm);
	return true;
}

static void part_name(const struct ndjson *self, char out[sizeof self->name + 8])
{
	snprintf(out, sizeof self->name + 8, "%s" PART, self->name);
}

static bool exists(const struct ndjson *self, const char *name)
{
	struct stat st;
	return fstatat(self->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

/* ── one file ────────────────────────────────────────────────────────────── */

static void drop_fd(struct ndjson *self)
{
	if (self->fd >= 0) close(self->fd);
	self->fd = -1;
}

static int begin(struct ndjson *self)
{
	char part[sizeof self->name + 8], stamp[32];
	struct tm tm;
	self->opened_at = files_now();
	time_t now = (time_t)self->opened_at;
	strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	for (int n = 1; n < NUMBERS_MAX; n++) {
		snprintf(self->name, sizeof self->name, "%s-%s-%d.ndjson", self->prefix, stamp, n);
		part_name(self, part);
		if (exists(self, self->name)) continue;
		self->fd = openat(self->dir_fd, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (self->fd >= 0 || errno != EEXIST) break;
	}
	self->size = 0;
	return self->fd < 0 ? CDPD_ERR_IO : CDPD_OK;
}

/* The final name. The bytes are durable already; the name is when the directory is. */
static int seal(struct ndjson *self)
{
	char part[sizeof self->name + 8];
	part_name(self, part);
	drop_fd(self);
	int rc =
	    self->size == 0 ? unlinkat(self->dir_fd, part, 0) : renameat(self->dir_fd, part, self->dir_fd, self->name);
	if (rc || fsync(self->dir_fd)) {
		say(self, CDPD_LOG_WARN, "cannot be sealed, a restart will", self->name);
		return CDPD_ERR_IO;
	}
	if (self->size > 0) self->host->count(self->instance, self->files_metric, 1);
	return CDPD_OK;
}

static bool is_old(const struct ndjson *self)
{
	return files_now() - self->opened_at >= self->rotate_seconds;
}

void files_seal_if_old(struct ndjson *self)
{
	if (self->fd >= 0 && is_old(self)) (void)seal(self);
}

static int write_all(int fd, const char *ptr, size_t len, int64_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, ptr, len, (off_t)offset);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return CDPD_ERR_IO;
		ptr += n;
		len -= (size_t)n;
		offset += n;
	}
	return CDPD_OK;
}

/* Nothing of the batch may stay. After a failed fsync the kernel may have forgotten what it could not write, so this file is
 * never written to again: its durable part is sealed, the batch goes into a new one. */
static int undo(struct ndjson *self, bool is_fsync, const char **why)
{
	*why = is_fsync                             ? "the file could not be made durable"
	       : errno == ENOSPC || errno == EDQUOT ? "the disk is full"
						    : "the file cannot be written";
	say(self, CDPD_LOG_WARN, *why, self->name);
	bool is_cut = ftruncate(self->fd, (off_t)self->size) == 0;
	if (is_cut && is_fsync) (void)seal(self);
	if (!is_cut) drop_fd(self);
	return CDPD_ERR_IO;
}

/* Has somebody deleted it under us? Its bytes would go nowhere. */
static bool is_deleted(int fd)
{
	struct stat st;
	return fd >= 0 && (fstat(fd, &st) || st.st_nlink == 0);
}

/* A file to write to, in a directory that is there. */
static int get_ready(struct ndjson *self, const char **why)
{
	files_seal_if_old(self);
	if (is_deleted(self->fd)) {
		errno = ENOENT;
		say(self, CDPD_LOG_WARN, "was deleted while it was written, what stood in it is lost", self->name);
		drop_fd(self);
	}
	if (self->fd >= 0) return CDPD_OK;
	if (self->dir_fd < 0 || is_deleted(self->dir_fd)) {
		files_close(self);
		*why = "the directory cannot be used";
		if (files_open(self) != CDPD_OK) {
			files_close(self);
			return CDPD_ERR_IO;
		}
		if (self->fd >= 0) return CDPD_OK;
	}
	if (begin(self) == CDPD_OK) return CDPD_OK;
	*why = errno == ENOSPC || errno == EDQUOT ? "the disk is full" : "the file cannot be made";
	say(self, CDPD_LOG_WARN, *why, self->name);
	return CDPD_ERR_IO;
}

int files_write(struct ndjson *self, const char **why)
{
	if (get_ready(self, why)) return CDPD_ERR_IO;
	if (write_all(self->fd, self->lines, self->line_len, self->size)) return undo(self, false, why);
	if (fsync(self->fd) || (self->size == 0 && fsync(self->dir_fd))) return undo(self, true, why);
	self->size += (int64_t)self->line_len;
	if (self->size >= self->rotate_bytes) (void)seal(self);
	files_set_timer(self);
	return CDPD_OK;
}

/* ── what a crash left ───────────────────────────────────────────────────── */

/* Bytes up to and with the last newline. */
static int last_line_end(int fd, int64_t size, int64_t *out)
{
	char chunk[4096];
	while (size > 0) {
		int64_t start = size > (int64_t)sizeof chunk ? size - (int64_t)sizeof chunk : 0;
		ssize_t n = pread(fd, chunk, (size_t)(size - start), (off_t)start);
		if (n != (ssize_t)(size - start)) return CDPD_ERR_IO;
		const char *newline = memrchr(chunk, '\n', (size_t)n);
		if (newline) {
			*out = start + (newline - chunk) + 1;
			return CDPD_OK;
		}
		size = start;
	}
	*out = 0;
	return CDPD_OK;
}

/* Cuts a .part file back to whole lines and makes it the open file. */
static int adopt(struct ndjson *self, const char *part, int64_t opened_at)
{
	struct stat st;
	snprintf(self->name, sizeof self->name, "%.*s", (int)(strlen(part) - strlen(PART)), part);
	self->opened_at = opened_at;
	self->fd = openat(self->dir_fd, part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int rc = self->fd < 0 || fstat(self->fd, &st) ? CDPD_ERR_IO : last_line_end(self->fd, st.st_size, &self->size);
	if (rc == CDPD_OK && self->size < st.st_size) {
		self->host->log(self->instance, CDPD_LOG_WARN,
				"%s/%s: %lld bytes of an unfinished line are cut off, it comes again", self->directory,
				part, (long long)(st.st_size - self->size));
		rc = ftruncate(self->fd, (off_t)self->size) ? CDPD_ERR_IO : CDPD_OK;
	}
	if (rc == CDPD_OK && fsync(self->fd)) rc = CDPD_ERR_IO;
	if (rc == CDPD_OK && exists(self, self->name)) { /* a sealed file is never replaced */
		errno = EEXIST;
		rc = CDPD_ERR_IO;
	}
	if (rc != CDPD_OK) {
		say(self, CDPD_LOG_ERROR, "cannot be recovered", part);
		drop_fd(self);
	}
	return rc;
}

/* All are sealed but the last one found that may still grow. */
static int recover(struct ndjson *self)
{
	int fd = openat(self->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0) close(fd);
		say(self, CDPD_LOG_ERROR, "cannot be listed", "");
		return CDPD_ERR_IO;
	}
	int rc = CDPD_OK;
	for (const struct dirent *entry; rc == CDPD_OK && (entry = readdir(dir));) {
		int64_t opened_at;
		if (!is_part(self, entry->d_name, &opened_at)) continue;
		if (self->fd >= 0) rc = seal(self);
		if (rc == CDPD_OK) rc = adopt(self, entry->d_name, opened_at);
		if (rc == CDPD_OK && (self->size == 0 || self->size >= self->rotate_bytes || is_old(self)))
			rc = seal(self);
	}
	closedir(dir);
	return rc;
}

/* A directory is there after a power cut when its parent is synced too. */
static int sync_parent(const struct ndjson *self)
{
	int fd = openat(self->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 || fsync(fd) ? CDPD_ERR_IO : CDPD_OK;
	if (fd >= 0) close(fd);
	return rc;
}

int files_open(struct ndjson *self)
{
	char lock[sizeof self->name];
	bool is_new = mkdir(self->directory, 0700) == 0;
	if (!is_new && errno != EEXIST) {
		say(self, CDPD_LOG_ERROR, "the directory cannot be made", "");
		return CDPD_ERR_IO;
	}
	self->dir_fd = open(self->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (is_new && self->dir_fd >= 0 && sync_parent(self))
		say(self, CDPD_LOG_WARN, "the directory may not be durable", "");
	snprintf(lock, sizeof lock, ".%s.lock", self->prefix);
	if (self->dir_fd >= 0)
		self->lock_fd = openat(self->dir_fd, lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (self->lock_fd < 0) {
		say(self, CDPD_LOG_ERROR, "the directory cannot be used", "");
		return CDPD_ERR_IO;
	}
	if (flock(self->lock_fd, LOCK_EX | LOCK_NB)) {
		say(self, CDPD_LOG_ERROR, "this prefix is in use by another destination", lock);
		return CDPD_ERR_BUSY;
	}
	return recover(self);
}

void files_close(struct ndjson *self)
{
	drop_fd(self); /* goes on after the next start, or is sealed then */
	if (self->lock_fd >= 0) close(self->lock_fd);
	if (self->dir_fd >= 0) close(self->dir_fd);
	self->lock_fd = self->dir_fd = -1;
}
