/* A source and an exporter that misbehave where a request or a record says so ("rogue crash"), and behave otherwise: what is said is the mode. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cdpd_plugin.h"

struct rogue {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int taken;
};

static bool says(struct cdpd_str text, const char *word)
{
	return memmem(text.ptr, text.len, word, strlen(word)) != NULL;
}

static void shout(void)
{
	static const char junk[64] = {0, 0, 0x40, 6, 6};
	for (;;) (void)!write(3, junk, sizeof junk);
}

/* What a call comes back with that was refused. */
static void misbehave(struct cdpd_str text)
{
	if (says(text, "rogue crash")) raise(SIGSEGV);
	if (says(text, "rogue exit")) _exit(7);
	if (says(text, "rogue spin"))
		for (volatile unsigned i = 0;; i++) continue;
	if (says(text, "rogue shout")) shout();
}

static int decode(void *ctx, const struct cdpd_request *request, struct cdpd_batch_out *out, struct cdpd_reply *reply)
{
	const struct rogue *self = ctx;
	struct cdpd_request_info info = {.size = sizeof info};
	char told[64];
	if (self->host->request_info(request, &info) != CDPD_OK) return CDPD_ERR_INVALID;
	misbehave(info.body);
	if (says(info.body, "rogue busy")) return CDPD_ERR_BUSY;
	if (says(info.body, "rogue socket")) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		(void)snprintf(told, sizeof told, "%d %s", fd, strerror(errno));
		return self->host->reply_body(reply, (struct cdpd_str){told, strlen(told)});
	}
	if (says(info.body, "pid")) {
		(void)snprintf(told, sizeof told, "%ld", (long)getpid());
		return self->host->reply_body(reply, (struct cdpd_str){told, strlen(told)});
	}
	return self->host->out_event(out, info.body);
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct rogue *self = ctx;
	size_t count = self->host->batch_count(batch);
	for (size_t i = 0; i < count; i++) {
		struct cdpd_record record = {.size = sizeof record};
		if (self->host->batch_record(batch, i, &record) != CDPD_OK) return CDPD_RETRY;
		misbehave(record.json);
		if (says(record.json, "rogue drop"))
			(void)self->host->receipt_set(receipt, i, CDPD_DROP, 0, "it said so");
		else
			self->host->count(self->instance, self->taken, 1);
	}
	return CDPD_ACK;
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct rogue *self = calloc(1, sizeof *self);
	(void)conf;
	if (!self) return CDPD_ERR_NOMEM;
	*self = (struct rogue){host, instance, host->counter(instance, "taken_total", "Records.")};
	*out = self;
	return CDPD_OK;
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 3,
    .name = "rogue",
    .version = "1.0.0",
    .summary = "misbehaves when it is told",
    .caps = CDPD_CAP_SOURCE | CDPD_CAP_EXPORT,
    .create = create,
    .destroy = free,
    .decode = decode,
    .export_batch = export_batch,
};
