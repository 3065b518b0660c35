/* The files of one destination: <prefix>-<UTC time>-<n>.<extension>, with .part behind it while it is written.
 *
 * A batch is in the file when the state says so: its bytes are made durable first, then the state that counts them and remembers their records. What
 * a crash leaves behind the counted bytes is cut off. After any failure the state is read again, as after a crash: memory that may differ from the
 * disk is not believed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "files.h"

#define PART        ".part"
#define NUMBERS_MAX 1000000

int64_t folder_now(void)
{
	return (int64_t)time(NULL);
}

static void say(struct files *self, enum cdpd_log_level level, const char *what, const char *name)
{
	self->host->log(self->instance, level, "%s/%s: %s (%s)", self->directory, name, what, strerror(errno));
}

static void part_name(const struct state *state, char out[NAME_MAX_LEN + 8])
{
	snprintf(out, NAME_MAX_LEN + 8, "%s" PART, state->name);
}

static bool exists(const struct files *self, const char *name)
{
	struct stat st;
	return fstatat(self->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static void drop_fd(struct files *self)
{
	if (self->fd >= 0) close(self->fd);
	self->fd = -1;
}

void folder_close(struct files *self)
{
	drop_fd(self); /* goes on after the next start, or is sealed then */
	if (self->state_fd >= 0) close(self->state_fd);
	if (self->dir_fd >= 0) close(self->dir_fd);
	self->state_fd = self->dir_fd = -1;
}

/* ── sealing ─────────────────────────────────────────────────────────────── */

/* Each step may have been made before a crash already. */
static int finish_sealing(struct files *self)
{
	char part[NAME_MAX_LEN + 8];
	part_name(&self->state, part);
	drop_fd(self);
	if (exists(self, part)) {
		if (renameat(self->dir_fd, part, self->dir_fd, self->state.name) || fsync(self->dir_fd))
			return CDPD_ERR_IO;
	} else if (!exists(self, self->state.name)) {
		say(self, CDPD_LOG_WARN, "was deleted before it was sealed, what stood in it is lost", part);
		self->state.rows = 0;
	}
	if (self->state.rows > 0) {
		int rc = manifest_add(self->dir_fd, self->prefix, &self->state);
		if (rc != CDPD_OK) return rc;
		self->host->count(self->instance, self->files_metric, 1);
	}
	self->state.name[0] = '\0';
	self->state.is_sealing = 0;
	self->state.size = self->state.rows = 0;
	return state_commit(self->state_fd, &self->state);
}

static int seal(struct files *self)
{
	self->state.is_sealing = 1;
	int rc = state_commit(self->state_fd, &self->state);
	if (rc == CDPD_OK) rc = finish_sealing(self);
	if (rc == CDPD_OK) return rc;
	say(self, CDPD_LOG_WARN, "cannot be sealed yet", self->state.name);
	folder_close(self); /* the next use begins by reading what is so */
	return rc;
}

static bool is_old(const struct files *self)
{
	return folder_now() - self->state.opened_at >= self->rotate_seconds;
}

void folder_seal_if_old(struct files *self)
{
	if (self->fd >= 0 && is_old(self)) (void)seal(self);
}

/* ── taking the directory ────────────────────────────────────────────────── */

/* Files that were begun and never counted: nothing of them was acknowledged. */
static int remove_uncounted(struct files *self)
{
	char wanted[NAME_MAX_LEN + 8];
	part_name(&self->state, wanted);
	int fd = openat(self->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0) close(fd);
		return CDPD_ERR_IO;
	}
	size_t len = strlen(self->prefix);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		const char *name = entry->d_name, *stamp = name + len + 1;
		if (strncmp(name, self->prefix, len) != 0 || name[len] != '-' || strcmp(name, wanted) == 0) continue;
		bool is_ours =
		    strspn(stamp, "0123456789") == 8 && stamp[8] == 'T' && strlen(stamp) > 17 && stamp[15] == 'Z';
		size_t whole = strlen(name);
		if (is_ours && whole > 5 && strcmp(name + whole - 5, PART) == 0) (void)unlinkat(self->dir_fd, name, 0);
	}
	closedir(dir);
	return CDPD_OK;
}

/* The open file, cut back to what is counted. */
static int adopt(struct files *self)
{
	char part[NAME_MAX_LEN + 8];
	struct stat st;
	part_name(&self->state, part);
	self->fd = openat(self->dir_fd, part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (self->fd < 0 && errno == ENOENT) return seal(self); /* says that it was deleted */
	if (self->fd < 0 || fstat(self->fd, &st)) return CDPD_ERR_IO;
	if (st.st_size < self->state.size) {
		errno = EIO;
		say(self, CDPD_LOG_ERROR, "is shorter than what was made durable, it was changed by somebody else",
		    part);
		return CDPD_ERR_IO;
	}
	if (st.st_size > self->state.size && (ftruncate(self->fd, (off_t)self->state.size) || fsync(self->fd)))
		return CDPD_ERR_IO;
	if (self->state.shape != self->shape || self->state.size >= self->rotate_bytes || is_old(self))
		return seal(self);
	return CDPD_OK;
}

static int recover(struct files *self)
{
	bool was_there = state_read(self->state_fd, &self->state);
	/* Again, because what was read may not be what the disk holds. */
	int rc = state_commit(self->state_fd, &self->state);
	if (rc == CDPD_OK && was_there) rc = remove_uncounted(self);
	if (rc == CDPD_OK && self->state.is_sealing)
		rc = finish_sealing(self);
	else if (rc == CDPD_OK && self->state.name[0])
		rc = adopt(self);
	if (rc != CDPD_OK) say(self, CDPD_LOG_ERROR, "cannot be recovered", self->state.name);
	return rc;
}

static int sync_parent(const struct files *self)
{
	int fd = openat(self->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 || fsync(fd) || fsync(self->dir_fd) ? CDPD_ERR_IO : CDPD_OK;
	if (fd >= 0) close(fd);
	return rc;
}

static int take(struct files *self)
{
	char name[NAME_MAX_LEN];
	if (mkdir(self->directory, 0700) && errno != EEXIST) {
		say(self, CDPD_LOG_ERROR, "the directory cannot be made", "");
		return CDPD_ERR_IO;
	}
	self->dir_fd = open(self->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(name, sizeof name, ".%s.state", self->prefix);
	if (self->dir_fd >= 0)
		self->state_fd = openat(self->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (self->state_fd < 0 || sync_parent(self)) {
		say(self, CDPD_LOG_ERROR, "the directory cannot be used", "");
		return CDPD_ERR_IO;
	}
	if (flock(self->state_fd, LOCK_EX | LOCK_NB)) {
		say(self, CDPD_LOG_ERROR, "this prefix is in use by another destination", name);
		return CDPD_ERR_BUSY;
	}
	return recover(self);
}

int folder_open(struct files *self)
{
	int rc = take(self);
	if (rc != CDPD_OK) folder_close(self);
	return rc;
}

/* ── writing ─────────────────────────────────────────────────────────────── */

static int make_file(struct files *self)
{
	char part[NAME_MAX_LEN + 8], stamp[32];
	struct tm tm;
	struct state *state = &self->next;
	state->opened_at = folder_now();
	time_t now = (time_t)state->opened_at;
	strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	for (int n = 1; n < NUMBERS_MAX && self->fd < 0; n++) {
		snprintf(state->name, sizeof state->name, "%s-%s-%d.%s%s", self->prefix, stamp, n, self->format->name,
			 self->is_zstd ? ".zst" : "");
		part_name(state, part);
		if (exists(self, state->name)) continue;
		self->fd = openat(self->dir_fd, part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (self->fd < 0 && errno != EEXIST) break;
	}
	state->shape = self->shape;
	if (self->fd < 0) return CDPD_ERR_IO;
	return getrandom(state->sync, sizeof state->sync, 0) == (ssize_t)sizeof state->sync ? CDPD_OK : CDPD_ERR_IO;
}

int folder_begin(struct files *self, const char **why)
{
	if (self->fd >= 0 || make_file(self) == CDPD_OK) return CDPD_OK;
	*why = errno == ENOSPC || errno == EDQUOT ? "the disk is full" : "the file cannot be made";
	say(self, CDPD_LOG_WARN, *why, self->prefix);
	folder_close(self);
	return CDPD_ERR_IO;
}

/* Has somebody deleted it under us? Its bytes would go nowhere. */
static bool is_deleted(int fd)
{
	struct stat st;
	return fd >= 0 && (fstat(fd, &st) || st.st_nlink == 0);
}

int folder_ready(struct files *self, const char **why)
{
	folder_seal_if_old(self);
	if (is_deleted(self->fd) || is_deleted(self->state_fd) || is_deleted(self->dir_fd)) folder_close(self);
	*why = "the directory cannot be used";
	if (self->state_fd < 0 && folder_open(self) != CDPD_OK) return CDPD_ERR_IO;
	return self->state_fd >= 0 ? CDPD_OK : CDPD_ERR_IO;
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

static int write_durably(struct files *self, const struct bytes *bytes)
{
	if (write_all(self->fd, bytes->ptr, bytes->len, self->state.size)) return CDPD_ERR_IO;
	if (fdatasync(self->fd)) return CDPD_ERR_IO;
	return self->state.size == 0 && fsync(self->dir_fd) ? CDPD_ERR_IO : CDPD_OK;
}

int folder_write(struct files *self, const struct bytes *bytes, const char **why)
{
	self->next.size = self->state.size + (int64_t)bytes->len;
	if (write_durably(self, bytes) || state_commit(self->state_fd, &self->next)) {
		*why = errno == ENOSPC || errno == EDQUOT ? "the disk is full" : "the file cannot be written";
		say(self, CDPD_LOG_WARN, *why, self->next.name);
		folder_close(self);
		return CDPD_ERR_IO;
	}
	self->state = self->next;
	if (self->state.size >= self->rotate_bytes) (void)seal(self);
	folder_set_timer(self);
	return CDPD_OK;
}
