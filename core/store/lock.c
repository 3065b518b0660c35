#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "store/store.h"

/* Not in every libc's header. */
enum { FS_CIFS = 0xFF534D42, FS_LUSTRE = 0x0BD00BD0, FS_GFS2 = 0x01161970 };

/* LMDB's locks and its coherence of map and write need one machine's page cache. */
static bool is_network_type(unsigned long type)
{
	switch (type) {
	case NFS_SUPER_MAGIC:
	case SMB_SUPER_MAGIC:
	case SMB2_SUPER_MAGIC:
	case CEPH_SUPER_MAGIC:
	case AFS_SUPER_MAGIC:
	case AFS_FS_MAGIC:
	case CODA_SUPER_MAGIC:
	case NCP_SUPER_MAGIC:
	case OCFS2_SUPER_MAGIC:
	case V9FS_MAGIC:
	case FUSE_SUPER_MAGIC:
	case FS_CIFS:
	case FS_LUSTRE:
	case FS_GFS2: return true;
	default: return false;
	}
}

int store_lock(const char *path, int *out)
{
	*out = -1;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	struct statfs fs;
	int rc = OK;
	if (fstatfs(fd, &fs) != 0)
		rc = ERR_IO;
	else if (is_network_type((unsigned long)fs.f_type & UINT32_MAX))
		rc = ERR_REFUSED;
	else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		rc = errno == EWOULDBLOCK ? ERR_LOCKED : ERR_IO;
	if (rc != OK) {
		close(fd);
		return rc;
	}
	*out = fd;
	return OK;
}

void store_unlock(int fd)
{
	if (fd >= 0) close(fd);
}
