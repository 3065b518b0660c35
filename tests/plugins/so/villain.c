/* A synchronous enricher that misbehaves at events of one name, in the way its options say, and behaves at all others. What it tried and what came of it is told in
 * enrichment.villain. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cdpd_plugin.h"

#define FD_FIRST 3

struct villain {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	char mode[16], on[64], file[256];
	int name, fine, result, error, seen, bytes;
	void *volatile leaked;
};

static int tell(struct villain *self, struct cdpd_event *event, long result)
{
	int error = errno;
	(void)self->host->event_set_number(self->instance, event, self->result, (double)result);
	return self->host->event_set_number(self->instance, event, self->error, result < 0 ? error : 0);
}

static void write_all(const void *bytes, size_t len)
{
	for (int fd = FD_FIRST; fd < 16; fd++) (void)!write(fd, bytes, len);
}

/* A frame of 100 MB begins, and goes on for ever. */
static void shout(void)
{
	static char junk[1 << 16] = {0, 0, 0x40, 6, 6, 0, 0, 0};
	for (;;) (void)!write(FD_FIRST, junk, sizeof junk);
}

static int leak(struct villain *self)
{
	for (;;) {
		char *more = malloc(1 << 20);
		if (!more) return CDPD_ERR_NOMEM;
		memset(more, 1, 1 << 20);
		self->leaked = more;
	}
}

static int try_to_read(struct villain *self, struct cdpd_event *event)
{
	char text[64];
	int fd = open(self->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return tell(self, event, -1);
	ssize_t len = read(fd, text, sizeof text);
	(void)close(fd);
	return tell(self, event, len);
}

static int misbehave(struct villain *self, struct cdpd_event *event)
{
	const char *mode = self->mode;
	if (!strcmp(mode, "crash")) raise(SIGSEGV);
	if (!strcmp(mode, "abort")) abort();
	if (!strcmp(mode, "exit")) _exit(7);
	if (!strcmp(mode, "hang"))
		for (;;) pause();
	if (!strcmp(mode, "spin"))
		for (volatile unsigned i = 0;; i++) continue;
	if (!strcmp(mode, "leak")) return leak(self);
	if (!strcmp(mode, "scribble")) {
		volatile char *wild = (volatile char *)(uintptr_t)0xdead0000;
		*wild = 1;
	}
	if (!strcmp(mode, "garbage")) {
		write_all("\x05\0\0\0\xee garbage", 13);
		return CDPD_OK;
	}
	if (!strcmp(mode, "huge")) shout();
	if (!strcmp(mode, "close")) {
		(void)close(FD_FIRST);
		for (;;) pause();
	}
	if (!strcmp(mode, "chatter")) {
		for (int i = 0; i < 100000; i++) self->host->log(self->instance, CDPD_LOG_INFO, "line %d", i);
		return CDPD_OK;
	}
	if (!strcmp(mode, "drop")) return self->host->event_drop(self->instance, event, "I do not like it");
	if (!strcmp(mode, "socket")) return tell(self, event, socket(AF_INET, SOCK_STREAM, 0));
	if (!strcmp(mode, "file")) return try_to_read(self, event);
	if (!strcmp(mode, "write")) return tell(self, event, open(self->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	if (!strcmp(mode, "fork")) {
		long child = fork();
		if (child == 0) _exit(0);
		return tell(self, event, child);
	}
	if (!strcmp(mode, "kill")) return tell(self, event, kill(getppid(), SIGKILL));
	if (!strcmp(mode, "pin")) { /* by number, as it would name others */
		cpu_set_t set;
		if (sched_getaffinity(0, sizeof set, &set)) return CDPD_ERR_IO;
		return tell(self, event, sched_setaffinity(getpid(), sizeof set, &set));
	}
	if (!strcmp(mode, "signal")) { /* fcntl can make the kernel do it */
		int rc = fcntl(FD_FIRST, F_SETOWN, getppid());
		return tell(self, event, rc);
	}
	return CDPD_ERR_UNSUPPORTED;
}

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct villain *self = ctx;
	struct cdpd_value name;
	int rc = self->host->event_get(self->instance, event, self->name, &name);
	if (rc != CDPD_OK) return rc;
	self->host->count(self->instance, self->seen, 1);
	self->host->observe_us(self->instance, self->bytes, (int64_t)name.text.len);
	if (name.kind == CDPD_VALUE_STRING && name.text.len == strlen(self->on) &&
	    memcmp(name.text.ptr, self->on, name.text.len) == 0) {
		self->host->log(self->instance, CDPD_LOG_WARN, "now I %s", self->mode);
		return misbehave(self, event);
	}
	return self->host->event_set_bool(self->instance, event, self->fine, true);
}

static void copy(char *to, size_t size, struct cdpd_str from)
{
	size_t len = from.len < size - 1 ? from.len : size - 1;
	memcpy(to, from.ptr, len);
	to[len] = '\0';
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct villain *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	copy(self->mode, sizeof self->mode, host->conf_text(conf, "mode"));
	copy(self->on, sizeof self->on, host->conf_text(conf, "on"));
	copy(self->file, sizeof self->file, host->conf_text(conf, "file"));
	self->name = host->path(instance, "event");
	self->fine = host->path(instance, "enrichment.villain.fine");
	self->result = host->path(instance, "enrichment.villain.result");
	self->error = host->path(instance, "enrichment.villain.error");
	self->seen = host->counter(instance, "seen_total", "Events.");
	self->bytes = host->histogram(instance, "name_seconds", "No seconds at all.");
	if (!strcmp(self->mode, "create")) {
		host->log(instance, CDPD_LOG_ERROR, "I do not want to");
		free(self);
		return CDPD_ERR_IO;
	}
	*out = self;
	return CDPD_OK;
}

static const char *const needs[] = {"event"}, *const provides[] = {"enrichment.villain"};
static const struct cdpd_option options[] = {
    {.name = "mode",
     .type = CDPD_OPTION_ENUM,
     .default_text = "crash",
     .values = "crash|abort|exit|hang|spin|leak|scribble|garbage|huge|close|chatter|drop|socket|file|write|fork|kill|"
	       "signal|pin|create",
     .help = "what it does"},
    {.name = "on", .type = CDPD_OPTION_STRING, .default_text = "Bad", .help = "at events of this name"},
    {.name = "file", .type = CDPD_OPTION_STRING, .help = "what it tries to read or write"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 0,
    .name = "villain",
    .version = "1",
    .summary = "misbehaves",
    .caps = CDPD_CAP_ENRICH,
    .needs = {1, needs},
    .provides = {1, provides},
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = free,
    .enrich = enrich,
};
