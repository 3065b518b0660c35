/* A source that does what its body says: "hang N", "fail", "exact", "late", "many N", "get", "keep"; else the body is an event. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cdpd_plugin.h"

struct hooked {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	struct cdpd_batch_out *before; /* of an earlier request */
};

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static void hang(long ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	(void)nanosleep(&pause, NULL);
}

/* What must be refused is; what may be is in the answer. */
static int exact(const struct hooked *self, struct cdpd_reply *reply)
{
	static char large[70000];
	const struct cdpd_host *host = self->host;
	memset(large, 'x', sizeof large);
	bool is_right = host->reply_status(reply, 99) == CDPD_ERR_INVALID &&
			host->reply_status(reply, 600) == CDPD_ERR_INVALID &&
			host->reply_status(reply, 299) == CDPD_OK &&
			host->reply_header(reply, "X-A", str("b\r\nX-C: d")) == CDPD_ERR_INVALID &&
			host->reply_header(reply, "X A", str("b")) == CDPD_ERR_INVALID &&
			host->reply_header(reply, "content-length", str("1")) == CDPD_ERR_DENIED &&
			host->reply_header(reply, "X-A", str("b")) == CDPD_OK &&
			host->reply_header(reply, "Content-Type", str("text/odd")) == CDPD_OK &&
			host->reply_body(reply, (struct cdpd_str){large, sizeof large}) == CDPD_ERR_TOO_LARGE;
	return host->reply_body(reply, str(is_right ? "confirmed" : "wrong"));
}

static int many(const struct hooked *self, struct cdpd_batch_out *out, struct cdpd_reply *reply, long count)
{
	char text[200];
	int rc = CDPD_OK;
	long made = 0;
	for (; made < count && rc == CDPD_OK; made += rc == CDPD_OK) {
		(void)snprintf(text, sizeof text,
			       "{\"type\":\"track\",\"event\":\"A\",\"userId\":\"u1\",\"messageId\":\"n%ld\"}", made);
		rc = self->host->out_event(out, str(text));
	}
	(void)snprintf(text, sizeof text, "%ld %d", made, rc);
	return self->host->reply_body(reply, str(text));
}

static int keep(const struct hooked *self, struct cdpd_reply *reply)
{
	char text[16] = "";
	size_t len = 0;
	(void)self->host->kv_get(self->instance, str("n"), text, sizeof text - 1, &len);
	(void)snprintf(text, sizeof text, "%d", atoi(text) + 1);
	int rc = self->host->kv_put(self->instance, str("n"), str(text), 0);
	return rc == CDPD_OK ? self->host->reply_body(reply, str(text)) : rc;
}

static int decode(void *ctx, const struct cdpd_request *request, struct cdpd_batch_out *out, struct cdpd_reply *reply)
{
	struct hooked *self = ctx;
	const struct cdpd_host *host = self->host;
	struct cdpd_request_info info = {.size = sizeof info};
	char body[64];
	if (host->request_info(request, &info) != CDPD_OK) return CDPD_ERR_INVALID;
	(void)snprintf(body, sizeof body, "%.*s", (int)info.body.len, info.body.ptr);
	if (self->before && host->out_event(self->before, str("{}")) != CDPD_ERR_INVALID) return CDPD_ERR_IO;
	self->before = out;
	if (info.method.len == 3) return host->reply_body(reply, host->request_param(request, "challenge"));
	if (strncmp(body, "hang ", 5) == 0) hang(atol(body + 5));
	if (strncmp(body, "many ", 5) == 0) return many(self, out, reply, atol(body + 5));
	if (strcmp(body, "exact") == 0) return exact(self, reply);
	if (strcmp(body, "keep") == 0) return keep(self, reply);
	if (strcmp(body, "header") == 0) return host->reply_body(reply, host->request_header(request, "x-told"));
	if (strcmp(body, "fail") == 0) {
		(void)host->out_event(out, str("{\"type\":\"track\",\"event\":\"A\",\"userId\":\"u1\"}"));
		return CDPD_ERR_IO;
	}
	if (strcmp(body, "reject") == 0) return host->out_reject(out, "made no sense", str("this part"));
	return strncmp(body, "hang", 4) == 0 ? CDPD_OK : host->out_event(out, info.body);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct hooked *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	if (host->conf_bool(conf, "refuse")) {
		free(self);
		return CDPD_ERR_INVALID;
	}
	*out = self;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {.name = "refuse", .type = CDPD_OPTION_BOOL, .default_text = "false", .help = "create fails"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 3,
    .name = "hooked",
    .version = "1.0.0",
    .summary = "does what it is told",
    .caps = CDPD_CAP_SOURCE,
    .options = {sizeof options[0], sizeof options / sizeof *options, options},
    .create = create,
    .destroy = free,
    .decode = decode,
};
