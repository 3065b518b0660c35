/* ndjson: an exporter that appends one JSON object per event to files, sealed by size and age. See README.md. */
#include "ndjson.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int append(struct ndjson *self, const char *ptr, size_t len)
{
	if (len > self->line_size - self->line_len) {
		size_t size = self->line_size ? self->line_size : 65536;
		while (size - self->line_len < len) size *= 2;
		char *bigger = realloc(self->lines, size);
		if (!bigger) return CDPD_ERR_NOMEM;
		self->lines = bigger;
		self->line_size = size;
	}
	memcpy(self->lines + self->line_len, ptr, len);
	self->line_len += len;
	return CDPD_OK;
}

static int append_member(struct ndjson *self, const char *name, struct cdpd_str value)
{
	int rc = append(self, name, strlen(name));
	if (rc == CDPD_OK) rc = append(self, value.ptr, value.len);
	return rc == CDPD_OK ? append(self, "\"", 1) : rc;
}

/* The event's object with three members more: it ends in '}', and the values are plain ASCII by the host's word. */
static int append_record(struct ndjson *self, const struct cdpd_record *record)
{
	if (record->json.len < 2 || record->json.ptr[record->json.len - 1] != '}') return CDPD_ERR_INVALID;
	if (memchr(record->json.ptr, '\n', record->json.len)) return CDPD_ERR_INVALID;
	int rc = append(self, record->json.ptr, record->json.len - 1);
	if (rc == CDPD_OK && record->json.len > 2) rc = append(self, ",", 1);
	/* What is no event may have a position of its own. */
	if (rc == CDPD_OK && record->kind == CDPD_RECORD_EVENT) {
		rc = append_member(self, "\"position\":\"", record->position);
		if (rc == CDPD_OK) rc = append(self, ",", 1);
	}
	if (rc == CDPD_OK) rc = append_member(self, "\"profileId\":\"", record->profile_id);
	if (rc == CDPD_OK) rc = append_member(self, ",\"deliveryId\":\"", record->delivery_id);
	return rc == CDPD_OK ? append(self, "}\n", 2) : rc;
}

/* What is of a kind unknown here or no JSON line is left out; the rest goes into self->lines. */
static enum cdpd_verdict collect(struct ndjson *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt,
				 uint64_t *count)
{
	struct cdpd_record record = {.size = sizeof record};
	size_t total = self->host->batch_count(batch);
	self->line_len = 0;
	*count = 0;
	for (size_t i = 0; i < total; i++) {
		size_t before = self->line_len;
		if (self->host->batch_record(batch, i, &record) != CDPD_OK) return CDPD_RETRY;
		if (record.kind > CDPD_RECORD_CHANGE) continue;
		int rc = append_record(self, &record);
		if (rc == CDPD_ERR_NOMEM) return CDPD_RETRY;
		if (rc == CDPD_OK) {
			++*count;
		} else {
			self->line_len = before;
			self->host->receipt_set(receipt, i, CDPD_DROP, 0, "the record is not one line of JSON");
		}
	}
	return CDPD_ACK;
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct ndjson *self = ctx;
	uint64_t count;
	enum cdpd_verdict verdict = collect(self, batch, receipt, &count);
	if (verdict != CDPD_ACK || self->line_len == 0) return verdict;
	const char *why = NULL;
	if (files_write(self, &why) == CDPD_OK) {
		self->host->count(self->instance, self->lines_metric, count);
		return CDPD_ACK;
	}
	self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, why);
	return CDPD_RETRY;
}

static void on_timer(void *ctx)
{
	struct ndjson *self = ctx;
	self->has_timer = false;
	files_seal_if_old(self);
	files_set_timer(self);
}

void files_set_timer(struct ndjson *self)
{
	if (self->has_timer || self->fd < 0 || !CDPD_HAS(self->host, timer)) return;
	int64_t left = self->opened_at + self->rotate_seconds - files_now();
	self->has_timer =
	    self->host->timer(self->instance, (left > 0 ? left : 0) * 1000 + 10, on_timer, self) == CDPD_OK;
}

static void destroy(void *ctx)
{
	struct ndjson *self = ctx;
	files_close(self);
	free(self->lines);
	free(self->directory);
	free(self->prefix);
	free(self);
}

static char *copy(struct cdpd_str text)
{
	return strndup(text.ptr, text.len);
}

static bool is_prefix(const char *text)
{
	return text[0] &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(text);
}

static int configure(struct ndjson *self, const struct cdpd_conf *conf)
{
	self->directory = copy(self->host->conf_text(conf, "directory"));
	self->prefix = copy(self->host->conf_text(conf, "prefix"));
	self->rotate_bytes = self->host->conf_int(conf, "rotate_bytes");
	self->rotate_seconds = self->host->conf_int(conf, "rotate_seconds");
	if (!self->directory || !self->prefix) return CDPD_ERR_NOMEM;
	if (!is_prefix(self->prefix)) {
		self->host->log(self->instance, CDPD_LOG_ERROR, "prefix may hold letters, digits, '_' and '-' only");
		return CDPD_ERR_INVALID;
	}
	self->lines_metric = self->host->counter(self->instance, "ndjson_lines_total", "Lines made durable.");
	self->files_metric = self->host->counter(self->instance, "ndjson_files_total", "Files sealed.");
	return CDPD_OK;
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct ndjson *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	*self = (struct ndjson){.host = host, .instance = instance, .fd = -1, .dir_fd = -1, .lock_fd = -1};
	int rc = configure(self, conf);
	if (rc == CDPD_OK) rc = files_open(self);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	files_set_timer(self);
	*out = self;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {
	.name = "directory",
	.type = CDPD_OPTION_STRING,
	.is_required = true,
	.min = 1,
	.max = 3000,
	.help = "where the files go; made when missing (its parent must exist)",
    },
    {
	.name = "prefix",
	.type = CDPD_OPTION_STRING,
	.default_text = "events",
	.min = 1,
	.max = 100,
	.help = "first part of the file names; one prefix in one directory belongs to one destination",
    },
    {
	.name = "rotate_bytes",
	.type = CDPD_OPTION_SIZE,
	.default_text = "64MB",
	.min = 1,
	.max = 1e12,
	.help = "a file that has reached this size is sealed",
    },
    {
	.name = "rotate_seconds",
	.type = CDPD_OPTION_INT,
	.default_text = "3600",
	.min = 1,
	.max = 31536000,
	.help = "a file is sealed this long after it was begun",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 4,
    .name = "ndjson",
    .version = "1.0.0",
    .summary = "appends events to files, one JSON object a line, with rotation",
    .caps = CDPD_CAP_EXPORT,
    .flags = CDPD_PLUGIN_OWN_IO,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
