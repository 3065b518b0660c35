#include "webhook.h"

#include <stdlib.h>
#include <string.h>

/* ── a batch ─────────────────────────────────────────────────────────────── */

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct webhook *self = ctx;
	if (self->host->batch_count(batch) == 0) return CDPD_ACK;
	if (delivery_is_overdue(self)) { /* the host waits for it no longer, but its requests may still arrive */
		(void)self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, "the last batch is still on its way");
		return CDPD_RETRY;
	}
	return delivery_begin(self, batch, receipt) ? CDPD_PENDING : CDPD_RETRY;
}

/* ── options ─────────────────────────────────────────────────────────────── */

static int complain(const struct webhook *self, const char *option, const char *what)
{
	self->host->log(self->instance, CDPD_LOG_ERROR, "%s: %s", option, what);
	return CDPD_ERR_INVALID;
}

static bool is_choice(const struct webhook *self, const struct cdpd_conf *conf, const char *option, const char *choice)
{
	struct cdpd_str text = self->host->conf_text(conf, option);
	return text.len == strlen(choice) && memcmp(text.ptr, choice, text.len) == 0;
}

static int take_url(struct webhook *self, const struct cdpd_conf *conf)
{
	struct cdpd_str url = self->host->conf_text(conf, "url");
	const char *why = outgoing_check_url(url);
	if (why) return complain(self, "url", why);
	self->url = strndup(url.ptr, url.len);
	self->method = is_choice(self, conf, "method", "PUT")     ? "PUT"
		       : is_choice(self, conf, "method", "PATCH") ? "PATCH"
								  : "POST";
	return self->url ? CDPD_OK : CDPD_ERR_NOMEM;
}

static int take_shape(struct webhook *self, const struct cdpd_conf *conf)
{
	const struct cdpd_host *host = self->host;
	bool is_batch = is_choice(self, conf, "mode", "batch");
	if (!is_batch && host->conf_has(conf, "format")) return complain(self, "format", "it is for `mode: batch`");
	self->format = !is_batch                                        ? BODY_RECORD
		       : is_choice(self, conf, "format", "ndjson")      ? BODY_LINES
		       : is_choice(self, conf, "format", "json_object") ? BODY_OBJECT
									: BODY_ARRAY;
	self->has_ids = host->conf_bool(conf, "ids");
	self->max_records = is_batch ? (size_t)host->conf_int(conf, "max_records") : 1;
	self->span = self->max_records;
	self->max_bytes = (size_t)host->conf_int(conf, "max_bytes");
	self->concurrency = (size_t)host->conf_int(conf, "concurrency");
	self->timeout_ms = (uint32_t)(host->conf_int(conf, "timeout") / 1000);
	self->gzip_from = (size_t)host->conf_int(conf, "gzip");
	if (self->gzip_from && !(self->gzip = body_gzip_new())) return CDPD_ERR_NOMEM;
	return CDPD_OK;
}

static int take_keys(struct webhook *self, const struct cdpd_conf *conf)
{
	struct cdpd_str text = self->host->conf_text(conf, "signing_secret");
	if (text.len == 0) return CDPD_OK;
	const char *why = signature_keys_new(text, &self->keys);
	return why ? complain(self, "signing_secret", why) : CDPD_OK;
}

static int configure(struct webhook *self, const struct cdpd_conf *conf)
{
	int rc = take_url(self, conf);
	if (rc == CDPD_OK) rc = take_shape(self, conf);
	if (rc == CDPD_OK) rc = take_keys(self, conf);
	if (rc == CDPD_OK) rc = answer_rules_read(&self->rules, self->host, self->instance, conf);
	if (rc == CDPD_OK) rc = outgoing_new(self->host, self->instance, conf, &self->outgoing);
	if (rc == CDPD_OK) self->has_type = outgoing_has(self->outgoing, "content-type");
	return rc;
}

/* ── being ───────────────────────────────────────────────────────────────── */

static void destroy(void *ctx)
{
	struct webhook *self = ctx;
	delivery_free_all(self);
	outgoing_free(self->outgoing);
	signature_keys_free(self->keys);
	body_gzip_free(self->gzip);
	free(self->url);
	free(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct webhook *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->requests_metric =
	    host->counter(instance, "webhook_requests_total", "Requests made, token requests aside.");
	self->bytes_metric = host->counter(instance, "webhook_bytes_total", "Bytes of their bodies, as sent.");
	self->splits_metric = host->counter(instance, "webhook_splits_total",
					    "Requests that were cut in halves, for a record in them was refused.");
	self->seconds_metric = host->histogram(instance, "webhook_seconds", "From a request to its answer.");
	int rc = configure(self, conf);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {
	.name = "url",
	.type = CDPD_OPTION_STRING,
	.is_required = true,
	.min = 8,
	.max = 4096,
	.help = "where records are sent: https://… or http://…",
    },
    OUTGOING_CHOICE("method", "POST", "POST|PUT|PATCH", "of the requests"),
    OUTGOING_CHOICE("mode", "single", "single|batch", "one record in a request, or several"),
    OUTGOING_CHOICE("format", NULL, "json_array|ndjson|json_object",
		    "of a batch: [record, …], lines, or {\"id\", \"records\"}"),
    {
	.name = "ids",
	.type = CDPD_OPTION_BOOL,
	.default_text = "false",
	.help = "add deliveryId, profileId and position to each record",
    },
    {
	.name = "max_records",
	.type = CDPD_OPTION_INT,
	.default_text = "100",
	.min = 1,
	.max = RECORDS_MAX,
	.help = "in a request of mode batch",
    },
    {
	.name = "max_bytes",
	.type = CDPD_OPTION_SIZE,
	.default_text = "1MB",
	.min = 1,
	.max = 8e6,
	.help = "of records in a request of mode batch, before gzip",
    },
    {
	.name = "concurrency",
	.type = CDPD_OPTION_INT,
	.default_text = "1",
	.min = 1,
	.max = CONCURRENCY_MAX,
	.help = "requests of one batch under way at a time; a person's records stay in order",
    },
    {
	.name = "gzip",
	.type = CDPD_OPTION_SIZE,
	.default_text = "0",
	.max = 8e6,
	.help = "compress bodies from this size on; 0: never",
    },
    {
	.name = "timeout",
	.type = CDPD_OPTION_DURATION,
	.default_text = "10s",
	.min = 1e4,
	.max = 20e6,
	.help = "how long to wait for the answer to a request",
    },
    OUTGOING_SECRET("signing_secret",
		    "Standard Webhooks keys, whsec_… or whsk_…, between white space: all of them sign"),
    OUTGOING_OPTIONS,
    ANSWER_OPTIONS,
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 2, /* http */
    .name = "webhook",
    .version = "1.0.0",
    .summary = "posts records to any HTTP endpoint, signed",
    .caps = CDPD_CAP_EXPORT,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
