/* disk_faults: the system calls by which LMDB and the store write, with switches to make them fail, or to have the
 * process killed before the n-th of them. The definitions here stand before those of libc because they are in the
 * program itself; include from one file of it only. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))
/* LMDB's meta page is written in part: what is shorter than a page and lies in the first two. */
#define META_BELOW 8192

struct disk_fault {
	atomic_int error; /* an errno; 0: works */
	atomic_int fired;
};
static struct disk_fault fail_write, fail_meta, fail_sync;
static atomic_int fail_write_times; /* that many writes fail and then no more; 0: all */

static atomic_int kill_at_step; /* dies before that step; 0: never */
static atomic_int disk_steps;   /* so far */

/* Each change of the disk is a step. */
static inline void disk_step(void)
{
	int step = atomic_fetch_add(&disk_steps, 1) + 1;
	if (step == atomic_load(&kill_at_step)) (void)kill(getpid(), SIGKILL);
}

static inline bool disk_is_file(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static inline void disk_faults_clear(void)
{
	atomic_store(&fail_write_times, 0);
	struct disk_fault *const all[] = {&fail_write, &fail_meta, &fail_sync};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		atomic_store(&all[i]->error, 0);
		atomic_store(&all[i]->fired, 0);
	}
}

/* Only of files: pipes, terminals and event descriptors go on. */
static inline int disk_fault_hits(struct disk_fault *fault, int fd)
{
	int error = atomic_load(&fault->error);
	if (error == 0 || !disk_is_file(fd)) return 0;
	if (fault == &fail_write && atomic_load(&fail_write_times) > 0 && atomic_fetch_sub(&fail_write_times, 1) == 1)
		atomic_store(&fail_write.error, 0);
	atomic_fetch_add(&fault->fired, 1);
	errno = error;
	return 1;
}

VISIBLE ssize_t pwrite(int fd, const void *data, size_t len, off_t at);
VISIBLE ssize_t write(int fd, const void *data, size_t len);
VISIBLE ssize_t writev(int fd, const struct iovec *parts, int count);
VISIBLE int fdatasync(int fd);
VISIBLE int fsync(int fd);
VISIBLE int mkdir(const char *path, mode_t mode);
VISIBLE int rename(const char *from, const char *to);
VISIBLE int unlinkat(int dir, const char *path, int flags);

VISIBLE ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	disk_step();
	if (at < META_BELOW && len < 4096 && disk_fault_hits(&fail_meta, fd)) return -1;
	if (disk_fault_hits(&fail_write, fd)) return -1;
	return syscall(SYS_pwrite64, fd, data, len, at);
}

VISIBLE ssize_t write(int fd, const void *data, size_t len)
{
	if (disk_is_file(fd)) disk_step();
	if (disk_fault_hits(&fail_write, fd)) return -1;
	return syscall(SYS_write, fd, data, len);
}

VISIBLE ssize_t writev(int fd, const struct iovec *parts, int count)
{
	disk_step();
	if (disk_fault_hits(&fail_write, fd)) return -1;
	return syscall(SYS_writev, fd, parts, count);
}

VISIBLE int fdatasync(int fd)
{
	disk_step();
	if (disk_fault_hits(&fail_sync, fd)) return -1;
	return (int)syscall(SYS_fdatasync, fd);
}

VISIBLE int fsync(int fd)
{
	disk_step();
	return (int)syscall(SYS_fsync, fd);
}

VISIBLE int mkdir(const char *path, mode_t mode)
{
	disk_step();
	return (int)syscall(SYS_mkdir, path, mode);
}

VISIBLE int rename(const char *from, const char *to)
{
	disk_step();
	return (int)syscall(SYS_rename, from, to);
}

VISIBLE int unlinkat(int dir, const char *path, int flags)
{
	disk_step();
	return (int)syscall(SYS_unlinkat, dir, path, flags);
}
