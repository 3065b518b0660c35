/* files: an exporter whose files hold each record once, whatever is killed when. See README.md. */
#include "files.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#define INDEX_SIZE  8192 /* four times what is remembered */
#define ZSTD_EFFORT 3

/* ── bytes ───────────────────────────────────────────────────────────────── */

static bool make_room(struct bytes *bytes, size_t len)
{
	if (bytes->has_failed) return false;
	if (len <= bytes->size - bytes->len) return true;
	size_t size = bytes->size ? bytes->size : 512;
	while (size - bytes->len < len) size *= 2;
	char *bigger = realloc(bytes->ptr, size);
	bytes->has_failed = !bigger;
	if (!bigger) return false;
	bytes->ptr = bigger;
	bytes->size = size;
	return true;
}

void bytes_add(struct bytes *bytes, const void *ptr, size_t len)
{
	if (len == 0 || !make_room(bytes, len)) return;
	memcpy(bytes->ptr + bytes->len, ptr, len);
	bytes->len += len;
}

void bytes_free(struct bytes *bytes)
{
	free(bytes->ptr);
	*bytes = (struct bytes){0};
}

static void bytes_reset(struct bytes *bytes)
{
	bytes->len = 0;
	bytes->has_failed = false;
}

/* ── which records are new ───────────────────────────────────────────────── */

struct seen {
	uint16_t slots[INDEX_SIZE]; /* index in ids + 1; 0: free */
};

static void seen_build(struct seen *seen, const struct state *state)
{
	memset(seen, 0, sizeof *seen);
	for (uint32_t i = 0; i < state->id_count; i++) {
		size_t at = state->ids[i].a % INDEX_SIZE;
		while (seen->slots[at]) at = (at + 1) % INDEX_SIZE;
		seen->slots[at] = (uint16_t)(i + 1);
	}
}

static bool seen_has(const struct seen *seen, const struct state *state, struct id id)
{
	for (size_t at = id.a % INDEX_SIZE; seen->slots[at]; at = (at + 1) % INDEX_SIZE) {
		const struct id *other = &state->ids[seen->slots[at] - 1];
		if (other->a == id.a && other->b == id.b) return true;
	}
	return false;
}

/* ── the batch ───────────────────────────────────────────────────────────── */

static void note_position(char out[64], struct cdpd_str position)
{
	memset(out, 0, 64); /* at most 40 bytes, URL-safe: the host's word */
	memcpy(out, position.ptr, position.len < 63 ? position.len : 63);
}

static void note(struct files *self, const struct cdpd_record *record, struct id id)
{
	struct state *next = &self->next;
	if (next->rows == 0) note_position(next->first_position, record->position);
	note_position(next->last_position, record->position);
	next->rows++;
	state_remember(next, id);
}

/* Into self->records and self->next; what stands in a file already is left out. */
static enum cdpd_verdict collect(struct files *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct seen seen;
	struct cdpd_record record = {.size = sizeof record};
	size_t total = self->host->batch_count(batch), repeats = 0;
	self->next = self->state;
	bytes_reset(&self->records);
	seen_build(&seen, &self->state);
	for (size_t i = 0; i < total; i++) {
		if (self->host->batch_record(batch, i, &record) != CDPD_OK) return CDPD_RETRY;
		struct id id = id_of(record.delivery_id);
		if (seen_has(&seen, &self->state, id))
			repeats++;
		else if (record.kind != CDPD_RECORD_EVENT)
			self->host->receipt_set(receipt, i, CDPD_DROP, 0,
						"a kind of record that this version does not know");
		else if (!self->format->record(self, &record, &self->records))
			self->host->receipt_set(receipt, i, CDPD_DROP, 0, "the record is not one line of JSON");
		else
			note(self, &record, id);
	}
	self->host->count(self->instance, self->repeats_metric, repeats);
	return self->records.has_failed ? CDPD_RETRY : CDPD_ACK;
}

static bool pack(const struct bytes *from, struct bytes *to)
{
	bytes_reset(to);
	if (!make_room(to, ZSTD_compressBound(from->len))) return false;
	size_t len = ZSTD_compress(to->ptr, to->size, from->ptr, from->len, ZSTD_EFFORT);
	to->len = ZSTD_isError(len) ? 0 : len;
	return to->len > 0;
}

/* The bytes of the batch as they go to the file. NULL: out of memory. */
static const struct bytes *shape(struct files *self, uint64_t rows)
{
	const struct format *format = self->format;
	bool begins = self->state.size == 0 && format->header;
	const struct bytes *out = &self->records;
	if (begins || format->block) {
		bytes_reset(&self->block);
		if (begins) format->header(self, &self->block);
		if (format->block)
			format->block(self, &self->records, rows, &self->block);
		else
			bytes_add(&self->block, self->records.ptr, self->records.len);
		out = &self->block;
	}
	if (out->has_failed) return NULL;
	if (!self->is_zstd) return out;
	return pack(out, &self->packed) ? &self->packed : NULL;
}

/* The new records of the batch, all or none. */
static int write_records(struct files *self, uint64_t rows, const char **why)
{
	if (folder_begin(self, why) != CDPD_OK) return CDPD_ERR_IO;
	const struct bytes *bytes = shape(self, rows);
	if (bytes) return folder_write(self, bytes, why);
	folder_close(self);
	return CDPD_ERR_NOMEM;
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct files *self = ctx;
	const char *why = "out of memory";
	if (folder_ready(self, &why) == CDPD_OK && collect(self, batch, receipt) == CDPD_ACK) {
		uint64_t rows = (uint64_t)(self->next.rows - self->state.rows);
		why = "out of memory";
		if (rows == 0) return CDPD_ACK;
		if (write_records(self, rows, &why) == CDPD_OK) {
			self->host->count(self->instance, self->rows_metric, rows);
			return CDPD_ACK;
		}
	}
	self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, why);
	return CDPD_RETRY;
}

static void on_timer(void *ctx)
{
	struct files *self = ctx;
	self->has_timer = false;
	folder_seal_if_old(self);
	folder_set_timer(self);
}

void folder_set_timer(struct files *self)
{
	if (self->has_timer || self->fd < 0 || !CDPD_HAS(self->host, timer)) return;
	int64_t left = self->state.opened_at + self->rotate_seconds - folder_now();
	self->has_timer =
	    self->host->timer(self->instance, (left > 0 ? left : 0) * 1000 + 10, on_timer, self) == CDPD_OK;
}

/* ── options ─────────────────────────────────────────────────────────────── */

static int refuse(struct files *self, const char *what, const char *why)
{
	self->host->log(self->instance, CDPD_LOG_ERROR, "%s: %s", what, why);
	return CDPD_ERR_INVALID;
}

static bool is_avro_name(const char *text)
{
	if (!isalpha((unsigned char)text[0]) && text[0] != '_') return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && *text != '_') return false;
	return true;
}

static const char *what_is_wrong(const struct files *self, const struct column *column)
{
	if (!column->name[0] || !column->path[0]) return "a column is a path, or name=path";
	for (size_t i = 0; i < self->column_count; i++)
		if (strcmp(self->columns[i].name, column->name) == 0) return "two columns have this name";
	if (self->format != &format_avro) return NULL;
	if (strcmp(column->name, "time") == 0 || strcmp(column->name, "json") == 0)
		return "every Avro record has this field already";
	return is_avro_name(column->name) ? NULL : "Avro names hold letters, digits and '_': give it one, name=path";
}

static int add_column(struct files *self, struct cdpd_str item)
{
	struct column *column = &self->columns[self->column_count];
	const char *equals = memchr(item.ptr, '=', item.len);
	size_t name = equals ? (size_t)(equals - item.ptr) : item.len, path = equals ? name + 1 : 0;
	column->name = strndup(item.ptr, name);
	column->path = strndup(item.ptr + path, item.len - path);
	if (!column->name || !column->path) return CDPD_ERR_NOMEM;
	const char *why = what_is_wrong(self, column);
	self->column_count++;
	return why ? refuse(self, column->name, why) : CDPD_OK;
}

static int read_columns(struct files *self, const struct cdpd_conf *conf)
{
	size_t count = self->host->conf_count(conf, "columns");
	int rc = CDPD_OK;
	for (size_t i = 0; i < count && i < COLUMNS_MAX && rc == CDPD_OK; i++)
		rc = add_column(self, self->host->conf_item(conf, "columns", i));
	return rc;
}

static void hash_shape(struct files *self)
{
	uint64_t hash = hash_bytes(self->format->name, strlen(self->format->name), self->is_zstd);
	for (size_t i = 0; i < self->column_count && self->format != &format_ndjson; i++) {
		hash = hash_bytes(self->columns[i].name, strlen(self->columns[i].name) + 1, hash);
		hash = hash_bytes(self->columns[i].path, strlen(self->columns[i].path) + 1, hash);
	}
	self->shape = hash;
}

static bool is_text(struct cdpd_str text, const char *other)
{
	return text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

static bool is_prefix(const char *text)
{
	for (const char *at = text; *at; at++)
		if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-') return false;
	return text[0] != '\0';
}

static int configure(struct files *self, const struct cdpd_conf *conf)
{
	struct cdpd_str directory = self->host->conf_text(conf, "directory"), format;
	struct cdpd_str prefix = self->host->conf_text(conf, "prefix");
	self->directory = strndup(directory.ptr, directory.len);
	self->prefix = strndup(prefix.ptr, prefix.len);
	self->rotate_bytes = self->host->conf_int(conf, "rotate_bytes");
	self->rotate_seconds = self->host->conf_int(conf, "rotate_seconds");
	format = self->host->conf_text(conf, "format");
	self->format = is_text(format, "avro") ? &format_avro : is_text(format, "csv") ? &format_csv : &format_ndjson;
	self->is_zstd = is_text(self->host->conf_text(conf, "compression"), "zstd");
	if (!self->directory || !self->prefix) return CDPD_ERR_NOMEM;
	if (!is_prefix(self->prefix)) return refuse(self, "prefix", "it may hold letters, digits, '_' and '-' only");
	if (self->is_zstd && self->format == &format_avro)
		return refuse(self, "compression", "Avro files are written without");
	int rc = read_columns(self, conf);
	hash_shape(self);
	self->rows_metric = self->host->counter(self->instance, "files_rows_total", "Records made durable.");
	self->files_metric = self->host->counter(self->instance, "files_sealed_total", "Files sealed.");
	self->repeats_metric =
	    self->host->counter(self->instance, "files_repeats_total", "Records that were in a file already.");
	return rc;
}

/* ── making and ending ───────────────────────────────────────────────────── */

static void destroy(void *ctx)
{
	struct files *self = ctx;
	folder_close(self);
	for (size_t i = 0; i < self->column_count; i++) {
		free(self->columns[i].name);
		free(self->columns[i].path);
	}
	bytes_free(&self->records);
	bytes_free(&self->block);
	bytes_free(&self->packed);
	free(self->directory);
	free(self->prefix);
	free(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct files *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->fd = self->dir_fd = self->state_fd = -1;
	int rc = configure(self, conf);
	if (rc == CDPD_OK) rc = folder_open(self);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	folder_set_timer(self);
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
	.name = "format",
	.type = CDPD_OPTION_ENUM,
	.default_text = "ndjson",
	.values = "ndjson|csv|avro",
	.help = "of the files",
    },
    {
	.name = "compression",
	.type = CDPD_OPTION_ENUM,
	.default_text = "none",
	.values = "none|zstd",
	.help = "of NDJSON and CSV files",
    },
    {
	.name = "columns",
	.type = CDPD_OPTION_LIST,
	.default_text = "messageId, type, event, userId, anonymousId, timestamp, profileId, deliveryId, position",
	.min = 1,
	.max = COLUMNS_MAX,
	.help = "of CSV and Avro: a path into the record, or name=path, such as total=properties.total",
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
    .abi_minor = 0,
    .name = "files",
    .version = "1.0.0",
    .summary = "writes NDJSON, CSV or Avro files, each record in one of them, once",
    .caps = CDPD_CAP_EXPORT,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
