/* <prefix>-manifest.ndjson: one line for each sealed file, in the order in which they were sealed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "files.h"

#define LINE_MAX_LEN 1024
#define TAIL_LEN     ((int64_t)2 * LINE_MAX_LEN)

/* What stands behind the last newline was not finished. */
static int cut_to_lines(int fd, int64_t *size, char last[LINE_MAX_LEN + 1])
{
	struct stat st;
	if (fstat(fd, &st)) return CDPD_ERR_IO;
	int64_t from = st.st_size > TAIL_LEN ? st.st_size - TAIL_LEN : 0;
	char tail[2 * LINE_MAX_LEN];
	ssize_t n = pread(fd, tail, sizeof tail, (off_t)from);
	if (n < 0) return CDPD_ERR_IO;
	const char *end = memrchr(tail, '\n', (size_t)n);
	*size = end ? from + (end - tail) + 1 : 0;
	last[0] = '\0';
	if (!end) return from ? CDPD_ERR_INVALID : CDPD_OK;
	const char *start = memrchr(tail, '\n', (size_t)(end - tail));
	start = start ? start + 1 : tail;
	if (end - start <= LINE_MAX_LEN) snprintf(last, LINE_MAX_LEN + 1, "%.*s", (int)(end - start), start);
	return CDPD_OK;
}

static int write_line(int dir_fd, int fd, const struct state *state)
{
	char line[LINE_MAX_LEN], begin[NAME_MAX_LEN + 32], last[LINE_MAX_LEN + 1], stamp[32];
	int64_t size;
	int rc = cut_to_lines(fd, &size, last);
	if (rc != CDPD_OK) return rc;
	snprintf(begin, sizeof begin, "{\"file\":\"%s\",", state->name);
	if (strncmp(last, begin, strlen(begin)) == 0) return CDPD_OK;
	struct tm tm;
	time_t now = (time_t)folder_now();
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	int len = snprintf(line, sizeof line,
			   "%s\"rows\":%lld,\"bytes\":%lld,\"firstPosition\":\"%s\",\"lastPosition\":\"%s\","
			   "\"sealedAt\":\"%s\"}\n",
			   begin, (long long)state->rows, (long long)state->size, state->first_position,
			   state->last_position, stamp);
	if (ftruncate(fd, (off_t)size) || pwrite(fd, line, (size_t)len, (off_t)size) != len) return CDPD_ERR_IO;
	return fsync(fd) || fsync(dir_fd) ? CDPD_ERR_IO : CDPD_OK;
}

int manifest_add(int dir_fd, const char *prefix, const struct state *state)
{
	char name[NAME_MAX_LEN];
	snprintf(name, sizeof name, "%s-manifest.ndjson", prefix);
	int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) return CDPD_ERR_IO;
	int rc = write_line(dir_fd, fd, state);
	close(fd);
	return rc;
}
