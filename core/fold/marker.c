#include "fold/marker.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER_FILE  "fold.attempt"
#define MARKER_MAGIC UINT64_C(0x31746d7461706463) /* "cdpatmt1" */
#define MARKER_BYTES 4096

static void blame(struct marker_page *page)
{
	if (!page->attempt) return;
	page->crashes = page->suspect == page->attempt ? page->crashes + 1 : 1;
	page->suspect = page->attempt;
	memcpy(page->suspect_plugin, page->plugin, sizeof page->plugin);
	memset(page->plugin, 0, sizeof page->plugin);
	page->attempt = 0;
}

static int map_page(int fd, struct marker_page **out)
{
	struct stat info;
	if (fstat(fd, &info) || !S_ISREG(info.st_mode)) return ERR_IO;
	/* Written, not only truncated: a store into a hole of a full disk would be a SIGBUS. */
	if (info.st_size < MARKER_BYTES && posix_fallocate(fd, 0, MARKER_BYTES)) return ERR_FULL;
	void *map = mmap(NULL, MARKER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) return ERR_IO;
	*out = map;
	return OK;
}

int marker_open(struct marker *marker, struct str store_path)
{
	char path[4096];
	int length = snprintf(path, sizeof path, "%.*s/%s", STR_ARG(store_path), MARKER_FILE);
	if (length < 0 || (size_t)length >= sizeof path) return ERR_TOO_LARGE;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) return ERR_IO;
	int rc = map_page(fd, &marker->page);
	close(fd);
	if (rc) return rc;
	if (marker->page->magic != MARKER_MAGIC) {
		memset(marker->page, 0, sizeof *marker->page);
		marker->page->magic = MARKER_MAGIC;
	}
	blame(marker->page);
	return OK;
}

void marker_close(struct marker *marker)
{
	if (!marker->page) return;
	marker_end(marker);
	munmap(marker->page, MARKER_BYTES);
	marker->page = NULL;
}

bool marker_suspect(const struct marker *marker, uint64_t *seq, unsigned *crashes)
{
	*seq = marker->page->suspect - 1;
	*crashes = (unsigned)marker->page->crashes;
	return marker->page->suspect != 0;
}

struct str marker_plugin(const struct marker *marker)
{
	return str_of(marker->page->suspect_plugin, strnlen(marker->page->suspect_plugin, MARKER_PLUGIN_SIZE));
}

void marker_acquit(struct marker *marker)
{
	marker->page->suspect = 0;
	marker->page->crashes = 0;
	memset(marker->page->suspect_plugin, 0, MARKER_PLUGIN_SIZE);
}
