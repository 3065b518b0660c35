/* The files of one destination: <prefix>-<UTC time>-<n>.<extension>, with .part behind it while it is written.
 *
 * A batch is in the file when the state says so, and the state says so only of bytes that are there: its bytes and the state that counts them and remembers
 * their records are made durable side by side, and the state holds a checksum of the bytes. What a crash leaves behind the counted bytes is cut off. After any failure the state is read again, as after a crash: memory that may differ from the
 * disk is not believed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

static void say(struct output *output, enum cdpd_log_level level, const char *what, const char *name)
{
	output->files->host->log(output->files->instance, level, "%s/%s: %s (%s)", output->files->directory, name, what,
				 strerror(errno));
}

static void part_name(const struct state *state, char out[NAME_MAX_LEN + 8])
{
	snprintf(out, NAME_MAX_LEN + 8, "%s" PART, state->name);
}

static bool exists(const struct output *output, const char *name)
{
	struct stat st;
	return fstatat(output->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static void drop_fd(struct output *output)
{
	if (output->fd >= 0) close(output->fd);
	output->fd = -1;
}

void folder_close(struct output *output)
{
	drop_fd(output); /* goes on after the next start, or is sealed then */
	if (output->state_fd >= 0) close(output->state_fd);
	if (output->dir_fd >= 0) close(output->dir_fd);
	output->state_fd = output->dir_fd = -1;
}

/* ── sealing ─────────────────────────────────────────────────────────────── */

/* Each step may have been made before a crash already. */
static int finish_sealing(struct output *output)
{
	char part[NAME_MAX_LEN + 8];
	part_name(&output->state, part);
	drop_fd(output);
	if (exists(output, part)) {
		if (renameat(output->dir_fd, part, output->dir_fd, output->state.name) || fsync(output->dir_fd))
			return CDPD_ERR_IO;
	} else if (!exists(output, output->state.name)) {
		say(output, CDPD_LOG_WARN, "was deleted before it was sealed, what stood in it is lost", part);
		output->state.rows = 0;
	}
	if (output->state.rows > 0) {
		int rc = manifest_add(output->dir_fd, output->prefix, &output->state);
		if (rc != CDPD_OK) return rc;
		output->files->host->count(output->files->instance, output->files->files_metric, 1);
	}
	output->state.name[0] = '\0';
	output->state.is_sealing = 0;
	output->state.size = output->state.rows = 0;
	return state_commit(output->state_fd, &output->state, &output->memory);
}

static int seal(struct output *output)
{
	output->state.is_sealing = 1;
	int rc = state_commit(output->state_fd, &output->state, &output->memory);
	if (rc == CDPD_OK) rc = finish_sealing(output);
	if (rc == CDPD_OK) return rc;
	say(output, CDPD_LOG_WARN, "cannot be sealed yet", output->state.name);
	folder_close(output); /* the next use begins by reading what is so */
	return rc;
}

static bool is_old(const struct output *output)
{
	return folder_now() - output->state.opened_at >= output->files->rotate_seconds;
}

void folder_seal_if_old(struct output *output)
{
	if (output->fd >= 0 && is_old(output)) (void)seal(output);
}

/* ── taking the directory ────────────────────────────────────────────────── */

/* Files that were begun and never counted: nothing of them was acknowledged. */
static int remove_uncounted(struct output *output)
{
	char wanted[NAME_MAX_LEN + 8];
	part_name(&output->state, wanted);
	int fd = openat(output->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0) close(fd);
		return CDPD_ERR_IO;
	}
	size_t len = strlen(output->prefix);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		const char *name = entry->d_name, *stamp = name + len + 1;
		if (strncmp(name, output->prefix, len) != 0 || name[len] != '-' || strcmp(name, wanted) == 0) continue;
		bool is_ours =
		    strspn(stamp, "0123456789") == 8 && stamp[8] == 'T' && strlen(stamp) > 17 && stamp[15] == 'Z';
		size_t whole = strlen(name);
		if (is_ours && whole > 5 && strcmp(name + whole - 5, PART) == 0)
			(void)unlinkat(output->dir_fd, name, 0);
	}
	closedir(dir);
	return CDPD_OK;
}

/* The open file, cut back to what is counted. */
static int adopt(struct output *output)
{
	char part[NAME_MAX_LEN + 8];
	struct stat st;
	part_name(&output->state, part);
	output->fd = openat(output->dir_fd, part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (output->fd < 0 && errno == ENOENT) return seal(output); /* says that it was deleted */
	if (output->fd < 0 || fstat(output->fd, &st)) return CDPD_ERR_IO;
	if (st.st_size < output->state.size) {
		errno = EIO;
		say(output, CDPD_LOG_ERROR, "is shorter than what was made durable, it was changed by somebody else",
		    part);
		return CDPD_ERR_IO;
	}
	if (st.st_size > output->state.size && (ftruncate(output->fd, (off_t)output->state.size) || fsync(output->fd)))
		return CDPD_ERR_IO;
	if (output->state.shape != output->shape || output->state.size >= output->files->rotate_bytes || is_old(output))
		return seal(output);
	return CDPD_OK;
}

/* The bytes that came with the last commit. A file that was deleted has nothing that could be wrong. */
static bool has_bytes(void *ctx, const struct state *state)
{
	const struct output *output = ctx;
	char part[NAME_MAX_LEN + 8];
	size_t len = (size_t)(state->size - state->bytes_from);
	if (!state->name[0] || state->is_sealing || state->bytes_from < 0 || state->size <= state->bytes_from)
		return true;
	part_name(state, part);
	int fd = openat(output->dir_fd, part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) return errno == ENOENT;
	struct stat st;
	bool is_long_enough = fstat(fd, &st) == 0 && st.st_size >= state->size;
	char *bytes = is_long_enough ? malloc(len) : NULL;
	bool is_so = bytes && pread(fd, bytes, len, (off_t)state->bytes_from) == (ssize_t)len &&
		     hash_bytes(bytes, len, 0) == state->bytes_checksum;
	free(bytes);
	close(fd);
	return is_so;
}

/* What was read may not be what the disk holds: before the state says so again, the file does. */
static int sync_part(const struct output *output)
{
	char part[NAME_MAX_LEN + 8];
	part_name(&output->state, part);
	int fd = openat(output->dir_fd, part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) return errno == ENOENT ? CDPD_OK : CDPD_ERR_IO;
	int rc = fsync(fd) ? CDPD_ERR_IO : CDPD_OK;
	close(fd);
	return rc;
}

/* After bytes that could not be made durable, the state is to say that they are not there. */
static int put_back(struct output *output)
{
	output->state.turn = output->next.turn;
	output->state.id_from = output->state.id_count > IDS_KEPT ? output->state.id_count - IDS_KEPT : 0;
	int rc = state_commit(output->state_fd, &output->state, &output->memory);
	output->owes_state = rc != CDPD_OK;
	return rc;
}

static int recover(struct output *output)
{
	if (output->owes_state && put_back(output) != CDPD_OK) return CDPD_ERR_IO;
	int rc = state_read(output->state_fd, &output->state, &output->memory, has_bytes, output);
	if (rc == CDPD_ERR_UNSUPPORTED) {
		errno = EPROTO;
		say(output, CDPD_LOG_ERROR, "the state is of another version of this plugin: choose another prefix",
		    output->prefix);
		return rc;
	}
	bool was_there = rc == CDPD_OK;
	rc = output->state.name[0] && !output->state.is_sealing ? sync_part(output) : CDPD_OK;
	/* Again, because what was read may not be what the disk holds. */
	if (rc == CDPD_OK) rc = state_commit(output->state_fd, &output->state, &output->memory);
	if (rc == CDPD_OK && was_there) rc = remove_uncounted(output);
	if (rc == CDPD_OK && output->state.is_sealing)
		rc = finish_sealing(output);
	else if (rc == CDPD_OK && output->state.name[0])
		rc = adopt(output);
	if (rc != CDPD_OK) say(output, CDPD_LOG_ERROR, "cannot be recovered", output->state.name);
	return rc;
}

static int sync_parent(const struct output *output)
{
	int fd = openat(output->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 || fsync(fd) || fsync(output->dir_fd) ? CDPD_ERR_IO : CDPD_OK;
	if (fd >= 0) close(fd);
	return rc;
}

static void state_name(const struct output *output, char out[NAME_MAX_LEN])
{
	snprintf(out, NAME_MAX_LEN, ".%s.state", output->prefix);
}

static int take(struct output *output)
{
	char name[NAME_MAX_LEN];
	if (mkdir(output->files->directory, 0700) && errno != EEXIST) {
		say(output, CDPD_LOG_ERROR, "the directory cannot be made", "");
		return CDPD_ERR_IO;
	}
	output->dir_fd = open(output->files->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	state_name(output, name);
	if (output->dir_fd >= 0)
		output->state_fd = openat(output->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (output->state_fd < 0 || sync_parent(output)) {
		say(output, CDPD_LOG_ERROR, "the directory cannot be used", "");
		return CDPD_ERR_IO;
	}
	if (flock(output->state_fd, LOCK_EX | LOCK_NB)) {
		say(output, CDPD_LOG_ERROR, "this prefix is in use by another destination", name);
		return CDPD_ERR_BUSY;
	}
	return recover(output);
}

bool folder_is_known(const struct output *output)
{
	char path[4096], name[NAME_MAX_LEN];
	state_name(output, name);
	snprintf(path, sizeof path, "%s/%s", output->files->directory, name);
	return access(path, F_OK) == 0;
}

int folder_open(struct output *output)
{
	int rc = take(output);
	if (rc != CDPD_OK) folder_close(output);
	return rc;
}

/* ── writing ─────────────────────────────────────────────────────────────── */

static int make_file(struct output *output)
{
	char part[NAME_MAX_LEN + 8], stamp[32];
	struct tm tm;
	struct state *state = &output->next;
	state->opened_at = folder_now();
	time_t now = (time_t)state->opened_at;
	strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	for (int n = 1; n < NUMBERS_MAX && output->fd < 0; n++) {
		snprintf(state->name, sizeof state->name, "%s-%s-%d.%s%s", output->prefix, stamp, n,
			 output->files->format->name, output->files->is_zstd ? ".zst" : "");
		part_name(state, part);
		if (exists(output, state->name)) continue;
		output->fd = openat(output->dir_fd, part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (output->fd < 0 && errno != EEXIST) break;
	}
	state->shape = output->shape;
	if (output->fd < 0) return CDPD_ERR_IO;
	return getrandom(state->sync, sizeof state->sync, 0) == (ssize_t)sizeof state->sync ? CDPD_OK : CDPD_ERR_IO;
}

int folder_begin(struct output *output, const char **why)
{
	if (output->fd >= 0 || make_file(output) == CDPD_OK) return CDPD_OK;
	*why = errno == ENOSPC || errno == EDQUOT ? "the disk is full" : "the file cannot be made";
	say(output, CDPD_LOG_WARN, *why, output->prefix);
	folder_close(output);
	return CDPD_ERR_IO;
}

/* Has somebody deleted it under us? Its bytes would go nowhere. */
static bool is_deleted(int fd)
{
	struct stat st;
	return fd >= 0 && (fstat(fd, &st) || st.st_nlink == 0);
}

int folder_ready(struct output *output, const char **why)
{
	folder_seal_if_old(output);
	if (is_deleted(output->fd) || is_deleted(output->state_fd) || is_deleted(output->dir_fd)) folder_close(output);
	*why = "the directory cannot be used";
	if (output->state_fd < 0 && folder_open(output) != CDPD_OK) return CDPD_ERR_IO;
	return output->state_fd >= 0 ? CDPD_OK : CDPD_ERR_IO;
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

/* The bytes of a batch and the state that counts them, side by side. */
static int write_durably(struct output *output, const struct bytes *bytes)
{
	struct state *next = &output->next;
	bool is_first = output->state.size == 0;
	next->bytes_from = output->state.size;
	next->size = next->bytes_from + (int64_t)bytes->len;
	next->bytes_checksum = hash_bytes(bytes->ptr, bytes->len, 0);
	if (write_all(output->fd, bytes->ptr, bytes->len, next->bytes_from)) return CDPD_ERR_IO;
	/* A name that is not durable yet must not be in a state that is. */
	if (is_first && fsync(output->dir_fd)) return CDPD_ERR_IO;
	if (state_write(output->state_fd, next, &output->memory)) return CDPD_ERR_IO;
	if (syncer_sync(output->files, output->fd, output->state_fd) == CDPD_OK) return CDPD_OK;
	int error = errno;
	(void)put_back(output);
	errno = error;
	return CDPD_ERR_IO;
}

int folder_write(struct output *output, const struct bytes *bytes, const char **why)
{
	if (write_durably(output, bytes)) {
		*why = errno == ENOSPC || errno == EDQUOT ? "the disk is full" : "the file cannot be written";
		say(output, CDPD_LOG_WARN, *why, output->next.name);
		folder_close(output);
		return CDPD_ERR_IO;
	}
	state_settle(&output->next, &output->memory);
	output->state = output->next;
	if (output->state.size >= output->files->rotate_bytes) (void)seal(output);
	folder_set_timer(output);
	return CDPD_OK;
}
