#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
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
    SYS_lseek,         SYS_fcntl,
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

static int set_limits(void)
{
	static const struct {
		__rlimit_resource_t what;
		rlim_t limit;
	} limits[] = {
	    {RLIMIT_CORE, 0}, {RLIMIT_CPU, 5}, {RLIMIT_FSIZE, 0}, {RLIMIT_NOFILE, 64}, {RLIMIT_AS, (rlim_t)2 << 30},
	};
	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		if (HAS_SANITIZER && limits[i].what == RLIMIT_AS) continue;
		struct rlimit limit = {limits[i].limit, limits[i].limit};
		if (setrlimit(limits[i].what, &limit)) return ERR_REFUSED;
	}
	return OK;
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
static int restrict_files(const char *folder)
{
	static const char *const libraries[] = {"/lib",       "/lib64",         "/usr/lib",
						"/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"};
	struct landlock_ruleset_attr attr = {.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0) return errno == ENOSYS || errno == EOPNOTSUPP ? OK : ERR_REFUSED;
	for (size_t i = 0; i < COUNT_OF(libraries); i++) allow_reading(ruleset, libraries[i]);
	allow_reading(ruleset, folder);
	if (HAS_SANITIZER) allow_reading(ruleset, "/proc/self");
	int rc = syscall(SYS_landlock_restrict_self, ruleset, 0) ? ERR_REFUSED : OK;
	close(ruleset);
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

static int filter_calls(void)
{
	struct sock_filter code[2 * COUNT_OF(allowed) + 16];
	size_t n = 0;
	code[n++] = LOAD(arch);
	code[n++] = SKIP_UNLESS(OWN_ARCH, 1);
	code[n++] = LOAD(nr);
	code[n++] =
	    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1); /* x32, and the other arch */
	code[n++] = ANSWER(SECCOMP_RET_KILL_PROCESS);
	n += allow_with(&code[n], SYS_tgkill, (unsigned)getpid()); /* abort() */
	n += allow_with(&code[n], SYS_prlimit64, 0);
	for (size_t i = 0; i < COUNT_OF(allowed); i++) {
		code[n++] = SKIP_UNLESS(allowed[i], 1);
		code[n++] = ANSWER(SECCOMP_RET_ALLOW);
	}
	code[n++] = ANSWER(SECCOMP_RET_ERRNO | EPERM);
	struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? ERR_REFUSED : OK;
}
#else
static int filter_calls(void)
{
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

int sandbox_enter(int keep_fd, const char *folder)
{
	int rc = close_others(keep_fd);
	if (rc == OK && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) rc = ERR_REFUSED;
	if (rc == OK) rc = restrict_files(folder);
	if (rc == OK) rc = set_limits();
	return rc == OK ? filter_calls() : rc;
}
