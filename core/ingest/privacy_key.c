#include "ingest/privacy_key.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/secret.h"

#define HEX_SIZE ((size_t)2 * PRIVACY_KEY_SIZE)
#define PATH_LEN 4096

static int read_key(int fd, const char *path, struct privacy_key *key)
{
	struct stat st;
	char text[HEX_SIZE + 16];
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		log_error(LOG_INGEST, "no pseudonyms can be made: %s is not a regular file", path);
		return ERR_INVALID;
	}
	if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		log_error(LOG_INGEST, "no pseudonyms can be made: others may read %s, chmod 600 it", path);
		return ERR_REFUSED;
	}
	ssize_t len = read(fd, text, sizeof text);
	if (len > 0 && hex_decode(str_trim(str_of(text, (size_t)len)), key->bytes, sizeof key->bytes) == OK) {
		key->is_loaded = true;
	} else {
		log_error(LOG_INGEST, "no pseudonyms can be made: %s does not hold %zu hex digits", path, HEX_SIZE);
	}
	secret_wipe(text, sizeof text);
	return key->is_loaded ? OK : ERR_INVALID;
}

static int sync_folder(const char *path)
{
	char copy[PATH_LEN];
	(void)snprintf(copy, sizeof copy, "%s", path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return ERR_IO;
	int rc = fsync(fd) ? ERR_IO : OK;
	(void)close(fd);
	return rc;
}

/* Written beside and renamed: a crash in between leaves no half key. */
static int make_key(const char *path)
{
	uint8_t bytes[PRIVACY_KEY_SIZE];
	char text[HEX_SIZE + 1], beside[PATH_LEN + 8];
	(void)snprintf(beside, sizeof beside, "%s.new", path);
	(void)unlink(beside);
	int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) return ERR_IO;
	random_bytes(bytes, sizeof bytes);
	hex_encode(bytes, sizeof bytes, text);
	text[HEX_SIZE] = '\n';
	bool is_written = write(fd, text, sizeof text) == (ssize_t)sizeof text && fsync(fd) == 0;
	bool is_closed = close(fd) == 0;
	secret_wipe(text, sizeof text);
	secret_wipe(bytes, sizeof bytes);
	if (!is_written || !is_closed || rename(beside, path)) return ERR_IO;
	return sync_folder(path);
}

int privacy_key_load(struct privacy_key *key, struct str path)
{
	char name[PATH_LEN];
	(void)snprintf(name, sizeof name, "%.*s", STR_ARG(path));
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		if (make_key(name) == OK)
			log_info(LOG_INGEST, "made the key of pseudonyms in %s; keep a copy of it", name);
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	}
	if (fd < 0) {
		log_error(LOG_INGEST, "no pseudonyms can be made: %s cannot be opened (%s)", name, strerror(errno));
		return ERR_IO;
	}
	int rc = read_key(fd, name, key);
	(void)close(fd);
	return rc;
}

void privacy_pseudonym(const struct privacy_key *key, struct str text, char out[PSEUDONYM_SIZE + 1])
{
	uint8_t digest[HMAC_SIZE];
	CHECK(key->is_loaded);
	hmac_sha256(key->bytes, sizeof key->bytes, text, digest);
	out[0] = 'p';
	out[1] = '_';
	hex_encode(digest, sizeof digest, out + 2);
}
