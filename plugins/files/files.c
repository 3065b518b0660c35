/* files: an exporter whose files hold each record once, whatever is killed when. See README.md. */
#include "files.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#include "../shared/records.h"

#define ZSTD_EFFORT 3

/* ── the batch ───────────────────────────────────────────────────────────── */

/* Where a record goes: a bit for each output. 0: this version does not know its kind. */
static unsigned outputs_of(const struct files *self, const struct cdpd_record *record)
{
	if (record->kind == CDPD_RECORD_EVENT || record_notice(record)) return 1u << OUT_EVENTS;
	if (record->kind == CDPD_RECORD_CHANGE) return 1u << OUT_CHANGES;
	if (record->kind != CDPD_RECORD_PROFILE) return 0;
	return (self->writes_profiles ? 1u << OUT_PROFILES : 0) | (self->writes_features ? 1u << OUT_FEATURES : 0);
}

struct batch_at_hand {
	unsigned begun; /* outputs */
	uint64_t repeats;
	const char *why;
};

static bool begin(struct files *self, unsigned outputs, struct batch_at_hand *hand)
{
	for (enum output_kind k = 0; k < OUTPUT_COUNT; k++) {
		if (!(outputs & ~hand->begun & 1u << k)) continue;
		if (!output_begin(&self->outputs[k], &hand->why)) return false;
		hand->begun |= 1u << k;
	}
	return true;
}

/* Into the rows of its outputs; what stands in a file already is left out. false: nothing can be written now. */
static bool take(struct files *self, const struct cdpd_record *record, struct cdpd_receipt *receipt, size_t i,
		 struct batch_at_hand *hand)
{
	unsigned outputs = outputs_of(self, record);
	if (!begin(self, outputs, hand)) return false;
	const char *never = outputs ? NULL : "a kind of record that this version does not know";
	bool is_repeat = false;
	for (enum output_kind k = 0; k < OUTPUT_COUNT; k++) {
		if (!(outputs & 1u << k)) continue;
		enum taken taken = output_take(&self->outputs[k], record);
		if (taken == TAKEN_NEVER) never = "the record is not one line of JSON";
		is_repeat |= taken == TAKEN_BEFORE;
	}
	hand->repeats += is_repeat;
	if (never) self->host->receipt_set(receipt, i, CDPD_DROP, 0, never);
	return true;
}

static bool take_all(struct files *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt,
		     struct batch_at_hand *hand)
{
	size_t count = self->host->batch_count(batch);
	for (size_t i = 0; i < count; i++) {
		struct cdpd_record record = {.size = sizeof record};
		if (self->host->batch_record(batch, i, &record) != CDPD_OK) return false;
		if (i >= ROWS_MAX)
			self->host->receipt_set(receipt, i, CDPD_RETRY, 0, "more than a batch holds");
		else if (!take(self, &record, receipt, i, hand))
			return false;
	}
	return true;
}

static bool write_all(struct files *self, struct batch_at_hand *hand)
{
	for (enum output_kind k = 0; k < OUTPUT_COUNT; k++)
		if (hand->begun & 1u << k && output_write(&self->outputs[k], &hand->why) != CDPD_OK) return false;
	return true;
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct files *self = ctx;
	struct batch_at_hand hand = {.why = "the batch cannot be read"};
	if (take_all(self, batch, receipt, &hand) && write_all(self, &hand)) {
		self->host->count(self->instance, self->repeats_metric, hand.repeats);
		return CDPD_ACK;
	}
	self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, hand.why);
	return CDPD_RETRY;
}

static void on_timer(void *ctx)
{
	struct output *output = ctx;
	output->has_timer = false;
	folder_seal_if_old(output);
	folder_set_timer(output);
}

void folder_set_timer(struct output *output)
{
	const struct files *self = output->files;
	if (output->has_timer || output->fd < 0 || !CDPD_HAS(self->host, timer)) return;
	int64_t left = output->state.opened_at + self->rotate_seconds - folder_now();
	output->has_timer =
	    self->host->timer(self->instance, (left > 0 ? left : 0) * 1000 + 10, on_timer, output) == CDPD_OK;
}

/* ── options ─────────────────────────────────────────────────────────────── */

static int refuse(struct files *self, const char *what, const char *why)
{
	self->host->log(self->instance, CDPD_LOG_ERROR, "%s: %s", what, why);
	return strcmp(why, "out of memory") == 0 ? CDPD_ERR_NOMEM : CDPD_ERR_INVALID;
}

static int add_column(struct output *output, struct cdpd_str item)
{
	const char *why = column_add(output, item);
	if (!why) return CDPD_OK;
	char what[200];
	snprintf(what, sizeof what, "%.*s", (int)(item.len < 190 ? item.len : 190), item.ptr);
	return refuse(output->files, what, why);
}

static int read_columns(struct output *output, const struct cdpd_conf *conf, const char *option)
{
	const struct cdpd_host *host = output->files->host;
	size_t count = host->conf_count(conf, option);
	int rc = CDPD_OK;
	for (size_t i = 0; i < count && rc == CDPD_OK; i++) rc = add_column(output, host->conf_item(conf, option, i));
	return rc;
}

static int add_feature_columns(struct output *output)
{
	int rc = CDPD_OK;
	for (const char *at = features_columns; *at && rc == CDPD_OK;) {
		size_t len = strcspn(at, ",");
		rc = add_column(output, (struct cdpd_str){at, len});
		at += len;
		at += strspn(at, ", ");
	}
	return rc;
}

/* "events" becomes "profiles", "shop-events" "shop-profiles", "shop" "shop-profiles". */
static char *prefix_of(const struct files *self, enum output_kind kind)
{
	static const char *const names[OUTPUT_COUNT] = {"events", "profiles", "features", "changes"};
	size_t len = strlen(self->prefix), cut = strlen(names[OUT_EVENTS]);
	bool ends = len >= cut && strcmp(self->prefix + len - cut, names[OUT_EVENTS]) == 0 &&
		    (len == cut || strchr("-_", self->prefix[len - cut - 1]));
	char *prefix = NULL;
	if (kind == OUT_EVENTS) return strdup(self->prefix);
	if (asprintf(&prefix, "%.*s%s%s", (int)(ends ? len - cut : len), self->prefix, ends ? "" : "-", names[kind]) <
	    0)
		return NULL;
	return prefix;
}

static int configure_outputs(struct files *self, const struct cdpd_conf *conf)
{
	static const char *const columns[OUTPUT_COUNT] = {"columns", "profile_columns", NULL, "change_columns"};
	for (enum output_kind k = 0; k < OUTPUT_COUNT; k++) {
		struct output *output = &self->outputs[k];
		output->prefix = prefix_of(self, k);
		if (!output->prefix) return CDPD_ERR_NOMEM;
		int rc = columns[k] ? read_columns(output, conf, columns[k]) : add_feature_columns(output);
		if (rc != CDPD_OK) return rc;
		if (!output_init(output)) return CDPD_ERR_NOMEM;
	}
	return CDPD_OK;
}

static bool is_prefix(const char *text)
{
	for (const char *at = text; *at; at++)
		if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-') return false;
	return text[0] != '\0';
}

static bool make_zstd(struct files *self)
{
	if (!self->is_zstd) return true;
	self->zstd = ZSTD_createCCtx();
	return self->zstd && !ZSTD_isError(ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_compressionLevel, ZSTD_EFFORT));
}

static int configure(struct files *self, const struct cdpd_conf *conf)
{
	const struct cdpd_host *host = self->host;
	struct cdpd_str directory = host->conf_text(conf, "directory"), prefix = host->conf_text(conf, "prefix");
	struct cdpd_str format = host->conf_text(conf, "format"), profiles = host->conf_text(conf, "profiles_as");
	self->directory = strndup(directory.ptr, directory.len);
	self->prefix = strndup(prefix.ptr, prefix.len);
	self->rotate_bytes = host->conf_int(conf, "rotate_bytes");
	self->rotate_seconds = host->conf_int(conf, "rotate_seconds");
	self->format = record_is(format, "avro")  ? &format_avro
		       : record_is(format, "csv") ? &format_csv
						  : &format_ndjson;
	self->is_zstd = record_is(host->conf_text(conf, "compression"), "zstd");
	self->writes_profiles = !record_is(profiles, "features");
	self->writes_features = !record_is(profiles, "rows");
	if (!self->directory || !self->prefix || !make_zstd(self)) return CDPD_ERR_NOMEM;
	if (!is_prefix(self->prefix)) return refuse(self, "prefix", "it may hold letters, digits, '_' and '-' only");
	if (self->is_zstd && self->format == &format_avro)
		return refuse(self, "compression", "Avro files are written without");
	return configure_outputs(self, conf);
}

static void make_metrics(struct files *self)
{
	const struct cdpd_host *host = self->host;
	self->rows_metric = host->counter(self->instance, "files_rows_total", "Rows made durable.");
	self->files_metric = host->counter(self->instance, "files_sealed_total", "Files sealed.");
	self->repeats_metric =
	    host->counter(self->instance, "files_repeats_total", "Records that were in a file already.");
	self->mismatches_metric = host->counter(self->instance, "files_mismatched_values_total",
						"Values that were not of their column's type.");
}

/* ── making and ending ───────────────────────────────────────────────────── */

static void destroy(void *ctx)
{
	struct files *self = ctx;
	for (enum output_kind k = 0; k < OUTPUT_COUNT; k++) {
		folder_close(&self->outputs[k]);
		output_free(&self->outputs[k]);
	}
	syncer_end(self);
	ZSTD_freeCCtx(self->zstd);
	free(self->directory);
	free(self->prefix);
	free(self);
}

/* The one of events is the lock of the prefix; the others are there when there was something for them. */
static int open_outputs(struct files *self)
{
	int rc = CDPD_OK;
	for (enum output_kind k = 0; k < OUTPUT_COUNT && rc == CDPD_OK; k++) {
		if (k != OUT_EVENTS && !folder_is_known(&self->outputs[k])) continue;
		rc = folder_open(&self->outputs[k]);
		if (rc == CDPD_OK) folder_set_timer(&self->outputs[k]);
	}
	return rc;
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct files *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	for (enum output_kind k = 0; k < OUTPUT_COUNT; k++) {
		struct output *output = &self->outputs[k];
		output->files = self;
		output->kind = k;
		output->fd = output->dir_fd = output->state_fd = -1;
	}
	make_metrics(self);
	int rc = configure(self, conf);
	if (rc == CDPD_OK) rc = open_outputs(self);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
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
	.help = "first part of the names of events' files; one prefix in one directory belongs to one destination",
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
	.help = "of events, in CSV and Avro: a path into the record, name=path or name=path:type, such as "
		"total=properties.total:double",
    },
    {
	.name = "profiles_as",
	.type = CDPD_OPTION_ENUM,
	.default_text = "rows",
	.values = "rows|features|both",
	.help = "what is written of people: a row each, a row for each of their features, or both",
    },
    {
	.name = "profile_columns",
	.type = CDPD_OPTION_LIST,
	.default_text =
	    "profileId, gone, mergedInto, firstSeen:timestamp, lastSeen:timestamp, eventCount:long, "
	    "identifiers:json, traits:json, features:json, segments:json, consents:json, deliveryId, position",
	.min = 1,
	.max = COLUMNS_MAX,
	.help = "of people, in CSV and Avro, such as plan=traits.plan or orders=features.orders:long",
    },
    {
	.name = "change_columns",
	.type = CDPD_OPTION_LIST,
	.default_text =
	    "kind, profileId, at:timestamp, traits:json, features:json, identifiers:json, from, into, segment, "
	    "entered:boolean, purpose, state, deliveryId, position",
	.min = 1,
	.max = COLUMNS_MAX,
	.help = "of changes, in CSV and Avro",
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
    .name = "files",
    .version = "1.1.0",
    .summary = "writes NDJSON, CSV or Avro files, each record in one of them, once",
    .caps = CDPD_CAP_EXPORT,
    .flags = CDPD_PLUGIN_OWN_IO,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
