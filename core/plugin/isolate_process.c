#include "plugin/isolate_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define READ_CHUNK ((size_t)64 << 10)
#define READ_MOST  ((size_t)1 << 20) /* at a time */

void isolate_process_init(struct isolate_process *process)
{
	*process = (struct isolate_process){.fd = -1};
	buf_init(&process->in, WIRE_FRAME_MAX + WIRE_HEADER + READ_MOST + READ_CHUNK);
	buf_init(&process->out, ISOLATE_OUT_MAX);
}

void isolate_process_fini(struct isolate_process *process)
{
	CHECK(process->pid == 0);
	buf_fini(&process->in);
	buf_fini(&process->out);
}

/* ── starting ────────────────────────────────────────────────────────────── */

static int set_actions(posix_spawn_file_actions_t *actions, int fd)
{
	int rc = 0;
	for (int i = 0; i <= 2 && !rc; i++) rc = posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
	if (!rc) rc = posix_spawn_file_actions_adddup2(actions, fd, ISOLATE_FD);
	if (!rc) rc = posix_spawn_file_actions_addclosefrom_np(actions, ISOLATE_FD + 1);
	return rc;
}

/* A group of its own: what a terminal sends the daemon is not for it. */
static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t all, none;
	(void)sigfillset(&all);
	(void)sigemptyset(&none);
	int rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	if (!rc) rc = posix_spawnattr_setsigdefault(attr, &all);
	if (!rc) rc = posix_spawnattr_setsigmask(attr, &none);
	return rc ? rc : posix_spawnattr_setpgroup(attr, 0);
}

static int spawn(int fd, pid_t *pid)
{
	char parent[24];
	char *const argv[] = {"cdpd", ISOLATE_ARGUMENT, parent, NULL}, *const envp[] = {NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	(void)snprintf(parent, sizeof parent, "%ld", (long)getpid());
	if (posix_spawn_file_actions_init(&actions)) return ERR_NOMEM;
	if (posix_spawnattr_init(&attr)) {
		(void)posix_spawn_file_actions_destroy(&actions);
		return ERR_NOMEM;
	}
	int rc = set_actions(&actions, fd);
	if (!rc) rc = set_attributes(&attr);
	if (!rc) rc = posix_spawn(pid, "/proc/self/exe", &actions, &attr, argv, envp);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	return rc ? ERR_REFUSED : OK;
}

int isolate_process_start(struct isolate_process *process)
{
	int fds[2];
	CHECK(process->pid == 0);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) return ERR_REFUSED;
	int rc = fcntl(fds[0], F_SETFL, O_NONBLOCK) ? ERR_REFUSED : spawn(fds[1], &process->pid);
	(void)close(fds[1]);
	if (rc) {
		(void)close(fds[0]);
		process->pid = 0;
		return rc;
	}
	process->fd = fds[0];
	process->sent = process->done = 0;
	buf_clear(&process->in);
	buf_clear(&process->out);
	return OK;
}

/* ── speaking ────────────────────────────────────────────────────────────── */

void isolate_process_sent(struct isolate_process *process)
{
	if (process->sent++ == process->done) process->progress_us = clock_mono_us();
}

int isolate_process_dealt(struct isolate_process *process, uint32_t done)
{
	if (done - process->done > process->sent - process->done || done == process->done) return ERR_INVALID;
	process->done = done;
	process->progress_us = clock_mono_us();
	return OK;
}

int64_t isolate_process_idle_us(const struct isolate_process *process, int64_t now_us)
{
	return process->sent == process->done ? 0 : now_us - process->progress_us;
}

int isolate_process_write(struct isolate_process *process)
{
	while (process->out.len) {
		ssize_t n = send(process->fd, buf_ptr(&process->out), process->out.len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return OK;
		if (n <= 0) return ERR_CLOSED;
		buf_consume(&process->out, (size_t)n);
	}
	return OK;
}

int isolate_process_read(struct isolate_process *process)
{
	for (size_t got = 0; got < READ_MOST;) {
		char *tail;
		int rc = buf_reserve(&process->in, READ_CHUNK, &tail);
		if (rc) return rc == ERR_TOO_LARGE ? OK : rc; /* frames first */
		ssize_t n = recv(process->fd, tail, READ_CHUNK, 0);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return OK;
		if (n <= 0) return ERR_CLOSED;
		buf_commit(&process->in, (size_t)n);
		got += (size_t)n;
		if ((size_t)n < READ_CHUNK) return OK;
	}
	return OK;
}

int isolate_process_next(struct isolate_process *process, enum frame_type *type, struct str *body)
{
	size_t used;
	int rc = wire_frame(buf_str(&process->in), type, body, &used);
	if (rc == OK) buf_consume(&process->in, used); /* the bytes stay until more are read */
	return rc;
}

int isolate_process_wait(struct isolate_process *process, int64_t until_us)
{
	for (;;) {
		int64_t left = until_us - clock_mono_us();
		struct pollfd pfd = {.fd = process->fd, .events = POLLIN};
		if (left <= 0) return ERR_TIMEOUT;
		int ready = poll(&pfd, 1, (int)(left / US_PER_MS) + 1);
		if (ready > 0) return OK;
		if (ready < 0 && errno != EINTR) return ERR_IO;
	}
}

/* ── ending ──────────────────────────────────────────────────────────────── */

struct isolate_end isolate_process_end(struct isolate_process *process, int64_t grace_us)
{
	struct isolate_end end = {.was_killed = false};
	int64_t until = clock_mono_us() + grace_us;
	if (process->pid == 0) return end;
	(void)close(process->fd);
	process->fd = -1;
	while (waitpid(process->pid, &end.status, WNOHANG) == 0) {
		if (clock_mono_us() >= until && !end.was_killed) {
			end.was_killed = true;
			(void)kill(process->pid, SIGKILL);
		}
		(void)poll(NULL, 0, 1);
	}
	process->pid = 0;
	return end;
}
