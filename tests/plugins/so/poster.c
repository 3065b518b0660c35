/* An exporter that posts each batch to a web service and settles it when the answer comes, from its own thread, while it is waited for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdpd_plugin.h"

struct poster {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	char url[256];
	struct cdpd_receipt *receipt;
	bool waits_for_timer;
};

static struct cdpd_str text(const char *from)
{
	return (struct cdpd_str){from, strlen(from)};
}

static void on_timer(void *ctx)
{
	struct poster *self = ctx;
	(void)self->host->receipt_done(self->receipt, CDPD_ACK);
}

static void on_answer(void *ctx, const struct cdpd_http_response *response)
{
	struct poster *self = ctx;
	char count[32];
	size_t len;
	bool is_taken = !response->error && response->status == 200;
	if (!is_taken) {
		if (response->retry_after_ms > 0)
			(void)self->host->receipt_set(self->receipt, CDPD_ALL, CDPD_RETRY, response->retry_after_ms,
						      "told to wait");
		(void)self->host->receipt_done(self->receipt, CDPD_RETRY);
		return;
	}
	/* Its timers run meanwhile too, and it may keep something. */
	if (self->host->kv_get(self->instance, text("posts"), count, sizeof count - 1, &len)) len = 0;
	count[len] = '\0';
	(void)snprintf(count, sizeof count, "%d", atoi(count) + 1);
	(void)self->host->kv_put(self->instance, text("posts"), text(count), 0);
	if (self->host->timer(self->instance, 10, on_timer, self)) on_timer(self);
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct poster *self = ctx;
	size_t count = self->host->batch_count(batch), at = 0, room = 1 << 20;
	char *body = malloc(room);
	if (!body) return CDPD_RETRY;
	for (size_t i = 0; i < count; i++) {
		struct cdpd_record record = {.size = sizeof record};
		if (self->host->batch_record(batch, i, &record) || at + record.json.len + 1 > room) continue;
		memcpy(body + at, record.json.ptr, record.json.len);
		at += record.json.len;
		body[at++] = '\n';
	}
	const struct cdpd_http_request request = {
	    .size = sizeof request, .method = text("POST"), .url = text(self->url), .body = {body, at}};
	self->receipt = receipt;
	int rc = self->host->http(self->instance, &request, on_answer, self);
	free(body);
	return rc ? CDPD_RETRY : CDPD_PENDING;
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct poster *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	struct cdpd_str url = host->conf_text(conf, "url");
	(void)snprintf(self->url, sizeof self->url, "%.*s", (int)url.len, url.ptr);
	*out = self;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {.name = "url", .type = CDPD_OPTION_STRING, .is_required = true, .help = "where to post"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = CDPD_ABI_MINOR,
    .name = "poster",
    .version = "1",
    .summary = "posts batches",
    .caps = CDPD_CAP_EXPORT,
    .options = {sizeof options[0], 1, options},
    .create = create,
    .destroy = free,
    .export_batch = export_batch,
};
