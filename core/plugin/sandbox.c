#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "plugin/internal.h"

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1 /* maps terabytes of shadow and reads /proc/self */
#else
#define HAS_SANITIZER 0
#endif

/* What loading a library and formatting some text takes, and no more: no sockets, no processes, no signals to others. */
static const int allowed[] = {
    SYS_read,          SYS_pread64,
    SYS_readv,         SYS_write,
    SYS_writev,        SYS_close,
    SYS_openat,        SYS_fstat,
    SYS_newfstatat,    SYS_statx,
    SYS_lseek,         SYS_fstatfs,
    SYS_mmap,          SYS_mprotect,
    SYS_munmap,        SYS_mremap,
    SYS_madvise,       SYS_brk,
    SYS_futex,         SYS_getrandom,
    SYS_exit,          SYS_exit_group,
    SYS_rt_sigaction,  SYS_rt_sigprocmask,
    SYS_rt_sigreturn,  SYS_sigaltstack,
    SYS_getpid,        SYS_gettid,
    SYS_clock_gettime, SYS_clock_nanosleep,
    SYS_sched_yield,   SYS_faccessat,
    SYS_readlinkat,    SYS_getcwd,
    SYS_uname,         SYS_sysinfo,
    SYS_getuid,        SYS_geteuid,
    SYS_getgid,        SYS_getegid,
    SYS_rseq,          SYS_sched_getaffinity,
    SYS_getdents64,    SYS_set_robust_list,
    SYS_membarrier,    SYS_gettimeofday,
#ifdef SYS_open
    SYS_open,          SYS_stat,
    SYS_lstat,         SYS_access,
    SYS_readlink,      SYS_arch_prctl,
    SYS_time,
#endif
};

/* What a plugin that works takes besides. */
static const int allowed_at_work[] = {
    SYS_ppoll, SYS_nanosleep, SYS_clock_getres, SYS_getrusage, SYS_fadvise64,
#ifdef SYS_poll
    SYS_poll,
#endif
#if HAS_SANITIZER
    SYS_pipe2, /* looks with it whether memory is there */
#ifdef SYS_pipe
    SYS_pipe,
#endif
#endif
};
/* Libraries ask these by the way; nobody is told. */
static const int refused_quietly[] = {SYS_ioctl, SYS_prctl, SYS_set_tid_address};

static int set_limit(__rlimit_resource_t what, rlim_t value)
{
	struct rlimit limit = {value, value};
	return setrlimit(what, &limit) ? ERR_REFUSED : OK;
}

/* What is mapped by now; 0: unknown. */
static rlim_t mapped_bytes(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	if (!file) return 0;
	if (fscanf(file, "%lu", &pages) != 1) pages = 0; /* NOLINT(cert-err34-c): the kernel's own number */
	(void)fclose(file);
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static int set_limits(const struct sandbox *sandbox, rlim_t mapped)
{
	rlim_t memory = sandbox->memory ? mapped + sandbox->memory : (rlim_t)2 << 30;
	int rc = set_limit(RLIMIT_CORE, 0);
	if (!rc && !sandbox->works) rc = set_limit(RLIMIT_CPU, 5);
	if (!rc) rc = set_limit(RLIMIT_FSIZE, 0);
	if (!rc) rc = set_limit(RLIMIT_NOFILE, 64);
	return rc || HAS_SANITIZER ? rc : set_limit(RLIMIT_AS, memory);
}

static void allow_reading(int ruleset, const char *path)
{
	struct landlock_path_beneath_attr rule = {
	    .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE,
	    .parent_fd = open(path, O_PATH | O_CLOEXEC),
	};
	if (rule.parent_fd < 0) return;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0)) {
		/* A plain file takes no right to list it. */
		rule.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE;
		(void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	}
	close(rule.parent_fd);
}

/* Kernels without Landlock go on with the system call filter alone. */
static int restrict_files(struct sandbox *sandbox)
{
	static const char *const libraries[] = {"/lib",       "/lib64",         "/usr/lib",
						"/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"};
	struct landlock_ruleset_attr attr = {.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0) return errno == ENOSYS || errno == EOPNOTSUPP ? OK : ERR_REFUSED;
	for (size_t i = 0; i < COUNT_OF(libraries); i++) allow_reading(ruleset, libraries[i]);
	allow_reading(ruleset, sandbox->folder);
	for (size_t i = 0; i < sandbox->read_count; i++) allow_reading(ruleset, sandbox->read[i]);
	if (HAS_SANITIZER) allow_reading(ruleset, "/proc/self");
	int rc = syscall(SYS_landlock_restrict_self, ruleset, 0) ? ERR_REFUSED : OK;
	close(ruleset);
	sandbox->has_landlock = rc == OK;
	return rc;
}

#ifdef OWN_ARCH
#define LOAD(field) \
	(struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, field))
#define ANSWER(action)    (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, (action))
#define SKIP_UNLESS(k, n) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(k), 0, (n))

/* `call` is allowed when its first argument is `value`. */
static size_t allow_with(struct sock_filter *at, int call, unsigned value)
{
	at[0] = SKIP_UNLESS(call, 4);
	at[1] = LOAD(args[0]);
	at[2] = SKIP_UNLESS(value, 1);
	at[3] = ANSWER(SECCOMP_RET_ALLOW);
	at[4] = ANSWER(SECCOMP_RET_ERRNO | EPERM);
	return 5;
}

/* fcntl could make the kernel send signals to others. */
static size_t allow_fcntl(struct sock_filter *at)
{
	static const unsigned fine[] = {F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_DUPFD_CLOEXEC};
	size_t n = 0;
	at[n++] = SKIP_UNLESS(SYS_fcntl, 2 * COUNT_OF(fine) + 2);
	at[n++] = LOAD(args[1]);
	for (size_t i = 0; i < COUNT_OF(fine); i++) {
		at[n++] = SKIP_UNLESS(fine[i], 1);
		at[n++] = ANSWER(SECCOMP_RET_ALLOW);
	}
	at[n++] = ANSWER(SECCOMP_RET_ERRNO | EPERM);
	return n;
}

static size_t answer_all(struct sock_filter *at, const int *calls, size_t count, unsigned action)
{
	for (size_t i = 0; i < count; i++) {
		*at++ = SKIP_UNLESS(calls[i], 1);
		*at++ = ANSWER(action);
	}
	return 2 * count;
}

/* Threads of its own, but no processes. */
static size_t allow_threads(struct sock_filter *at)
{
	at[0] = SKIP_UNLESS(SYS_clone3, 1); /* its flags lie in memory: libc goes on with clone */
	at[1] = ANSWER(SECCOMP_RET_ERRNO | ENOSYS);
	at[2] = SKIP_UNLESS(SYS_clone, 4);
	at[3] = LOAD(args[0]);
	at[4] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1);
	at[5] = ANSWER(SECCOMP_RET_ALLOW);
	at[6] = LOAD(nr);
	return 7;
}

static int filter_calls(const struct sandbox *sandbox)
{
	struct sock_filter code[2 * (COUNT_OF(allowed) + COUNT_OF(allowed_at_work) + COUNT_OF(refused_quietly)) + 64];
	size_t n = 0;
	code[n++] = LOAD(arch);
	code[n++] = SKIP_UNLESS(OWN_ARCH, 1);
	code[n++] = LOAD(nr);
	code[n++] =
	    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1); /* x32, and the other arch */
	code[n++] = ANSWER(SECCOMP_RET_KILL_PROCESS);
	n += allow_with(&code[n], SYS_tgkill, (unsigned)getpid()); /* abort() */
	n += allow_with(&code[n], SYS_prlimit64, 0);
	n += allow_fcntl(&code[n]);
	n += answer_all(&code[n], allowed, COUNT_OF(allowed), SECCOMP_RET_ALLOW);
	if (sandbox->works) {
		n += allow_with(&code[n], SYS_sched_setaffinity, 0); /* the daemon's threads are the same user's */
		n += answer_all(&code[n], allowed_at_work, COUNT_OF(allowed_at_work), SECCOMP_RET_ALLOW);
		n += answer_all(&code[n], refused_quietly, COUNT_OF(refused_quietly), SECCOMP_RET_ERRNO | EPERM);
		n += allow_threads(&code[n]);
	}
	code[n++] = ANSWER(sandbox->works ? SECCOMP_RET_TRAP : SECCOMP_RET_ERRNO | EPERM);
	struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? ERR_REFUSED : OK;
}
#else
static int filter_calls(const struct sandbox *sandbox)
{
	(void)sandbox;
	return ERR_REFUSED;
}
#endif

static int close_others(int keep_fd)
{
	int null = open("/dev/null", O_RDWR);
	if (null < 0) return ERR_REFUSED;
	for (int fd = 0; fd <= 2; fd++) {
		if (fd != keep_fd && dup2(null, fd) < 0) return ERR_REFUSED;
	}
	if (keep_fd > 3 && syscall(SYS_close_range, 3, keep_fd - 1, 0)) return ERR_REFUSED;
	return syscall(SYS_close_range, keep_fd + 1, ~0u, 0) ? ERR_REFUSED : OK;
}

int sandbox_confine(struct sandbox *sandbox)
{
	rlim_t mapped = mapped_bytes();
	int rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? ERR_REFUSED : OK;
	if (rc == OK) rc = restrict_files(sandbox);
	if (rc == OK) rc = set_limits(sandbox, mapped);
	return rc == OK ? filter_calls(sandbox) : rc;
}

int sandbox_enter(int keep_fd, const char *folder)
{
	struct sandbox sandbox = {.folder = folder};
	int rc = close_others(keep_fd);
	return rc == OK ? sandbox_confine(&sandbox) : rc;
}
